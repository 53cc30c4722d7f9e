"""Turns words into index terms: stemmed by the language of the text, folded, and hashed to 64 bits.

A passage is indexed by the stems of its own language. A query has a group of terms for each of its words: the stems in
every language of the tenant's documents, so that its own language need not be known.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import islice
from typing import Final

from Stemmer import Stemmer  # type: ignore[import-not-found]

from graphmesh_retrieval.analysis.languages import FUNCTION_WORDS, detect
from graphmesh_retrieval.analysis.words import MAX_WORD_CHARACTERS, fold, is_spaced, pairs, pieces, words

MAX_QUERY_WORDS: Final = 64
"""Distinct words of a query that are used; further ones are ignored."""
MAX_QUERY_LANGUAGES: Final = 8
"""Languages by which the words of a query are stemmed."""

_STEMMERS: Final = {
    "ar": "arabic",
    "ca": "catalan",
    "cs": "czech",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "es": "spanish",
    "eo": "esperanto",
    "et": "estonian",
    "eu": "basque",
    "fa": "persian",
    "fi": "finnish",
    "fr": "french",
    "ga": "irish",
    "hi": "hindi",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "it": "italian",
    "lt": "lithuanian",
    "ne": "nepali",
    "nl": "dutch",
    "no": "norwegian",
    "pl": "polish",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sr": "serbian",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
    "yi": "yiddish",
}
"""Snowball's algorithms by language."""
_stemmers = {language: Stemmer(name, 0) for language, name in _STEMMERS.items()}
_stemmers_lock = threading.Lock()
"""A stemmer keeps the current word in itself, so it is not thread-safe."""


@dataclass(frozen=True)
class QueryWord:
    """A word of a query."""

    text: str
    terms: tuple[int, ...]
    """The terms under which passages may have it; those of one word are synonyms."""
    is_function_word: bool = False


def terms(text: str, language: str) -> list[int]:
    """Return the terms of a text in a language, in order, with repeats."""
    if text.isascii():
        return [_stem_term(word[:MAX_WORD_CHARACTERS], language) for word in words(text)]
    found: list[int] = []
    for word in words(text):
        if is_spaced(word):
            found.append(_stem_term(word[:MAX_WORD_CHARACTERS], language))
        else:
            found += _unspaced_terms(word, language)
    return found


def query_words(text: str, languages: Sequence[str]) -> list[QueryWord]:
    """Return the distinct words of a query, the function words last. If all are function words, none is marked as one.

    `languages` are those of the documents, the commonest first.
    """
    found = list(dict.fromkeys(words(text)))
    listed = FUNCTION_WORDS.get(detect(text, languages) or next(iter(languages), ""), frozenset())
    marked = listed if any(word not in listed for word in found) else frozenset()
    ordered = sorted(found, key=lambda word: word in marked)
    expanded = (query_word for word in ordered for query_word in _query_word(word, languages, word in marked))
    return list(islice(expanded, MAX_QUERY_WORDS))


def _query_word(word: str, languages: Sequence[str], is_function_word: bool) -> Iterable[QueryWord]:
    for piece, unspaced in pieces(word):
        if unspaced:
            yield from (QueryWord(part, (term_of(part),)) for part in (pairs(piece) or piece))
        else:
            forms = dict.fromkeys((piece, fold(piece)))
            stems = (stem(form, language) for language in languages[:MAX_QUERY_LANGUAGES] or ("",) for form in forms)
            yield QueryWord(piece, tuple(dict.fromkeys(map(term_of, (*stems, fold(piece))))), is_function_word)


def _unspaced_terms(word: str, language: str) -> Iterator[int]:
    """Yield the terms of a word with runs without spaces: their characters, and the pairs of these."""
    for piece, unspaced in pieces(word):
        if unspaced:
            yield from map(_pair_term, (*piece, *pairs(piece)))
        else:
            yield _stem_term(piece[:MAX_WORD_CHARACTERS], language)


@lru_cache(maxsize=200_000)
def _stem_term(word: str, language: str) -> int:
    return term_of(stem(word, language))


def stem(word: str, language: str) -> str:
    """Return the stem of a word, without diacritics; the word itself where the language has no algorithm."""
    word = word[:MAX_WORD_CHARACTERS]
    if language in _stemmers:
        with _stemmers_lock:
            word = str(_stemmers[language].stemWord(word))
    return fold(word)


def term_of(text: str) -> int:
    """Return the term of a stem, or of a mark of the index: a signed integer of 64 bits, as databases store it."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)


_pair_term = lru_cache(maxsize=100_000)(term_of)
