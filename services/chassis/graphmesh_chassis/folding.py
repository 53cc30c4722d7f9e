"""Folds a text to the characters by which it is compared, so that no spelling in Unicode hides a value."""

import re
import unicodedata
from collections.abc import Sequence

MAX_CACHED = 20_000
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_DROPPED = frozenset({"Mn", "Me", "Cf", "Cc", "Cs"})
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0\u2800")
"""Letters and symbols that are shown as nothing."""


class _Folds(dict[int, str]):
    """The folded form of each character, made when it is first used."""

    def __missing__(self, code: int) -> str:
        fold = _fold(chr(code))
        if len(self) < MAX_CACHED:
            self[code] = fold
        return fold


def _fold(character: str) -> str:
    if character in "\t\n\r":
        return character
    if character in _FILLERS:
        return ""
    return "".join(_plain(part) for part in unicodedata.normalize("NFKD", character))


def _plain(character: str) -> str:
    category = unicodedata.category(character)
    if category in _DROPPED:
        return ""
    if category == "Nd":
        return str(unicodedata.decimal(character))
    return "-" if category == "Pd" or character == "\u2212" else " " if category == "Zs" else character


_FOLDS = _Folds()


def folded(text: str) -> str:
    """Return the text with ASCII digits, spaces and dashes, and without accents and invisible characters."""
    if text.isascii() and not _CONTROL.search(text):
        return text
    return text.translate(_FOLDS)


def origins(text: str) -> Sequence[int]:
    """Return the index in `text` of each character of `folded(text)`, and at the end the length of `text`."""
    if text.isascii() and not _CONTROL.search(text):
        return range(len(text) + 1)
    indexes = [index for index, character in enumerate(text) for _ in _FOLDS[ord(character)]]
    return [*indexes, len(text)]
