"""Finds the phrases of a word list in a text, in linear time.

A phrase is written as words, in the notation of the data files:

    want to (die|end it)     each of the alternatives; an empty one may be left out
    lawyer*                  any word that begins so
    refund … charge          up to six words between, of one sentence; twelve characters where these are words
"""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from graphmesh_nodes.guardrails.words import SENTENCE_ENDS, is_unspaced, words

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


@dataclass(eq=False)
class _Node(Generic[T]):
    words: dict[str, list["_Node[T]"]] = field(default_factory=dict)
    stems: dict[str, list["_Node[T]"]] = field(default_factory=dict)
    stem_lengths: set[int] = field(default_factory=set)
    gap: "_Node[T] | None" = None
    ends: dict[str, T] = field(default_factory=dict)
    """The values by phrase."""

    def add(self, word: str, target: "_Node[T]", *, is_stem: bool) -> None:
        if is_stem:
            self.stem_lengths.add(len(word))
        (self.stems if is_stem else self.words).setdefault(word, []).append(target)


class Lexicon(Generic[T]):
    """Phrases with values, in a graph of their words, in which alternatives meet again."""

    def __init__(self, phrases: Iterable[tuple[str, T]]) -> None:
        self._root: _Node[T] = _Node()
        for phrase, value in phrases:
            ends = [self._root]
            for token in _tokens(phrase):
                ends = self._add(ends, token)
            for end in ends:
                end.ends.setdefault(phrase, value)

    def _add(self, starts: list[_Node[T]], token: str) -> list[_Node[T]]:
        """Add the alternatives of a token after some nodes, and return the nodes at which they end."""
        end: _Node[T] = _Node()
        if token == "…":
            for start in starts:
                start.gap = end
            return [end]
        is_optional = False
        for spelling in expanded(token):
            parts = [(word, is_stem) for part in spelling.split() for word, is_stem in _words(part)]
            is_optional = is_optional or not parts
            _add_path(starts, parts, end)
        return [end, *starts] if is_optional else [end]

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
        longest = MAX_GAP * 2 if is_unspaced(text[at][0]) else MAX_GAP
        for position in range(at, min(at + longest + 1, len(text))):
            for child in self._next(node, text[position]):
                yield from self._ends(child, text, position + 1)
            if text[position] in SENTENCE_ENDS:
                return

    @staticmethod
    def _next(node: _Node[T], word: str) -> Iterator[_Node[T]]:
        yield from node.words.get(word, ())
        for length in node.stem_lengths:
            if length <= len(word):
                yield from node.stems.get(word[:length], ())


def _tokens(phrase: str) -> Iterator[str]:
    """Split a phrase at the spaces that are outside of parentheses."""
    depth, token = 0, ""
    for char in phrase:
        depth += (char == "(") - (char == ")")
        if char != " " or depth:
            token += char
        elif token:
            yield token
            token = ""
    if depth:
        raise ValueError(f"{phrase!r} has parentheses that do not match")
    if token:
        yield token


def _words(part: str) -> Iterator[tuple[str, bool]]:
    """Yield the words of a spelling, and whether each stands for all words that begin so."""
    found = words(part)
    for index, word in enumerate(found):
        yield word, part.endswith("*") and index == len(found) - 1


def _add_path(starts: list[_Node[T]], parts: list[tuple[str, bool]], end: _Node[T]) -> None:
    for index, (word, is_stem) in enumerate(parts):
        target: _Node[T] = end if index == len(parts) - 1 else _Node()
        for start in starts:
            start.add(word, target, is_stem=is_stem)
        starts = [target]


def expanded(phrase: str) -> Iterator[str]:
    """Yield the spellings of a phrase: its alternatives, also nested ones, and `ae` beside `ä`."""
    if found := _ALTERNATIVES.search(phrase):
        for choice in dict.fromkeys(found[1].split("|")):
            yield from expanded(f"{phrase[: found.start()]}{choice}{phrase[found.end() :]}")
        return
    yield phrase
    if (plain := phrase.translate(_UMLAUTS)) != phrase:
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
