"""Cancellation in the middle of a statement (D7)."""

import asyncio
import random
from pathlib import Path

import sqlalchemy as sa
from graphmesh_chassis.database import Database, open_database


async def test_cancelled_work_leaves_nothing_behind(tmp_path: Path) -> None:
    """However often and whenever a task is cancelled, no task, no lock and no connection of it stays."""
    chance = random.Random(7)
    async with open_database(f"sqlite+aiosqlite:///{tmp_path}/x.db") as database:
        for _ in range(60):
            await asyncio.gather(*(_cancelled_often(database, chance) for _ in range(4)))
        async with asyncio.timeout(10), database.transaction() as connection:
            assert (await connection.execute(sa.text("SELECT 1"))).scalar_one() == 1
    async with asyncio.timeout(10):
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)


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
