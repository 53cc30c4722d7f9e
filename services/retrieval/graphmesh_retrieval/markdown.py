"""Cuts Markdown into passages, at its headings and between its paragraphs."""

import re
from collections.abc import Iterator
from typing import Final

from graphmesh_retrieval.domain import Section

TARGET: Final = 1200
"""Characters that a passage is filled up to with whole blocks of its section."""
LARGEST: Final = 2000
"""Characters that no passage exceeds; a longer block is cut between its lines, sentences or words."""

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(?=[\w-]+:).*?^(?:---|\.\.\.)[ \t]*$", re.DOTALL | re.MULTILINE)
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_HEADING = re.compile(r" {0,3}(#{1,6})(?=[ \t]|$)")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_BREAKS = ("\n", ". ", "? ", "! ", "; ", " ")


def first_heading(text: str) -> str:
    """The text of the first heading; empty where there is none."""
    return next((content for level, content in _blocks(text) if level and content), "")


def sections(text: str) -> list[Section]:
    """The passages of a text, in order. Headings alone make none; plain text is one section without headings."""
    found: list[Section] = []
    path: dict[int, str] = {}
    pending: list[str] = []

    def close() -> None:
        headings = tuple(path[level] for level in sorted(path))
        found.extend(Section(headings, passage) for passage in _passages(pending))
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
    """The blocks of one section, filled up to passages."""
    filled = ""
    for piece in (piece for block in blocks for piece in _pieces(block)):
        if filled and len(filled) + len(piece) + 2 > TARGET:
            yield filled
            filled = ""
        filled = f"{filled}\n\n{piece}" if filled else piece
    if filled:
        yield filled


def _pieces(block: str) -> Iterator[str]:
    """The block, cut so that no piece is larger than a passage may be."""
    start = 0
    while len(block) - start > LARGEST:
        end = _cut(block, start)
        if piece := block[start:end].strip():
            yield piece
        start = end
    if piece := block[start:].strip():
        yield piece


def _cut(block: str, start: int) -> int:
    """Where to cut: at the last good place, in the order of how good they are, of the second half of a passage."""
    for mark in _BREAKS:
        place = block.rfind(mark, start + LARGEST // 2, start + LARGEST)
        if place >= 0:
            return place + len(mark)
    return start + LARGEST


def _blocks(text: str) -> Iterator[tuple[int, str]]:
    """The headings (with their level, from 1) and the other blocks (level 0), in order."""
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
    """What follows the opening marks, without the closing ones."""
    content = rest.strip()
    unclosed = content.rstrip("#")
    return unclosed.strip() if not unclosed or unclosed[-1] in " \t" else content


def _paragraph(lines: list[str]) -> Iterator[tuple[int, str]]:
    """The collected lines as one block, if there are any; they are collected anew after it."""
    if lines:
        yield 0, "\n".join(lines)
        lines.clear()
