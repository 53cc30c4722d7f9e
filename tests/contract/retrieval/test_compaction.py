"""The compaction of postings whose passages are gone, on SQLite and PostgreSQL."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
import sqlalchemy as sa
from graphmesh_chassis.database import Database, open_database
from graphmesh_retrieval import compaction_sql, vectors
from graphmesh_retrieval.__main__ import MIGRATIONS
from graphmesh_retrieval.compaction_sql import Compactor
from graphmesh_retrieval.documents_sql import SqlDocuments
from graphmesh_retrieval.documents_tables import corpora, postings
from graphmesh_retrieval.domain import AnalyzedDocument, Draft, Reader
from graphmesh_retrieval.ingestion import add_vectors, analyze
from graphmesh_retrieval.postings import BLOCK_PASSAGES
from graphmesh_retrieval.searching import Query, Searcher

from tests.contract.retrieval.test_documents import Colours

pytestmark = pytest.mark.parametrize("store_url", ["sqlite", "postgresql"], indirect=True)
NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


@pytest_asyncio.fixture
async def database(store_url: str) -> AsyncIterator[Database]:
    async with open_database(store_url, MIGRATIONS) as database:
        yield database


async def put(
    database: Database, day: int = 0, tenant: str = "acme", embedder: Colours | None = None, **texts: Any
) -> None:
    drafts = {name: Draft(name, name, "", text, {}, readers=("subject:alice",)) for name, text in texts.items()}
    found = analyze(drafts, {name: draft.digest() for name, draft in drafts.items()}, lambda: False)
    if embedder:
        found = await add_vectors(embedder, found)
    async with database.transaction() as connection:
        documents = [document for document in found.values() if isinstance(document, AnalyzedDocument)]
        await SqlDocuments(connection, tenant).put(documents, NOW + timedelta(days=day))


async def delete(database: Database, *names: str) -> None:
    async with database.transaction() as connection:
        await SqlDocuments(connection, "acme").delete(names)


async def found(database: Database, query: str, as_of: datetime | None = None, tenant: str = "acme") -> list[str]:
    async with database.read() as connection:
        wanted = Query(query, Reader("alice", frozenset()), 9, as_of=as_of)
        hits = await Searcher().search(tenant, SqlDocuments(connection, tenant), wanted)
    return [hit.found.passage_id for hit in hits]


async def size(database: Database) -> int:
    """Return the number of postings and marks that are stored."""
    return int((await database.rows(sa.select(sa.func.coalesce(sa.func.sum(postings.c.size), 0))))[0][0])


async def fill_block(database: Database) -> None:
    """Have the next passage begin a new block."""
    async with database.transaction() as connection:
        await connection.execute(sa.update(corpora).values(next_number=BLOCK_PASSAGES))


async def test_postings_of_deleted_passages_are_removed(database: Database) -> None:
    """What is left is as if the others alone had been stored, and is found."""
    await put(database, kept="A walrus swims.")
    kept = await size(database)
    await put(database, gone="A walrus sleeps for long.", other="Penguins sleep.")
    await delete(database, "gone", "other")
    assert await size(database) > kept
    assert await Compactor(database, min_gone=1).compact_all() == 1
    assert await size(database) == kept
    assert await found(database, "walrus sleeps") == ["kept#0"]
    async with database.read() as connection:
        assert (await SqlDocuments(connection, "acme").corpus()).passages == 1
    assert await Compactor(database, min_gone=1).compact_all() == 0


async def test_few_deleted_passages_are_left(database: Database) -> None:
    await put(database, kept="A walrus.", gone="A walrus.")
    await delete(database, "gone")
    assert await Compactor(database).compact_all() == 0


async def test_earlier_versions_are_still_found_as_of_their_time(database: Database) -> None:
    """Passages that were replaced are gone only when their version is."""
    await put(database, a="About walruses.", b="Gone.")
    await put(database, day=1, a="About penguins.")
    await delete(database, "b")
    assert await Compactor(database, min_gone=1).compact_all() == 1
    assert await found(database, "walruses", NOW + timedelta(hours=1)) == ["a#0"]
    assert await found(database, "walruses") == []
    async with database.transaction() as connection:
        await SqlDocuments(connection, "acme").prune(["a"], 0, NOW)
    assert await Compactor(database, min_gone=1).compact_all() == 1
    assert await found(database, "walruses", NOW + timedelta(hours=1)) == []


async def test_deleted_passages_take_no_places_in_a_ranking_by_meaning(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vectors are cached, and compaction removes the marks that hide them."""
    monkeypatch.setattr(vectors, "DEPTH", 1)
    embedder = Colours()
    searcher = Searcher(embedder)

    async def similar() -> list[str]:
        async with database.read() as connection:
            wanted = Query("crimson", Reader("alice", frozenset()), 5)
            hits = await searcher.search("acme", SqlDocuments(connection, "acme"), wanted)
        return [hit.found.passage_id for hit in hits]

    await put(database, embedder=embedder, best="Scarlet.", second="Red and blue.")
    assert await similar() == ["best#0"]
    await delete(database, "best")
    assert await Compactor(database, min_gone=1).compact_all() == 1
    assert await similar() == ["second#0"]


async def test_emptied_block_is_not_read_any_more(database: Database) -> None:
    await put(database, gone="A walrus.")
    await fill_block(database)
    await put(database, kept="A walrus.")
    await delete(database, "gone")
    await Compactor(database, min_gone=1).compact_all()
    async with database.read() as connection:
        assert (await SqlDocuments(connection, "acme").corpus()).blocks == [1]
    assert await found(database, "walrus") == ["kept#0"]


async def test_all_tenants_read_and_write_during_a_compaction(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each transaction takes a few terms; in each pause both tenants store and search."""
    monkeypatch.setattr(compaction_sql, "STEP_TERMS", 3)
    await put(database, kept="One two three four five six.", gone="One two three four five six seven.")
    await put(database, tenant="rival", theirs="One.")
    await delete(database, "gone")
    pauses = 0

    async def pause() -> None:
        nonlocal pauses
        pauses += 1
        await put(database, 0, "rival", None, **{f"new{pauses}": "One."})
        await put(database, 0, "acme", None, **{f"new{pauses}": "Nine."})
        assert await found(database, "two") == ["kept#0"]
        assert len(await found(database, "one", tenant="rival")) == pauses + 1

    assert await Compactor(database, min_gone=1, pause=pause).compact_all() == 1
    assert pauses >= 3
    assert len(await found(database, "nine")) == pauses


async def test_interrupted_compaction_is_repeated(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The passages that are half removed are not found meanwhile."""
    monkeypatch.setattr(compaction_sql, "STEP_TERMS", 3)
    await put(database, kept="One two three four five six.", gone="One two three four five six seven.")
    await delete(database, "gone")

    async def die() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        await Compactor(database, min_gone=1, pause=die).compact_all()
    for word in ("one", "two", "three", "four", "five", "six", "seven"):
        assert await found(database, word) == ([] if word == "seven" else ["kept#0"])
    assert await Compactor(database, min_gone=1).compact_all() == 1
    async with database.read() as connection:
        assert (await SqlDocuments(connection, "acme").corpus()).passages == 1
