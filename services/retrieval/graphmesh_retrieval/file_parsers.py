"""Reads a document in HTML, PDF or Word from standard input, and writes its text as Markdown to standard output.

    python -m graphmesh_retrieval.file_parsers PDF SECONDS < FILE

It is executed in a process of its own, whose limits end it with whatever the file makes of the parser.
"""

import io
import re
import resource
import sys
import zipfile
from collections.abc import Callable, Iterator
from typing import Any, Final

MAX_TEXT_BYTES: Final = 1024 * 1024
"""Limit of the extracted text, as of a text that is sent."""
TOO_LARGE: Final = 3
"""The exit code where there is too much text."""
MAX_MEMORY_BYTES: Final = 512 * 1024 * 1024
MAX_PAGES: Final = 2000
MAX_UNPACKED_BYTES: Final = 64 * 1024 * 1024
"""Limit of the contents of a Word document, which is a ZIP archive."""
IGNORED: Final = ["script", "style", "noscript", "template", "nav", "svg", "iframe", "object", "title"]
BLOCKS: Final = frozenset(
    """
    address article aside blockquote body br caption dd details div dl dt fieldset figcaption figure footer form header
    hr html li main ol p pre section summary table tbody td th tr ul
    """.split()  # noqa: SIM905 - a list of quoted words is worse to read
)
BLANKS = re.compile(r"\s+")
EMPTY_LINES = re.compile(r"\n{3,}")


class TooLarge(Exception):
    """The file has too much text, too many pages or too large parts."""


def html(content: bytes) -> Iterator[str]:
    """Yield title, headings and text of a page, without scripts, styles and navigation."""
    from selectolax.lexbor import LexborHTMLParser

    page = LexborHTMLParser(content.decode())
    title = page.css_first("title")
    if title is not None and (text := " ".join(title.text().split())):
        yield f"---\ntitle: {text}\n---\n"
    page.strip_tags(IGNORED, recursive=True)
    parts: list[str] = []
    for node in page.root.traverse(include_text=True) if page.root is not None else ():
        tag = node.tag or ""
        if tag == "-text":
            parts.append(BLANKS.sub(" ", node.text_content or ""))
        elif len(tag) == 2 and tag[0] == "h" and tag[1] in "123456":
            parts.append(f"\n\n{'#' * int(tag[1])} {' '.join(node.text().split())}\n\n")
            node.inner_html = ""
        elif tag in BLOCKS:
            parts.append("\n\n")
    yield EMPTY_LINES.sub("\n\n", "\n".join(line.strip() for line in "".join(parts).split("\n")))


def pdf(content: bytes) -> Iterator[str]:
    """Yield the text of each page. Where the file states a title, it comes first."""
    import pypdf

    reader = pypdf.PdfReader(io.BytesIO(content))
    if reader.metadata and (title := (reader.metadata.title or "").strip()):
        yield f"# {' '.join(title.split())}"
    if len(reader.pages) > MAX_PAGES:
        raise TooLarge
    for page in reader.pages:
        yield page.extract_text()


def docx(content: bytes) -> Iterator[str]:
    """Yield headings, paragraphs and rows of tables, in order."""
    import docx as package

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sum(part.file_size for part in archive.infolist()) > MAX_UNPACKED_BYTES:
            raise TooLarge
    for block in package.Document(io.BytesIO(content)).iter_inner_content():
        if hasattr(block, "rows"):
            yield "\n".join(" | ".join(cell.text for cell in row.cells) for row in block.rows)
        else:
            yield _paragraph(block)


def _paragraph(block: Any) -> str:
    style = (block.style.name or "") if block.style is not None else ""
    level = "1" if style == "Title" else style.removeprefix("Heading ")
    return f"{'#' * int(level)} {block.text}" if level.isdecimal() and block.text.strip() else str(block.text)


def main(name: str, seconds: str) -> int:
    """Returns the exit code."""
    for limit, value in ((resource.RLIMIT_AS, MAX_MEMORY_BYTES), (resource.RLIMIT_CPU, int(seconds))):
        resource.setrlimit(limit, (value, value))
    parse: Callable[[bytes], Iterator[str]] = {"HTML": html, "PDF": pdf, "DOCX": docx}[name]
    size = 0
    try:
        for part in parse(sys.stdin.buffer.read()):
            encoded = f"{part}\n\n".encode(errors="replace")
            size += len(encoded)
            if size > MAX_TEXT_BYTES:
                raise TooLarge
            sys.stdout.buffer.write(encoded)
        sys.stdout.flush()
    except TooLarge:
        return TOO_LARGE
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
