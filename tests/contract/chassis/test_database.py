"""The database's failures are told apart, on SQLite and PostgreSQL alike."""

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa
from graphmesh_chassis.alone import Alone
from graphmesh_chassis.database import Database, open_database
from graphmesh_chassis.errors import DatabaseUnavailable
from sqlalchemy.exc import DBAPIError, IntegrityError

ASLEEP = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite+aiosqlite:///{tmp_path}/any.db"


async def execute(database: Database, statement: str) -> None:
    async with database.transaction() as connection:
        await connection.execute(sa.text(statement))


@pytest.mark.parametrize("statement", ["SELECT nothing FROM nowhere", "SELEKT 1"])
async def test_a_wrong_statement_is_a_defect(url: str, statement: str) -> None:
    """It is not taken for a database that is down, which somebody would try again."""
    async with open_database(url) as database:
        with pytest.raises(DBAPIError):
            await execute(database, statement)


async def test_errors_do_not_repeat_values(url: str) -> None:
    """A broken rule is named with its statement, and without what was to be stored (H5)."""
    async with open_database(url) as database:
        await execute(database, "CREATE TABLE t (id int PRIMARY KEY, note text NOT NULL)")
        async with database.transaction() as connection:
            with pytest.raises(IntegrityError) as raised:
                await connection.execute(sa.text("INSERT INTO t VALUES (:id, :note)"), {"id": 1, "note": None})
            assert "parameters hidden" in str(raised.value)
            await connection.rollback()


async def test_a_read_changes_nothing_and_sees_one_state(postgres_url: str) -> None:
    """On PostgreSQL a read is a snapshot: what is committed meanwhile shows in the next one."""
    async with open_database(postgres_url) as database:
        await execute(database, "CREATE TABLE t (id int)")
        async with database.read() as connection:
            assert await connection.scalar(sa.text("SELECT count(*) FROM t")) == 0
            await execute(database, "INSERT INTO t VALUES (1)")
            assert await connection.scalar(sa.text("SELECT count(*) FROM t")) == 0
        async with database.read() as connection:
            with pytest.raises(DBAPIError, match="read-only"):
                await connection.execute(sa.text("INSERT INTO t VALUES (2)"))
        await execute(database, "INSERT INTO t VALUES (3)")


async def test_a_ping_of_a_database_that_is_away(tmp_path: Path) -> None:
    async with open_database("postgresql+psycopg://u@127.0.0.1:1/d") as database:
        with pytest.raises(DatabaseUnavailable):
            await database.ping()


async def asleep(alone: Alone) -> None:
    """Wait until another connection sleeps."""
    while not await alone.execute(ASLEEP, {}):
        await asyncio.sleep(0.01)


async def test_single_statements_are_transactions_of_their_own(postgres_url: str) -> None:
    """One that fails is a defect, as elsewhere, and the next one is stored."""
    async with open_database(postgres_url) as database:
        alone = database.alone()
        await execute(database, "CREATE TABLE t (id int PRIMARY KEY)")
        insert = "INSERT INTO t VALUES (%(id)s) RETURNING id"
        assert await alone.execute(insert, {"id": 1}) == [(1,)]
        with pytest.raises(DBAPIError, match="duplicate key"):
            await alone.execute(insert, {"id": 1})
        async with database.read() as connection:
            assert await connection.scalar(sa.text("SELECT count(*) FROM t")) == 1
        assert await alone.execute(insert, {"id": 2}) == [(2,)]


async def test_single_statements_outlive_their_connection(postgres_url: str) -> None:
    """One whose connection is ended under it may have been stored, so it fails. One ended before costs nothing."""
    others = "datname = current_database() AND pid <> pg_backend_pid()"
    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others} AND query ~ '%s'"
    async with open_database(postgres_url) as database:
        alone = database.alone()
        await alone.execute("SELECT 'idle'", {})
        await execute(database, end % "idle")
        assert await alone.execute("SELECT 1", {}) == [(1,)]
        long = asyncio.create_task(alone.execute("SELECT pg_sleep(60)", {}))
        await asleep(database.alone())
        await execute(database, end % "pg_sleep.60")
        with pytest.raises(DatabaseUnavailable):
            await long
        assert await alone.execute("SELECT 1", {}) == [(1,)]


async def test_a_single_statement_that_nobody_waits_for_is_ended(postgres_url: str) -> None:
    async with open_database(postgres_url) as database:
        alone, other = database.alone(), database.alone()
        long = asyncio.create_task(alone.execute("SELECT pg_sleep(60)", {}))
        await asleep(other)
        long.cancel()
        with pytest.raises(asyncio.CancelledError):
            await long
        assert not await other.execute(ASLEEP, {})
        assert await alone.execute("SELECT 1", {}) == [(1,)]
