"""Finds the phrases of a word list in a text, in linear time.

A phrase is written as words, in the notation of the data files:

    want to (die|end it)     each of the alternatives; an empty one may be left out
    lawyer*                  any word that begins so
    refund … charge          up to six words between, of one sentence
"""

import itertools
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from graphmesh_nodes.guardrails.words import SENTENCE_ENDS, words

T = TypeVar("T")

FOLDER = Path(__file__).parent / "lexicons"
MAX_GAP = 6
"""Words that `…` stands for at most."""

_ALTERNATIVES = re.compile(r"\(([^()]*)\)")
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})


@dataclass(frozen=True)
class Match(Generic[T]):
    """The words of the text from `start` to before `end` are a phrase with the given value."""

    start: int
    end: int
    value: T
    phrase: str


@dataclass
class _Node(Generic[T]):
    words: dict[str, "_Node[T]"] = field(default_factory=dict)
    stems: dict[str, "_Node[T]"] = field(default_factory=dict)
    stem_lengths: set[int] = field(default_factory=set)
    gap: "_Node[T] | None" = None
    ends: dict[str, T] = field(default_factory=dict)
    """The values by phrase."""


class Lexicon(Generic[T]):
    """Phrases with values, in a tree of their words."""

    def __init__(self, phrases: Iterable[tuple[str, T]]) -> None:
        self._root: _Node[T] = _Node()
        for phrase, value in phrases:
            for spelling in expanded(phrase):
                self._add(spelling, phrase, value)

    def _add(self, spelling: str, phrase: str, value: T) -> None:
        node = self._root
        for part in spelling.split():
            if part == "…":
                node.gap = node.gap or _Node()
                node = node.gap
                continue
            *whole, last = words(part)
            for word in whole:
                node = node.words.setdefault(word, _Node())
            if part.endswith("*"):
                node.stem_lengths.add(len(last))
                node = node.stems.setdefault(last, _Node())
            else:
                node = node.words.setdefault(last, _Node())
        node.ends.setdefault(phrase, value)

    def matches(self, text: Sequence[str]) -> Iterator[Match[T]]:
        """Yield all phrases in the words of a text, in the order of their starts."""
        for start in range(len(text)):
            for end, node in self._ends(self._root, text, start):
                for phrase, value in node.ends.items():
                    yield Match(start, end, value, phrase)

    def _ends(self, node: _Node[T], text: Sequence[str], at: int) -> Iterator[tuple[int, _Node[T]]]:
        """Yield the nodes with values that are reached from `at`; the depth is that of the longest phrase."""
        if node.ends:
            yield at, node
        if at == len(text):
            return
        for child in self._next(node, text[at]):
            yield from self._ends(child, text, at + 1)
        if node.gap:
            yield from self._after_gap(node.gap, text, at)

    def _after_gap(self, node: _Node[T], text: Sequence[str], at: int) -> Iterator[tuple[int, _Node[T]]]:
        for position in range(at, min(at + MAX_GAP + 1, len(text))):
            for child in self._next(node, text[position]):
                yield from self._ends(child, text, position + 1)
            if text[position] in SENTENCE_ENDS:
                return

    @staticmethod
    def _next(node: _Node[T], word: str) -> Iterator[_Node[T]]:
        if child := node.words.get(word):
            yield child
        for length in node.stem_lengths:
            if length <= len(word) and (child := node.stems.get(word[:length])):
                yield child


def expanded(phrase: str) -> Iterator[str]:
    """Yield the spellings of a phrase: its alternatives, and `ae` beside `ä`."""
    parts = _ALTERNATIVES.split(phrase)
    choices = [part.split("|") if index % 2 else [part] for index, part in enumerate(parts)]
    for spelling in map("".join, itertools.product(*choices)):
        yield spelling
        if (plain := spelling.translate(_UMLAUTS)) != spelling:
            yield plain


@cache
def data_file(name: str) -> Mapping[str, Any]:
    """Read a data file of this package, once."""
    return tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))


@cache
def data_files(folder: str) -> Mapping[str, Mapping[str, Any]]:
    """Read the data files of a folder, once: by language."""
    names = sorted(path.stem for path in (FOLDER / folder).glob("*.toml"))
    return {name: data_file(f"{folder}/{name}") for name in names}
