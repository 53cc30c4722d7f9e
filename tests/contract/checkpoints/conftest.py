"""Savers over both databases."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from graphmesh_chassis.database import Database, open_database
from graphmesh_orchestrator.backend import MIGRATIONS
from graphmesh_orchestrator.checkpoints import GroupCommit, LogSaver, SqlBatchWriter

from tests.contract.batch_writers import ControlledWriter


@pytest.fixture
def url(sql_url: str) -> str:
    return sql_url


@pytest_asyncio.fixture
async def database(url: str) -> AsyncIterator[Database]:
    async with open_database(url, MIGRATIONS) as database:
        yield database


@pytest.fixture
def writer(database: Database) -> ControlledWriter:
    return ControlledWriter(SqlBatchWriter(database))


@pytest_asyncio.fixture
async def commits(writer: ControlledWriter) -> AsyncIterator[GroupCommit]:
    async with GroupCommit(writer, retry_seconds=0.01).running() as commits:
        yield commits


@pytest_asyncio.fixture
async def saver(database: Database, commits: GroupCommit) -> LogSaver:
    return LogSaver(database, commits)


@pytest_asyncio.fixture
async def other_saver(database: Database, commits: GroupCommit) -> LogSaver:
    """A saver with an empty cache, as in a process that has just started."""
    return LogSaver(database, commits)
