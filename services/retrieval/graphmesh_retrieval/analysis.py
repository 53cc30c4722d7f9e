"""Text to terms: what a word is, which words say nothing, and which words are one.

Both stores index these terms and not the text, so that a word is the same word on SQLite, on PostgreSQL and in memory,
and so that no text ever reaches the query syntax of either. A term is ASCII letters and digits, whatever the script of
the word: what counts as a letter is another thing to each index.
"""

import re
import threading
import unicodedata
from functools import lru_cache
from typing import Final

import snowballstemmer  # type: ignore[import-untyped]

LONGEST: Final = 64
"""Characters of a word that count."""
MOST: Final = 64
"""Different terms of a query that count."""

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_APOSTROPHES = str.maketrans("", "", "'’")
_stemmer = snowballstemmer.stemmer("english")
_turn = threading.Lock()
"""The stemmer keeps the word that it works on."""

_SAY_NOTHING = """
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
STOP_WORDS: Final = frozenset(_SAY_NOTHING.split())
"""English words that say nothing of what a text is about, and those that people ask with; without apostrophes."""


def terms(text: str) -> tuple[str, ...]:
    """The terms of a text, in order, with repeats."""
    words = (word.translate(_APOSTROPHES)[:LONGEST] for word in _WORD.findall(_plain(text)))
    return tuple(_stem(word) for word in words if word not in STOP_WORDS)


def query_terms(text: str) -> tuple[str, ...]:
    """The different terms of a query, in order; none where it has no informative word."""
    return tuple(dict.fromkeys(terms(text)))[:MOST]


def _plain(text: str) -> str:
    """The text in one case, without accents and without different spellings of one character."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))


@lru_cache(maxsize=100_000)
def _stem(word: str) -> str:
    with _turn:
        stem = str(_stemmer.stemWord(word))
    return stem if stem.isascii() else f"x{stem.encode().hex()}"
