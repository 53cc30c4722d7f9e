"""`graphmesh ingest FOLDER`: Markdown files become searchable passages."""

import re
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest
import pytest_asyncio
from graphmesh.retrieval import v1 as pb
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.settings import SecretUrl
from graphmesh_chassis.testing import running
from graphmesh_cli.commands.ingest import Ingestion, Skipped, batches, document_id, documents, ingest, ingest_folder
from graphmesh_retrieval.__main__ import build
from graphmesh_retrieval.settings import Settings


@pytest_asyncio.fixture
async def channel(tmp_path: Path) -> AsyncIterator[Channel]:
    settings = Settings(database_url=SecretUrl(f"sqlite+aiosqlite:///{tmp_path}/retrieval.db"))
    async with build(settings) as servable, running(servable, settings) as served:
        yield served.channel


async def ingested(channel: Channel, found: Iterable[pb.DocumentInput], **options: int) -> Ingestion:
    await ingest(channel, found, ingestion := Ingestion(), tenant="default", **options)  # type: ignore[arg-type]
    return ingestion


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {
        "refunds.md": "# Refunds\n\nFive days.",
        "how to/clean a nib.md": "# Cleaning\n\nWater.",
        "empty.md": "",
        "notes.rst": "no",
    }
    for name, text in files.items():
        path = tmp_path / "articles" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "articles"


async def test_a_folder_is_stored_and_searchable(channel: Channel, folder: Path) -> None:
    """Every Markdown file that is not empty, at any depth; titles from headings, URIs from paths."""
    assert await ingest_folder(channel, folder, uri_prefix="https://shop.example/") == 2
    request = pb.SearchRequest(query="cleaning with water")
    (passage,) = (await channel.unary(pb.RetrievalService.Search, request, deadline=Deadline.after(60))).passages
    assert (passage.title, passage.uri) == ("Cleaning", "https://shop.example/how to/clean a nib.md")


async def test_a_repeated_ingestion_stores_only_changes(channel: Channel, folder: Path) -> None:
    """Also when a file is reverted to the text of two ingestions ago."""
    first = (folder / "refunds.md").read_text()
    for text, expected in ((first, (2, 0, 0)), (first, (0, 0, 2)), ("# New\n\nText.", (0, 1, 1)), (first, (0, 1, 1))):
        (folder / "refunds.md").write_text(text)
        done = (await ingested(channel, documents(folder, "", Ingestion()))).total
        assert (done.added_count, done.replaced_count, done.unchanged_count) == expected


async def test_many_documents_are_sent_in_batches(channel: Channel) -> None:
    """No batch exceeds the limit."""
    many = [pb.DocumentInput(document_id=f"d{n}", text="word " * 50) for n in range(205)]
    assert [document for batch in batches(many, 2000) for document in batch] == many
    assert max(sum(document.ByteSize() for document in batch) for batch in batches(many, 2000)) <= 2000
    assert (await ingested(channel, many, max_batch_bytes=2000)).total.added_count == 205


async def test_bad_files_are_named_and_skipped(channel: Channel, folder: Path) -> None:
    """Files that the service refuses, that it cannot read, or that the command cannot: all others are stored."""
    (folder / "huge.md").write_text("x" * 1_100_000)
    (folder / "broken.pdf").write_bytes(b"no PDF")
    (folder / "gone.md").symlink_to("nowhere")
    with pytest.raises(Skipped) as skipped:
        await ingest_folder(channel, folder)
    assert sorted(line.split(": ")[0] for line in str(skipped.value).splitlines()) == [
        "broken.pdf",
        "gone.md",
        "huge.md",
    ]
    listed = await channel.unary(
        pb.RetrievalService.ListDocuments, pb.ListDocumentsRequest(), deadline=Deadline.after(60)
    )
    assert {document.uri for document in listed.documents} == {"refunds.md", "how to/clean a nib.md"}


@pytest.mark.parametrize("path", ["é.md", "a b.md", "a-b!.md", ".hidden/x.md", "x" * 300 + ".md", "日本.md", "-.md"])
def test_each_path_has_a_unique_id(path: str) -> None:
    found = document_id(path)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,199}", found)
    assert found != document_id(f"{path}x")
    assert document_id("a/b-c.md") == "a/b-c.md"
