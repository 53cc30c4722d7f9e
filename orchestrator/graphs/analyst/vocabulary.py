"""The word lists of the planner, read once, and how phrases of them are found."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from graphmesh_nodes.guardrails.lexicon import Lexicon
from graphmesh_nodes.guardrails.words import words

_T = TypeVar("_T")


@dataclass(frozen=True)
class Vocabulary:
    operations: Lexicon[str]
    nouns: Lexicon[str]
    ambiguous: Lexicon[str]
    months: Lexicon[Sequence[int]]
    units: Lexicon[int]
    currencies: Lexicon[str]
    ranges: frozenset[str]
    between: frozenset[str]
    joined: frozenset[str]
    negations: frozenset[str]
    number_words: frozenset[str]
    number_parts: frozenset[str]
    scales: frozenset[str]
    stop: frozenset[str]


@cache
def vocabulary() -> Vocabulary:
    data = tomllib.loads(Path(__file__).with_name("vocabulary.toml").read_text(encoding="utf-8"))

    def lexicon(name: str) -> Lexicon[str]:
        return Lexicon((phrase, value) for value, phrases in data[name].items() for phrase in phrases)

    def folded(name: str, key: str) -> frozenset[str]:
        return frozenset(" ".join(words(one)) for one in data[name][key])

    return Vocabulary(
        operations=lexicon("operations"),
        nouns=lexicon("nouns"),
        ambiguous=lexicon("ambiguous"),
        months=Lexicon([*_numbered(data["months"], 1), *_numbered(data["quarters"], 3)]),
        units=Lexicon((one, int(seconds)) for seconds, names in data["units"].items() for one in names),
        currencies=lexicon("currencies"),
        ranges=folded("ranges", "words"),
        between=folded("ranges", "between"),
        joined=folded("joined", "words"),
        negations=folded("negations", "words"),
        number_words=folded("numbers", "words"),
        number_parts=folded("numbers", "parts"),
        scales=folded("numbers", "scales"),
        stop=folded("stop", "words"),
    )


def _numbered(names: Mapping[str, Sequence[str]], length: int) -> Iterator[tuple[str, Sequence[int]]]:
    """Yield the phrases of periods of some months, in their order in the year, with their months."""
    for index, phrases in enumerate(names.values()):
        months = range(index * length + 1, index * length + length + 1)
        yield from ((phrase, months) for phrase in phrases)


def longest(lexicon: "Lexicon[_T]", folded: Sequence[str], taken: set[int]) -> dict[int, tuple[int, "_T"]]:
    """Return the longest phrase at each position that no longer one covers, with its end."""
    pieces = [(piece, position) for position, word in enumerate(folded) for piece in (word.split() or [""])]
    found: dict[int, tuple[int, _T]] = {}
    for match in lexicon.matches([piece for piece, _ in pieces]):
        start, end = pieces[match.start][1], pieces[match.end - 1][1] + 1
        if taken.isdisjoint(range(start, end)) and end > found.get(start, (start, None))[0]:
            found[start] = (end, match.value)
    covered: set[int] = set()
    for start in sorted(found, key=lambda one: (-(found[one][0] - one), one)):
        span = set(range(start, found[start][0]))
        if covered & span:
            del found[start]
        covered |= span
    return found
