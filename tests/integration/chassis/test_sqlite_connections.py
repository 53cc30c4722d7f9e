"""SQLite: a statement takes one switch to a thread, and tenants take turns as the writer."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from graphmesh_chassis.database import Database, open_database
from graphmesh_chassis.sqlite_connection import SqliteConnection
from graphmesh_chassis.tenant_turns import CURRENT_TENANT

ONE, NUMBERS = sa.text("SELECT 1"), sa.text("VALUES (1), (2), (3)")


async def test_statement_takes_one_switch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    switches: list[str] = []
    call = SqliteConnection._execute

    async def counted(connection: SqliteConnection, function: Any, *arguments: Any) -> Any:
        switches.append(str(arguments))
        return await call(connection, function, *arguments)  # type: ignore[no-untyped-call]

    url = f"sqlite+aiosqlite:///{tmp_path}/one.sqlite"
    async with open_database(url) as database, database.transaction() as connection:
        await connection.execute(ONE)
        monkeypatch.setattr(SqliteConnection, "_execute", counted)
        rows = (await connection.execute(NUMBERS)).scalars().all()
        assert (rows, len(switches)) == ([1, 2, 3], 1)


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
