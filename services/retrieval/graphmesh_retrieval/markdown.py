"""Splits Markdown into passages, at its headings and between its paragraphs."""

import re
from collections.abc import Iterator
from typing import Final

from graphmesh_retrieval.domain import Passage

TARGET_PASSAGE_CHARACTERS: Final = 1200
"""Characters up to which a passage is filled with whole blocks of its section."""
MAX_PASSAGE_CHARACTERS: Final = 2000
"""Limit of a passage; a longer block is split between its lines, sentences or words."""

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(?=[\w-]+:).*?^(?:---|\.\.\.)[ \t]*$", re.DOTALL | re.MULTILINE)
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_HEADING = re.compile(r" {0,3}(#{1,6})(?=[ \t]|$)")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_SEPARATORS = ("\n", ". ", "? ", "! ", "; ", " ")
"""In the order of preference."""


def first_heading(text: str) -> str:
    """Return the text of the first heading; empty if there is none."""
    return next((content for level, content in _blocks(text) if level and content), "")


def split_passages(text: str) -> list[Passage]:
    """Split a text into passages, in order. Headings alone make none; plain text is a section without headings."""
    found: list[Passage] = []
    path: dict[int, str] = {}
    pending: list[str] = []

    def close() -> None:
        headings = tuple(path[level] for level in sorted(path))
        found.extend(Passage(headings, passage) for passage in _passages(pending))
        pending.clear()

    for level, content in _blocks(text):
        if not level:
            pending.append(content)
            continue
        close()
        path = {above: heading for above, heading in path.items() if above < level}
        if content:
            path[level] = content
    close()
    return found


def _passages(blocks: list[str]) -> Iterator[str]:
    """Join the blocks of one section into passages."""
    filled = ""
    for piece in (piece for block in blocks for piece in _pieces(block)):
        if filled and len(filled) + len(piece) + 2 > TARGET_PASSAGE_CHARACTERS:
            yield filled
            filled = ""
        filled = f"{filled}\n\n{piece}" if filled else piece
    if filled:
        yield filled


def _pieces(block: str) -> Iterator[str]:
    """Split a block that is larger than a passage may be."""
    start = 0
    while len(block) - start > MAX_PASSAGE_CHARACTERS:
        end = _cut(block, start)
        if piece := block[start:end].strip():
            yield piece
        start = end
    if piece := block[start:].strip():
        yield piece


def _cut(block: str, start: int) -> int:
    """Return the index at which to split: after the last of the best separators in the second half of a passage."""
    for separator in _SEPARATORS:
        index = block.rfind(separator, start + MAX_PASSAGE_CHARACTERS // 2, start + MAX_PASSAGE_CHARACTERS)
        if index >= 0:
            return index + len(separator)
    return start + MAX_PASSAGE_CHARACTERS


def _blocks(text: str) -> Iterator[tuple[int, str]]:
    """Yield headings, with their level from 1, and other blocks, with level 0, in order."""
    paragraph: list[str] = []
    fence = ""
    for line in _FRONT_MATTER.sub("", text.replace("\r\n", "\n"), count=1).split("\n"):
        if fence:
            paragraph.append(line)
            if line.strip().startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
        elif opening := _FENCE.match(line):
            paragraph.append(line)
            fence = opening[1]
        elif heading := _HEADING.match(line):
            yield from _paragraph(paragraph)
            yield len(heading[1]), _heading(line[heading.end() :])
        elif len(paragraph) == 1 and (underline := _UNDERLINE.match(line)):
            yield (1 if underline[1][0] == "=" else 2), paragraph.pop().strip()
        elif line.strip():
            paragraph.append(line)
        else:
            yield from _paragraph(paragraph)
    yield from _paragraph(paragraph)


def _heading(rest: str) -> str:
    """Return the text of an ATX heading, without its closing `#` characters."""
    content = rest.strip()
    unclosed = content.rstrip("#")
    return unclosed.strip() if not unclosed or unclosed[-1] in " \t" else content


def _paragraph(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Yield the collected lines as one block, if there are any, and clear them."""
    if lines:
        yield 0, "\n".join(lines)
        lines.clear()
