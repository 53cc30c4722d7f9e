"""Analyzes text into index terms: tokenization, normalization, stop words, stemming.

The stores index these terms and not the text, so that SQLite, PostgreSQL and memory find the same passages, and no text
reaches the query syntax of a database. A term has only ASCII letters and digits, whatever the script of the word, since
the databases disagree about which characters are letters.
"""

import re
import threading
import unicodedata
from functools import lru_cache
from typing import Final

import snowballstemmer  # type: ignore[import-untyped]

MAX_TERM_CHARACTERS: Final = 64
"""Characters of a word that are indexed; the rest is cut off."""
MAX_QUERY_TERMS: Final = 64
"""Distinct terms of a query that are used; further ones are ignored."""

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_APOSTROPHES = str.maketrans("", "", "'’")
_stemmer = snowballstemmer.stemmer("english")
_stemmer_lock = threading.Lock()
"""The stemmer keeps the current word in itself, so it is not thread-safe."""

_STOP_WORDS = """
    a about after again all also am an and any anyone anything are arent as at be because been before being both but by
    can cannot cant could couldnt did didnt do does doesnt doing dont down each else etc every few for from further get
    gets getting got had hadnt has hasnt have havent having he hed hell help her here heres hers herself hes hey hi
    hello him himself his how hows i id if ill im in into is isnt it itd itll its itself ive just know let lets like me
    may maybe might more most much must my myself need needed needs no nor not now of off oh ok okay on once one only
    or other our ours ourselves out over own please pls question quite really same shall she shed shes should shouldnt
    so some someone something such tell thank thanks than that thats the their theirs them themselves then there theres
    these they theyd theyll theyre theyve thing things this those through to too under until up us very want wanted
    wants was wasnt way we wed well were werent weve what whats when whens where wheres whether which while who whom
    whos why whys will with wonder wondering wont would wouldnt yes yet you youd youll your youre yours yourself
    yourselves youve
"""
STOP_WORDS: Final = frozenset(_STOP_WORDS.split())
"""English words that do not distinguish texts, and words that introduce questions; without apostrophes."""


def terms(text: str) -> tuple[str, ...]:
    """Return the terms of a text, in order, with repeats."""
    words = (word.translate(_APOSTROPHES)[:MAX_TERM_CHARACTERS] for word in _WORD.findall(_normalize(text)))
    return tuple(_stem(word) for word in words if word not in STOP_WORDS)


def query_terms(text: str) -> tuple[str, ...]:
    """Return the distinct terms of a query, in order; none if it has only stop words."""
    return tuple(dict.fromkeys(terms(text)))[:MAX_QUERY_TERMS]


def _normalize(text: str) -> str:
    """Fold case, remove accents, and replace compatibility characters (NFKD)."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))


@lru_cache(maxsize=100_000)
def _stem(word: str) -> str:
    with _stemmer_lock:
        stem = str(_stemmer.stemWord(word))
    return stem if stem.isascii() else f"x{stem.encode().hex()}"
