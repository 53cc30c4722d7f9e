"""Cancellation during a statement."""

import asyncio
import random
from pathlib import Path

import psycopg.waiting
import pytest
import sqlalchemy as sa
from graphmesh_chassis.database import Database, open_database


async def test_cancelled_work_leaves_nothing_behind(tmp_path: Path) -> None:
    """However often and whenever a task is cancelled, it leaves no task, lock or connection."""
    chance = random.Random(7)
    async with open_database(f"sqlite+aiosqlite:///{tmp_path}/x.db") as database:
        for _ in range(60):
            await asyncio.gather(*(_cancelled_often(database, chance) for _ in range(4)))
        async with asyncio.timeout(60), database.transaction() as connection:
            assert (await connection.execute(sa.text("SELECT 1"))).scalar_one() == 1
    async with asyncio.timeout(60):
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)


@pytest.mark.parametrize("writes", [False, True], ids=["reads", "writes"])
async def test_connection_is_usable_after_cancellation(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, writes: bool
) -> None:
    """After cancellation at any step, the next transaction on the connection writes, and sees the writes of others.

    The driver yields to the event loop at every step, as it does where the loop has been busy.
    """
    monkeypatch.setattr(psycopg.waiting, "MAX_BUSY_TIME", 0.0)
    steps = 40
    async with open_database(postgres_url) as database, open_database(postgres_url) as another:
        await _write(database, "CREATE TABLE t (n int)")
        for step in range(steps):
            task = asyncio.create_task(_work(database, writes))
            for _ in range(step):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await _write(database, "INSERT INTO t VALUES (1)")
        async with another.read() as connection:
            assert (await connection.execute(sa.text("SELECT count(*) FROM t"))).scalar_one() == steps


async def _write(database: Database, statement: str) -> None:
    async with database.transaction() as connection:
        await connection.execute(sa.text(statement))


async def _cancelled_often(database: Database, chance: random.Random) -> None:
    task = asyncio.create_task(_work(database, writes=chance.random() < 0.5))
    for _ in range(chance.choice((1, 2, 3))):
        for _ in range(chance.randrange(12)):
            await asyncio.sleep(0)
        task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _work(database: Database, writes: bool) -> None:
    async with database.transaction() if writes else database.read() as connection:
        for _ in range(3):
            await connection.execute(sa.text("SELECT 1"))
