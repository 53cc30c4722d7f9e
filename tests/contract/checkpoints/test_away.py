"""The database goes away while a run needs its checkpoints, and comes back (C1)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import DatabaseUnavailable
from graphmesh_orchestrator.checkpoints import GroupCommit, LogSaver
from graphmesh_orchestrator.checkpoints import retry_reads as module
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint

CONFIG: RunnableConfig = {"configurable": {"thread_id": "th_1", "checkpoint_ns": ""}}


@pytest.fixture
def away(database: Database, monkeypatch: pytest.MonkeyPatch) -> list[DatabaseUnavailable]:
    """What the next reads raise."""
    errors = [DatabaseUnavailable(), DatabaseUnavailable()]
    read = database.read

    @asynccontextmanager
    async def reading() -> AsyncIterator[object]:
        if errors:
            raise errors.pop()
        async with read() as connection:
            yield connection

    monkeypatch.setattr(database, "read", reading)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    return errors


async def test_a_checkpoint_is_read_when_the_database_is_back(
    database: Database, commits: GroupCommit, away: list[DatabaseUnavailable]
) -> None:
    """Whoever goes on with a run waits for its newest checkpoint, and for what it needs of it to write the next."""
    checkpoint = empty_checkpoint()
    stored = await LogSaver(database, commits).aput(CONFIG, checkpoint, {"step": 0}, {})
    found = await LogSaver(database, commits).aget_tuple(CONFIG)
    assert found
    assert found.checkpoint["id"] == checkpoint["id"]
    away += [DatabaseUnavailable()]
    await LogSaver(database, commits).aput(stored, empty_checkpoint(), {"step": 1}, {})
    assert away == []
