"""Finding ids, amounts and the like in what a person said."""

import re
from collections.abc import Callable, Iterable
from decimal import Decimal

from graphmesh_model.offline.words import words

EDGES = "\"'“”‘’()[]{}<>,;:!?#€$£¥*"
NUMBER = re.compile(r"-?\d+(?:[.,]\d+)*")
FORMATS = {
    "email": re.compile(r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}"),
    "date": re.compile(r"\d{4}-\d\d-\d\d"),
    "date-time": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)"),
    "uri": re.compile(r"[a-z][a-z0-9+.-]*://\S+"),
    "uuid": re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
}
FAR = 6
ORDINARY_WORDS = ("the", "Please", "refund")


def spot(said: Iterable[str], accepts: Callable[[str], bool], name: str) -> list[str]:
    """The words that `accepts` takes: of the latest text that has any, those nearest to a word of `name` first."""
    for text in said:
        spoken = [stripped for word in text.split() if (stripped := word.strip(EDGES).rstrip("."))]
        places = [place for place, word in enumerate(spoken) if accepts(word)]
        if places:
            near = _distances(spoken, words(name))
            return list(dict.fromkeys(spoken[place] for place in sorted(places, key=near)))
    return []


def _distances(spoken: list[str], hints: frozenset[str]) -> Callable[[int], int]:
    marks = [place for place, word in enumerate(spoken) if words(word) & hints]

    def distance(place: int) -> int:
        return min((abs(place - mark) for mark in marks if mark != place), default=FAR)

    return distance


def pattern_test(pattern: str) -> Callable[[str], bool]:
    """Whether a word fits `pattern`. Where any word would, one without a digit is not taken for an id."""
    compiled = re.compile(pattern)
    loose = any(compiled.search(word) for word in ORDINARY_WORDS)

    def accepts(word: str) -> bool:
        return bool(compiled.search(word)) and (not loose or any(character.isdigit() for character in word))

    return accepts


def format_test(name: str) -> Callable[[str], bool]:
    return lambda word: FORMATS[name].fullmatch(word) is not None


def is_number(word: str) -> bool:
    return NUMBER.fullmatch(word) is not None


def number(word: str) -> Decimal:
    """`1,234.50`, `1.234,50` and `1234.5` alike: one or two digits after the last mark are a fraction."""
    whole, mark, rest = word.replace(",", ".").rpartition(".")
    if mark and len(rest) < 3:
        return Decimal(f"{whole.replace('.', '')}.{rest}")
    return Decimal(word.replace(",", "").replace(".", ""))
