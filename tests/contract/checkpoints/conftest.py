"""Savers over both databases, and a run whose epoch they prove."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio
import sqlalchemy as sa
from graphmesh_chassis.database import Database, open_database
from graphmesh_orchestrator.__main__ import MIGRATIONS
from graphmesh_orchestrator.checkpoints import GroupCommit, LogSaver
from graphmesh_orchestrator.db.tables import runs
from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.runs.runs_sql import SqlRuns

NOW = datetime(2026, 1, 31, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite+aiosqlite:///{tmp_path}/orchestrator.db"


@pytest_asyncio.fixture
async def database(url: str) -> AsyncIterator[Database]:
    async with open_database(url, MIGRATIONS) as database:
        yield database


@pytest_asyncio.fixture
async def commits(database: Database) -> AsyncIterator[GroupCommit]:
    async with GroupCommit(database).running() as commits:
        yield commits


@pytest.fixture
def saver(database: Database, commits: GroupCommit) -> LogSaver:
    return LogSaver(database, commits)


async def begun(database: Database, run_id: str, epoch: int = 1) -> None:
    """A run that a worker executes on a thread of its own."""
    run = Run(run_id, "acme", "ann", run_id, "graph", {}, NOW, NOW, 25, epoch=epoch - 1)
    await SqlRuns(database).add(run, "worker")


async def taken_over(database: Database, run_id: str) -> None:
    """Another worker begins the run's next epoch."""
    async with database.transaction() as connection:
        await connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(epoch=runs.c.epoch + 1))
