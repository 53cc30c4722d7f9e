"""Finds thousands of names in a text by their words, in time that is linear in the text."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from graphmesh_chassis.folding import folded

MAX_WORDS = 12
"""The words of a name that are compared."""
MAX_GAP = 4
"""Characters between the words of a name: spaces, commas, a hyphen."""
_WORDS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W_\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")
"""A character of a script without spaces is a word."""
_END = ""
"""The key under which a trie has the name that ends there."""


class NameTrie:
    """Names by their words. Each word of a text is compared with at most `MAX_WORDS` levels."""

    def __init__(self, names: Iterable[str]) -> None:
        self._root: dict[str, Any] = {}
        for name in names:
            words = [match.group().casefold() for match in _WORDS.finditer(folded(name))][:MAX_WORDS]
            if len("".join(words)) < 2:
                continue
            level = self._root
            for word in words:
                level = level.setdefault(word, {})
            level[_END] = " ".join(words)

    def __bool__(self) -> bool:
        return bool(self._root)

    def find(self, view: str) -> Iterator[tuple[int, int, str]]:
        """Generate begin, end and words of the longest names in a folded text, without overlaps."""
        words = [(match.start(), match.end(), match.group().casefold()) for match in _WORDS.finditer(view)]
        index = 0
        while index < len(words):
            last, name = self._longest(words, index)
            if name:
                yield words[index][0], words[last][1], name
            index = last + 1

    def _longest(self, words: list[tuple[int, int, str]], first: int) -> tuple[int, str]:
        level, last, name = self._root, first, ""
        for index in range(first, min(first + MAX_WORDS, len(words))):
            if index > first and words[index][0] - words[index - 1][1] > MAX_GAP:
                break
            if (inner := level.get(words[index][2])) is None:
                break
            level = inner
            if _END in level:
                last, name = index, level[_END]
        return last, name
