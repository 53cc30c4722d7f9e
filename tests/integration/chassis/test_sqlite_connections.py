"""SQLite: a statement takes one switch to a thread, as a commit does, and tenants take turns as the writer."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import sqlalchemy as sa
from graphmesh_chassis.database import Database, open_database
from graphmesh_chassis.sqlite_connection import SqliteConnection, deferred
from graphmesh_chassis.tenant_turns import CURRENT_TENANT
from sqlalchemy.exc import IntegrityError

ONE: Any = sa.text("SELECT 1")
NUMBERS: Any = sa.text("VALUES (1), (2), (3)")
COUNT: Any = sa.text("SELECT count(*) FROM numbers")
LAST: Any = sa.text("SELECT count(*), max(number) FROM numbered")
INSERT = sa.text("INSERT INTO numbers VALUES (1)")
SLOW_INSERT = sa.text(
    "INSERT INTO numbers"
    " WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT i FROM n"
)


NUMBERED = sa.Table(
    "numbered", sa.MetaData(), sa.Column("number", sa.Integer, primary_key=True), sa.Column("text", sa.String)
)


@pytest.fixture
def switches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The functions that the threads of SQLite execute."""
    executed: list[str] = []
    in_thread = SqliteConnection._in_thread

    def counted(connection: SqliteConnection, before: Sequence[Any], function: Any, *arguments: Any) -> Any:
        called = [*(one for each in before for one in each.args), function.__name__, *arguments]
        executed.append(" ".join(one for one in called if isinstance(one, str)))
        return in_thread(connection, before, function, *arguments)

    monkeypatch.setattr(SqliteConnection, "_in_thread", counted)
    return executed


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """A database with an open connection in its pool."""
    async with open_database(f"sqlite+aiosqlite:///{tmp_path}/one.sqlite") as database:
        await database.rows(ONE)
        async with database.transaction() as connection:
            await connection.execute(sa.text("CREATE TABLE numbers (number INTEGER NOT NULL)"))
            await connection.run_sync(NUMBERED.create)
        yield database


async def test_query_takes_one_switch(database: Database, switches: list[str]) -> None:
    assert (await database.rows(NUMBERS)) == [(1,), (2,), (3,)]
    assert switches == ["_run VALUES (1), (2), (3)"]


async def test_transaction_takes_a_switch_for_each_statement_and_its_commit(
    database: Database, switches: list[str]
) -> None:
    async with database.transaction() as connection:
        await connection.execute(INSERT)
        assert (await connection.execute(NUMBERS)).scalars().all() == [1, 2, 3]
    assert switches == ["BEGIN IMMEDIATE _run INSERT INTO numbers VALUES (1)", "_run VALUES (1), (2), (3)", "commit"]
    assert await database.rows(COUNT) == [(1,)]


async def test_deferred_statements_take_no_switch(database: Database, switches: list[str]) -> None:
    """They are executed with the next statement that is not, and with the commit."""
    async with database.transaction() as connection:
        with deferred(connection):
            await connection.execute(INSERT)
            await connection.execute(INSERT)
        assert (await connection.execute(COUNT)).scalar_one() == 2
        with deferred(connection):
            await connection.execute(INSERT)
    insert = "INSERT INTO numbers VALUES (1)"
    assert switches == [f"BEGIN IMMEDIATE {insert} {insert} _run SELECT count(*) FROM numbers", f"{insert} commit"]
    assert await database.rows(COUNT) == [(3,)]


async def test_deferred_statement_that_fails_rolls_the_transaction_back(database: Database) -> None:

    async def write() -> None:
        async with database.transaction() as connection:
            with deferred(connection):
                await connection.execute(INSERT)
                await connection.execute(sa.text("INSERT INTO numbers VALUES (NULL)"))

    with pytest.raises(IntegrityError):
        await write()
    assert await database.rows(COUNT) == [(0,)]
    async with database.transaction() as connection:
        await connection.execute(INSERT)
    assert await database.rows(COUNT) == [(1,)]


@pytest.mark.parametrize("count", [2, 20_000])
async def test_rows_are_inserted_by_one_statement_within_the_limit_of_parameters(
    database: Database, switches: list[str], count: int
) -> None:
    """Python's lock is released and taken again for each step of a statement."""
    rows = [{"number": number, "text": "x"} for number in range(count)]
    async with database.transaction() as connection:
        await connection.execute(database.insert(NUMBERED).on_conflict_do_nothing(), [*rows, rows[0]])
    groups = 3 if count == 2 else 1
    values = ", ".join(["(?, ?)"] * groups)
    insert = f"INSERT INTO numbered (number, text) VALUES {values} ON CONFLICT DO NOTHING"
    assert switches == [f"BEGIN IMMEDIATE _run {insert}", "commit"]
    assert [tuple(row) for row in await database.rows(LAST)] == [(count, count - 1)]


async def test_transaction_without_statements_takes_no_switch(database: Database, switches: list[str]) -> None:
    async with database.read():
        pass
    async with database.transaction():
        pass
    assert not switches


async def test_failed_transaction_is_rolled_back(database: Database, switches: list[str]) -> None:
    with suppress(LookupError):
        async with database.transaction() as connection:
            await connection.execute(INSERT)
            raise LookupError
    assert switches[1:] == ["rollback"]
    assert await database.rows(COUNT) == [(0,)]


async def test_cancelled_transaction_leaves_no_lock(database: Database) -> None:
    """A statement that is still executed when its task is cancelled has begun its transaction."""

    async def write() -> None:
        async with database.transaction() as connection:
            await connection.execute(SLOW_INSERT)

    writing = asyncio.create_task(write())
    while not database._writers.active:
        await asyncio.sleep(0)
    for _ in range(20):  # until the thread executes the statement
        await asyncio.sleep(0)
    writing.cancel()
    await asyncio.wait({writing})
    async with database.transaction() as connection:
        await connection.execute(INSERT)
    assert await database.rows(COUNT) == [(1,)]


async def test_writers_of_tenants_take_turns(tmp_path: Path) -> None:
    """However many transactions of one tenant wait, that of another is the second next."""
    order: list[str] = []

    async def write(database: Database, tenant: str) -> None:
        CURRENT_TENANT.set(tenant)
        async with database.transaction() as connection:
            order.append(tenant)
            await connection.execute(ONE)

    async with open_database(f"sqlite+aiosqlite:///{tmp_path}/turns.sqlite") as database, asyncio.TaskGroup() as tasks:
        for tenant in [*["hostile"] * 10, "watcher"]:
            tasks.create_task(write(database, tenant))
    assert order.index("watcher") <= 2
