"""Splits text into words, and the scripts without spaces into pairs of characters."""

import re
from collections.abc import Iterator
from typing import Final
from unicodedata import combining, normalize

MAX_WORD_CHARACTERS: Final = 64
"""Characters of a word that are indexed; the rest is cut off."""

# Vowel signs and other marks belong to words; they are no letters for `\w`. Blocks without dandas and punctuation.
_WORD = re.compile(
    r"(?:[^\W_]|[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u0900-\u0963\u0966-\u0dff"
    r"\u0e30-\u0e3a\u0e47-\u0e4e\u0eb0-\u0ecd\u102b-\u103e\u17b4-\u17d3]|(?<=[^\W_])['’](?=[^\W_]))+"
)
_ASCII_WORD = re.compile(r"[a-z0-9]+(?:'[a-z0-9]+)*")
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
    r"\U00020000-\U0003ffff]+"
)
"""Runs of Thai, Lao, Burmese, Khmer, Chinese, Japanese and Korean characters."""
_APOSTROPHES = str.maketrans("", "", "'’")
_UNDECOMPOSED = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i"})
_LAST_FOLDED = "\u08ff"
"""The last character whose marks are removed: in the scripts of India and behind them, marks distinguish words."""


def words(text: str) -> list[str]:
    """Return the words of a text in their normal form (NFKC, lower case, without apostrophes), in order."""
    ascii_only = text.isascii()
    normal = text.lower() if ascii_only else normalize("NFKC", normalize("NFKC", text).casefold())
    found: list[str] = (_ASCII_WORD if ascii_only else _WORD).findall(normal)
    if "'" in normal or "’" in normal:
        return [word.translate(_APOSTROPHES) for word in found]
    return found


def fold(word: str) -> str:
    """Remove the diacritics of a word."""
    if word.isascii():
        return word
    decomposed = normalize("NFD", word)
    kept = "".join(char for char in decomposed if not combining(char) or char > _LAST_FOLDED)
    return normalize("NFC", kept.translate(_UNDECOMPOSED))


def is_spaced(word: str) -> bool:
    """Whether a word has no run without spaces."""
    return word.isascii() or not _UNSPACED.search(word)


def pieces(word: str) -> Iterator[tuple[str, bool]]:
    """Split a word between scripts with and without spaces; True marks a run without spaces."""
    end = 0
    for run in _UNSPACED.finditer(word):
        if run.start() > end:
            yield word[end : run.start()], False
        yield run[0], True
        end = run.end()
    if end < len(word):
        yield word[end:], False


def pairs(run: str) -> list[str]:
    """Return each pair of neighbouring characters."""
    return [run[index : index + 2] for index in range(len(run) - 1)]
