"""Documents in HTML, PDF and Word, and files that would harm their reader."""

import io
import zipfile
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import docx
import pytest
import pytest_asyncio
from graphmesh.retrieval import v1 as pb
from graphmesh_chassis.settings import SecretUrl
from graphmesh_chassis.testing import running
from graphmesh_retrieval.__main__ import build
from graphmesh_retrieval.settings import Settings

from tests.integration.service_client import ServiceClient

Retrieval = pb.RetrievalService
PDF, DOCX = pb.DocumentFormat.DOCUMENT_FORMAT_PDF, pb.DocumentFormat.DOCUMENT_FORMAT_DOCX


@pytest.fixture
def file_seconds() -> int:
    """The longest CPU time of a file: no limit of a test that is not about it."""
    return 30


@pytest_asyncio.fixture
async def retrieval(tmp_path: Path, file_seconds: int) -> AsyncIterator[ServiceClient]:
    settings = Settings(
        database_url=SecretUrl(f"sqlite+aiosqlite:///{tmp_path}/retrieval.db"), file_seconds=file_seconds
    )
    async with build(settings) as servable, running(servable, settings) as served:
        yield ServiceClient(served.channel)


def pdf(stream: bytes, filters: bytes = b"") -> bytes:
    """A file of one page with this content stream."""
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>",
        b"<</Length %d%s>>stream\n%s\nendstream" % (len(stream), filters, stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    content, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(content))
        content += b"%d 0 obj%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    trailer = b"trailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % len(content)
    return content + b"xref\n0 6\n0000000000 65535 f \n" + table + trailer


def word() -> bytes:
    document = docx.Document()
    document.add_heading("Converters", 1)
    document.add_paragraph("A converter is filled with ink from a bottle.")
    document.add_table(1, 2).rows[0].cells[0].text = "Walrus"
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


def bomb() -> bytes:
    """A Word document that unpacks to a gigabyte."""
    file = io.BytesIO(word())
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("word/media/a.bin", "w") as part:
        for _ in range(100):
            part.write(bytes(1_000_000))
    return file.getvalue()


async def ingest(retrieval: ServiceClient, *documents: pb.DocumentInput) -> pb.IngestDocumentsResponse:
    return await retrieval(Retrieval.IngestDocuments, pb.IngestDocumentsRequest(documents=documents))


async def find(retrieval: ServiceClient, query: str) -> pb.Passage:
    found = await retrieval(Retrieval.Search, pb.SearchRequest(query=query))
    return found.passages[0]


async def test_html_is_text_with_headings(retrieval: ServiceClient) -> None:
    """Scripts, styles and navigation are not searched; the text of tags that are never closed is."""
    page = """<!doctype html><html><head><title>Pens &amp; inks</title><style>.walrus{}</style></head><body>
        <nav>Walrus</nav><h1>Filling</h1><p>Dip the <b>nib</b> into
        ink.<p>Turn the knob.<script>walrus()</script><h2>Cleaning</h2><ul><li>Use cold water"""
    format_ = pb.DocumentFormat.DOCUMENT_FORMAT_HTML
    await ingest(retrieval, pb.DocumentInput(document_id="a.html", text=page, format=format_))
    passage = await find(retrieval, "water")
    assert (passage.title, list(passage.heading_path), passage.text) == (
        "Pens & inks",
        ["Filling", "Cleaning"],
        "Use cold water",
    )
    assert (await find(retrieval, "knob")).text == "Dip the nib into ink.\n\nTurn the knob."
    assert not (await retrieval(Retrieval.Search, pb.SearchRequest(query="walrus"))).passages


async def test_pdf_and_word_documents_are_searched(retrieval: ServiceClient) -> None:
    """The text is stored, with headings; the file is not."""
    response = await ingest(
        retrieval,
        pb.DocumentInput(document_id="a.pdf", content=pdf(b"BT /F 12 Tf 9 9 Td (Ink dries slowly.) Tj ET"), format=PDF),
        pb.DocumentInput(document_id="b.docx", content=word(), format=DOCX),
    )
    assert not response.failures
    assert (await find(retrieval, "dries")).text == "Ink dries slowly."
    passage = await find(retrieval, "bottle")
    assert (passage.document_id, passage.title, list(passage.heading_path)) == ("b.docx", "Converters", ["Converters"])
    assert (await find(retrieval, "walrus")).document_id == "b.docx"


@pytest.mark.parametrize("file_seconds", [1])
async def test_hostile_files_are_refused_by_name_and_the_service_lives(retrieval: ServiceClient) -> None:
    """Bombs of compression, text without an end, broken files, and files of another format."""
    huge = zlib.compress(zlib.compress(b"BT /F 12 Tf (walrus) Tj ET\n" * 1_000_000), 9)
    hostile = {
        "bomb.pdf": (pdf(huge, b"/Filter[/FlateDecode/FlateDecode]"), PDF),
        "long.pdf": (pdf(zlib.compress(b"BT /F 9 Tf (%s) Tj ET" % (b"walrus " * 200_000))), PDF),
        "cut.pdf": (pdf(b"BT (walrus) Tj ET")[:200], PDF),
        "bomb.docx": (bomb(), DOCX),
        "empty.pdf": (pdf(b""), PDF),
    }
    for name, (content, format_) in hostile.items():
        response = await ingest(retrieval, pb.DocumentInput(document_id=name, content=content, format=format_))
        assert [failure.document_id for failure in response.failures] == [name]
    assert (await ingest(retrieval, pb.DocumentInput(document_id="good.md", text="Fine."))).added_count == 1
    assert (await find(retrieval, "fine")).document_id == "good.md"


@pytest.mark.parametrize("file_seconds", [1])
async def test_hostile_html_is_refused(retrieval: ServiceClient) -> None:
    """Lexbor takes quadratic time for deep trees: its process is ended."""
    format_ = pb.DocumentFormat.DOCUMENT_FORMAT_HTML
    response = await ingest(retrieval, pb.DocumentInput(document_id="a", text="<div>" * 200_000, format=format_))
    assert [failure.document_id for failure in response.failures] == ["a"]
