"""Splits Markdown into passages, at its headings and between its paragraphs.

A passage is a slice of the text, so that it can be shown in its place.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from graphmesh_retrieval.domain import Passage

TARGET_PASSAGE_CHARACTERS: Final = 1200
"""Characters up to which a passage is filled with whole blocks of its section."""
MAX_PASSAGE_CHARACTERS: Final = 2000
"""Limit of a passage; a longer block is split between its lines, sentences or words."""

_FRONT_MATTER = re.compile(
    r"\A(?:---[ \t]*\n(?=[\w-]+:).*?^(?:---|\.\.\.)[ \t]*$|\+\+\+[ \t]*\n.*?^\+\+\+[ \t]*$)", re.DOTALL | re.MULTILINE
)
_TITLE = re.compile(r"^title[ \t]*[:=][ \t]*(\S.*)$", re.MULTILINE)
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_HEADING = re.compile(r" {0,3}(#{1,6})(?=[ \t]|$)")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_SEPARATORS = ("\n", ". ", "? ", "! ", "; ", "。", "！", "？", " ")
"""In the order of preference."""
_MODULE_LINE = re.compile(r"(?:import|export)\b")
"""The first line of a block of MDX that is code."""


class Span(NamedTuple):
    """A part of a text."""

    start: int
    end: int


class Block(NamedTuple):
    """A heading, with its level from 1, or another block, with level 0."""

    level: int
    span: Span


def front_matter_title(text: str) -> str:
    """Return the title that the front matter states; empty if there is none."""
    front_matter = _FRONT_MATTER.match(text)
    title = _TITLE.search(front_matter[0]) if front_matter else None
    value = title[1].strip() if title else ""
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1] if quoted else value.lstrip("|>").lstrip("-").strip()


def first_heading(text: str) -> str:
    """Return the text of the first heading; empty if there is none."""
    headings = (_heading_text(text, block.span) for block in _blocks(text) if block.level)
    return next((heading for heading in headings if heading), "")


def split_passages(text: str, *, mdx: bool = False) -> list[Passage]:
    """Split a text into passages, in order. Headings alone make none; plain text is a section without headings."""
    found: list[Passage] = []
    path: dict[int, str] = {}
    pending: list[Span] = []

    def close() -> None:
        headings = tuple(path[level] for level in sorted(path))
        found.extend(Passage(headings, text[span.start : span.end], span.start) for span in _fill(text, pending))
        pending.clear()

    for level, span in _blocks(text):
        if not level:
            if not (mdx and _MODULE_LINE.match(text, span.start)):
                pending.append(span)
            continue
        close()
        path = {above: heading for above, heading in path.items() if above < level}
        if heading := _heading_text(text, span):
            path[level] = heading
    close()
    return found


def split_plain(text: str) -> list[Passage]:
    """Split a text without markup into passages, between its paragraphs."""
    paragraphs = [Span(*match.span()) for match in _PARAGRAPH.finditer(text)]
    return [Passage((), text[start:end], start) for start, end in _fill(text, paragraphs)]


_PARAGRAPH = re.compile(r"[^\n]+(?:\n[^\n]+)*")


def _fill(text: str, blocks: list[Span]) -> Iterator[Span]:
    """Join the blocks of one section into passages."""
    filled: Span | None = None
    for piece in (piece for block in blocks for piece in _pieces(text, block)):
        if filled and piece.end - filled.start > TARGET_PASSAGE_CHARACTERS:
            yield filled
            filled = None
        filled = Span(filled.start, piece.end) if filled else piece
    if filled:
        yield filled


def _pieces(text: str, block: Span) -> Iterator[Span]:
    """Split a block that is larger than a passage may be."""
    start = block.start
    while block.end - start > MAX_PASSAGE_CHARACTERS:
        end = _cut(text, start)
        yield from _stripped(text, start, end)
        start = end
    yield from _stripped(text, start, block.end)


def _stripped(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield a part without the blanks around it, unless it has nothing else."""
    part = text[start:end]
    if content := part.strip():
        begin = start + len(part) - len(part.lstrip())
        yield Span(begin, begin + len(content))


def _cut(text: str, start: int) -> int:
    """Return the index at which to split: after the last of the best separators in the second half of a passage."""
    for separator in _SEPARATORS:
        index = text.rfind(separator, start + MAX_PASSAGE_CHARACTERS // 2, start + MAX_PASSAGE_CHARACTERS)
        if index >= 0:
            return index + len(separator)
    return start + MAX_PASSAGE_CHARACTERS


def _blocks(text: str) -> Iterator[Block]:
    """Yield headings and other blocks, in order. Lines end with LF."""
    front_matter = _FRONT_MATTER.match(text)
    position = front_matter.end() if front_matter else 0
    paragraph: list[Span] = []
    fence = ""
    for line in text[position:].split("\n"):
        span = Span(position, position + len(line))
        position = span.end + 1
        if fence:
            paragraph.append(span)
            if line.strip().startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
        elif opening := _FENCE.match(line):
            paragraph.append(span)
            fence = opening[1]
        elif heading := _HEADING.match(line):
            yield from _paragraph(paragraph)
            yield Block(len(heading[1]), Span(span.start + heading.end(), span.end))
        elif len(paragraph) == 1 and (underline := _UNDERLINE.match(line)):
            yield Block(1 if underline[1][0] == "=" else 2, paragraph.pop())
        elif line.strip():
            paragraph.append(span)
        else:
            yield from _paragraph(paragraph)
    yield from _paragraph(paragraph)


def _heading_text(text: str, span: Span) -> str:
    """Return the text of a heading, without the closing `#` characters of an ATX heading."""
    content = text[span.start : span.end].strip()
    unclosed = content.rstrip("#")
    return unclosed.strip() if not unclosed or unclosed[-1] in " \t" else content


def _paragraph(lines: list[Span]) -> Iterator[Block]:
    """Yield the collected lines as one block, if there are any, and clear them."""
    if lines:
        yield Block(0, Span(lines[0].start, lines[-1].end))
        lines.clear()
