"""What a search reads, counted by the databases themselves."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import sqlalchemy as sa
from graphmesh_chassis.database import Database, open_database
from graphmesh_retrieval.__main__ import MIGRATIONS
from graphmesh_retrieval.documents_sql import SqlDocuments
from graphmesh_retrieval.domain import AnalyzedDocument, Draft, Reader
from graphmesh_retrieval.ingestion import analyze
from graphmesh_retrieval.searching import Query, Searcher
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.contract.retrieval.test_compaction import NOW

ROWS_READ = sa.text("SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables")


@pytest_asyncio.fixture
async def database(store_url: str) -> AsyncIterator[Database]:
    async with open_database(store_url, MIGRATIONS) as database:
        yield database


async def put(database: Database, tenant: str, passages: int, batch: int = 0) -> None:
    """Store a document with so many passages, all of which have the word that is searched."""
    sections = (f"# Section {number}\n\nPens and ink of kind {number}." for number in range(passages))
    draft = Draft(f"doc{batch}", "Pens", "", "\n\n".join(sections), {}, language="en")
    found = analyze({"doc": draft}, {"doc": draft.digest()}, lambda: False)["doc"]
    assert isinstance(found, AnalyzedDocument)
    async with database.transaction() as connection:
        await SqlDocuments(connection, tenant).put([found], NOW)


async def cost(database: Database, tenant: str) -> int:
    """Return the steps of SQLite's virtual machine, or the rows that PostgreSQL has read, for a search."""
    async with database.read() as connection:
        search = Query("ink pens", Reader("alice", frozenset()), 5)
        if database.is_sqlite:
            return await _sqlite_steps(connection, tenant, search)
        # Of tables as small as these it would read every row instead of an index.
        await connection.execute(sa.text("SET LOCAL enable_seqscan = off"))
        before = (await connection.execute(ROWS_READ)).scalar_one()
        await Searcher().search(tenant, SqlDocuments(connection, tenant), search)
        return int((await connection.execute(ROWS_READ)).scalar_one() - before)


async def _sqlite_steps(connection: AsyncConnection, tenant: str, search: Query) -> int:
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    driver = (await connection.get_raw_connection()).driver_connection
    assert driver is not None
    await driver.set_progress_handler(count, 1)
    await Searcher().search(tenant, SqlDocuments(connection, tenant), search)
    await driver.set_progress_handler(None, 1)
    return steps


@pytest.mark.parametrize("store_url", ["sqlite", "postgresql"], indirect=True)
async def test_search_costs_no_more_whatever_other_tenants_store(database: Database) -> None:
    await put(database, "acme", 20)
    await put(database, "rival", 500)
    await _analyze(database)
    before = await cost(database, "acme")
    for batch in range(1, 5):
        await put(database, "rival", 500, batch)
    await _analyze(database)
    assert await cost(database, "acme") <= before


async def _analyze(database: Database) -> None:
    """Let the database know the sizes of its tables, by which it plans."""
    async with database.transaction() as connection:
        await connection.execute(sa.text("ANALYZE"))
