"""Transactions, connections and failures of a database, on SQLite and PostgreSQL alike."""

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa
from graphmesh_chassis.database import Database, open_database
from graphmesh_chassis.errors import DatabaseUnavailable
from graphmesh_chassis.single_statement_connection import SingleStatementConnection
from sqlalchemy.exc import DBAPIError, IntegrityError

ASLEEP = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"

SET_READ_ONLY = "SELECT set_config('default_transaction_read_only', %(value)s, false)"
"""Of the session."""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite+aiosqlite:///{tmp_path}/any.db"


async def execute(database: Database, statement: str) -> None:
    async with database.transaction() as connection:
        await connection.execute(sa.text(statement))


@pytest.mark.parametrize("statement", ["SELECT nothing FROM nowhere", "SELEKT 1"])
async def test_bad_statement_is_a_defect(url: str, statement: str) -> None:
    """Not an unavailable database, which callers would retry."""
    async with open_database(url) as database:
        with pytest.raises(DBAPIError):
            await execute(database, statement)


async def test_errors_do_not_contain_values(url: str) -> None:
    """The error of a violated constraint shows the statement, without its parameters."""
    async with open_database(url) as database:
        await execute(database, "CREATE TABLE t (id int PRIMARY KEY, note text NOT NULL)")
        async with database.transaction() as connection:
            with pytest.raises(IntegrityError) as raised:
                await connection.execute(sa.text("INSERT INTO t VALUES (:id, :note)"), {"id": 1, "note": None})
            assert "parameters hidden" in str(raised.value)
            await connection.rollback()


async def test_read_transaction_is_read_only_and_sees_one_snapshot(postgres_url: str) -> None:
    """Concurrent commits are visible in the next transaction."""
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


async def test_server_that_takes_no_writes_is_unavailable(postgres_url: str) -> None:
    """Until it takes them again, as after its disk was full. A statement that is a defect would not be repeated."""
    async with open_database(postgres_url) as database:
        single = database.single_statement_connection()
        await execute(database, "CREATE TABLE t (id int)")
        await single.execute(SET_READ_ONLY, {"value": "on"})
        with pytest.raises(DatabaseUnavailable):
            await single.execute("INSERT INTO t VALUES (1) RETURNING id", {})
        await single.execute(SET_READ_ONLY, {"value": "off"})
        assert await single.execute("INSERT INTO t VALUES (1) RETURNING id", {}) == [(1,)]
        await execute(database, SET_READ_ONLY.replace("%(value)s", "'on'"))
        with pytest.raises(DatabaseUnavailable):
            await execute(database, "INSERT INTO t VALUES (2)")
        await execute(database, SET_READ_ONLY.replace("%(value)s", "'off'"))
        await execute(database, "INSERT INTO t VALUES (2)")


async def test_standby_is_not_connected_to(postgres_url: str) -> None:
    """Nor another server whose sessions cannot write; an option of the URL has precedence."""
    async with open_database(postgres_url) as database:
        name = sa.make_url(postgres_url).database
        await execute(database, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    async with open_database(postgres_url) as database:
        with pytest.raises(DatabaseUnavailable):
            await database.ping()
    async with open_database(f"{postgres_url}?target_session_attrs=any") as database:
        await database.ping()


async def test_ping_of_an_unreachable_database_fails(tmp_path: Path) -> None:
    async with open_database("postgresql+psycopg://u@127.0.0.1:1/d") as database:
        with pytest.raises(DatabaseUnavailable):
            await database.ping()


async def until_asleep(connection: SingleStatementConnection) -> None:
    """Wait until another connection sleeps."""
    while not await connection.execute(ASLEEP, {}):
        await asyncio.sleep(0.01)


async def test_single_statements_are_transactions_of_their_own(postgres_url: str) -> None:
    """One that fails is a defect, as elsewhere, and the next one is committed."""
    async with open_database(postgres_url) as database:
        single = database.single_statement_connection()
        await execute(database, "CREATE TABLE t (id int PRIMARY KEY)")
        insert = "INSERT INTO t VALUES (%(id)s) RETURNING id"
        assert await single.execute(insert, {"id": 1}) == [(1,)]
        with pytest.raises(DBAPIError, match="duplicate key"):
            await single.execute(insert, {"id": 1})
        async with database.read() as connection:
            assert await connection.scalar(sa.text("SELECT count(*) FROM t")) == 1
        assert await single.execute(insert, {"id": 2}) == [(2,)]


async def test_single_statement_connection_reconnects(postgres_url: str) -> None:
    """A statement whose connection breaks may have been committed, so it fails. A connection that broke while idle is
    replaced."""
    others = "datname = current_database() AND pid <> pg_backend_pid()"
    end = f"SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE {others} AND query ~ '%s'"
    async with open_database(postgres_url) as database:
        single = database.single_statement_connection()
        await single.execute("SELECT 'idle'", {})
        await execute(database, end % "idle")
        assert await single.execute("SELECT 1", {}) == [(1,)]
        long = asyncio.create_task(single.execute("SELECT pg_sleep(60)", {}))
        await until_asleep(database.single_statement_connection())
        await execute(database, end % "pg_sleep.60")
        with pytest.raises(DatabaseUnavailable):
            await long
        assert await single.execute("SELECT 1", {}) == [(1,)]


async def test_cancelled_single_statement_is_cancelled_in_the_database(postgres_url: str) -> None:
    async with open_database(postgres_url) as database:
        single, other = database.single_statement_connection(), database.single_statement_connection()
        long = asyncio.create_task(single.execute("SELECT pg_sleep(60)", {}))
        await until_asleep(other)
        long.cancel()
        with pytest.raises(asyncio.CancelledError):
            await long
        assert not await other.execute(ASLEEP, {})
        assert await single.execute("SELECT 1", {}) == [(1,)]
