"""`graphmesh ingest FOLDER`: Markdown files become passages that are found (F1)."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from graphmesh.retrieval import v1 as pb
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.testing import running
from graphmesh_cli.commands import ingest as command
from graphmesh_cli.commands.ingest import Refused, batches, document_id, documents, ingest, ingest_folder
from graphmesh_retrieval.__main__ import build
from graphmesh_retrieval.settings import Settings


@pytest_asyncio.fixture
async def channel(tmp_path: Path) -> AsyncIterator[Channel]:
    settings = Settings(database_url=f"sqlite+aiosqlite:///{tmp_path}/retrieval.db")
    async with build(settings) as servable, running(servable, settings) as served:
        yield served.channel


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {
        "refunds.md": "# Refunds\n\nFive days.",
        "how to/clean a nib.md": "# Cleaning\n\nWater.",
        "empty.md": "",
        "notes.txt": "no",
    }
    for name, text in files.items():
        path = tmp_path / "articles" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "articles"


async def test_a_folder_is_stored_and_found(channel: Channel, folder: Path) -> None:
    """Every Markdown file with a text, at any depth; titles from headings, uris from paths."""
    assert await ingest_folder(channel, folder, uri_prefix="https://shop.example/") == 2
    request = pb.SearchRequest(query="cleaning with water")
    (passage,) = (await channel.unary(pb.RetrievalService.Search, request, deadline=Deadline.after(5))).passages
    assert (passage.title, passage.uri) == ("Cleaning", "https://shop.example/how to/clean a nib.md")


async def test_the_same_folder_again_stores_only_what_changed(channel: Channel, folder: Path) -> None:
    """Also when a file went back to what it was two ingestions ago."""
    first = (folder / "refunds.md").read_text()
    for text, expected in ((first, (2, 0, 0)), (first, (0, 0, 2)), ("# New\n\nText.", (0, 1, 1)), (first, (0, 1, 1))):
        (folder / "refunds.md").write_text(text)
        done = await ingest(channel, documents(folder), tenant="default")
        assert (done.added_count, done.replaced_count, done.unchanged_count) == expected


async def test_many_files_go_in_several_calls(channel: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of them larger than a call may be."""
    monkeypatch.setattr(command, "BATCH_BYTES", 2000)
    many = [pb.DocumentInput(document_id=f"d{n}", text="word " * 50) for n in range(205)]
    assert [document for batch in batches(many) for document in batch] == many
    assert max(sum(document.ByteSize() for document in batch) for batch in batches(many)) <= 2000
    assert (await ingest(channel, many, tenant="default")).added_count == 205


async def test_a_refusal_names_the_file(channel: Channel, folder: Path) -> None:
    (folder / "huge.md").write_text("x" * 1_100_000)
    with pytest.raises(Refused, match=r"huge\.md: text: "):
        await ingest_folder(channel, folder)


@pytest.mark.parametrize("place", ["é.md", "a b.md", "a-b!.md", ".hidden/x.md", "x" * 300 + ".md", "日本.md", "-.md"])
def test_any_path_becomes_an_id_of_its_own(place: str) -> None:
    made = document_id(place)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,199}", made)
    assert made != document_id(f"{place}x")
    assert document_id("a/b-c.md") == "a/b-c.md"
