"""Finds the policy's phrases in texts: in linear time, in all of the policy's languages at once."""

import itertools
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from graphmesh_nodes.guardrails.lexicon import Lexicon
from graphmesh_nodes.guardrails.words import SEPARATORS, with_numbers, words

_SENTENCE = re.compile(r"[.!?;](?=\s|$)|[\n。！？；]")


def sentences(text: str) -> list[str]:
    """Split a text after the ends of its sentences and lines."""
    ends = [0, *(match.end() for match in _SENTENCE.finditer(text)), len(text)]
    return [part for start, end in itertools.pairwise(ends) if (part := text[start:end].strip())]


def has_phrase(text: str, phrases: Mapping[str, tuple[str, ...]]) -> bool:
    """Report whether the text has one of the phrases, whatever its language."""
    lexicon = _lexicon(tuple(phrase for group in phrases.values() for phrase in group))
    return next(lexicon.matches(with_numbers(words(text))), None) is not None


@lru_cache(maxsize=64)
def _lexicon(phrases: tuple[str, ...]) -> Lexicon[bool]:
    return Lexicon((phrase, True) for phrase in phrases)


def plain_words(text: str) -> list[str]:
    """Return the words of the text, comparable, without punctuation."""
    return [word for word in words(text) if word not in SEPARATORS]


def shared(wanted: Iterable[str], text: Iterable[str]) -> int:
    """Count the wanted words that occur in the text, in any of their usual forms: `inks` for `ink`."""
    stems = {stem for word in text for stem in _stems(word)}
    return sum(1 for word in set(wanted) if not stems.isdisjoint(_stems(word)))


def _stems(word: str) -> set[str]:
    """Return the word, and what remains of it without a short ending. Scripts without spaces have words of a letter."""
    endings = 3 if len(word) > 7 else 2 if len(word) > 5 else 1
    return {word[: len(word) - cut] for cut in range(endings + 1) if len(word) - cut >= 3 or cut == 0}
