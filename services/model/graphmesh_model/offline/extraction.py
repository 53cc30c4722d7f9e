"""Extract ids, amounts and other single-token values from the user's texts."""

import re
from collections.abc import Callable, Iterable
from decimal import Decimal

from graphmesh_chassis.linear_patterns import linear_search

from graphmesh_model.offline.text import stems

EDGE_CHARACTERS = "\"'“”‘’()[]{}<>,;:!?#€$£¥*"
NUMBER = re.compile(r"-?\d+(?:[.,]\d+)*")
FORMATS = {
    "email": re.compile(r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}"),
    "date": re.compile(r"\d{4}-\d\d-\d\d"),
    "date-time": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)"),
    "uri": re.compile(r"[a-z][a-z0-9+.-]*://\S+"),
    "uuid": re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
}
NO_HINT_DISTANCE = 6
ORDINARY_WORDS = ("the", "Please", "refund")


def find_tokens(texts: Iterable[str], accepts: Callable[[str], bool], name: str) -> list[str]:
    """Return the accepted tokens of the first text that has any, ordered by their distance to a word of `name`."""
    for text in texts:
        tokens = [stripped for word in text.split() if (stripped := word.strip(EDGE_CHARACTERS).rstrip("."))]
        accepted = [index for index, token in enumerate(tokens) if accepts(token)]
        if accepted:
            distance = _distance_to_hints(tokens, stems(name))
            return list(dict.fromkeys(tokens[index] for index in sorted(accepted, key=distance)))
    return []


def _distance_to_hints(tokens: list[str], hints: frozenset[str]) -> Callable[[int], int]:
    hinted = [index for index, token in enumerate(tokens) if stems(token) & hints]

    def distance(index: int) -> int:
        return min((abs(index - hint) for hint in hinted if hint != index), default=NO_HINT_DISTANCE)

    return distance


def pattern_test(pattern: str) -> Callable[[str], bool]:
    """Test tokens against `pattern`. A pattern that also accepts ordinary words accepts only tokens with a digit."""
    matches = linear_search(pattern)
    accepts_any_word = any(matches(word) for word in ORDINARY_WORDS)

    def accepts(token: str) -> bool:
        return matches(token) and (not accepts_any_word or any(map(str.isdigit, token)))

    return accepts


def format_test(name: str) -> Callable[[str], bool]:
    return lambda token: FORMATS[name].fullmatch(token) is not None


def is_number(token: str) -> bool:
    return NUMBER.fullmatch(token) is not None


def number(token: str) -> Decimal:
    """Parse `1,234.50`, `1.234,50` and `1234.5` alike: one or two digits after the last separator are a fraction."""
    whole, separator, rest = token.replace(",", ".").rpartition(".")
    if separator and len(rest) < 3:
        return Decimal(f"{whole.replace('.', '')}.{rest}")
    return Decimal(token.replace(",", "").replace(".", ""))
