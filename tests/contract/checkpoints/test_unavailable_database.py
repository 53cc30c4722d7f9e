"""Reads of checkpoints wait while the database is unavailable."""

import pytest
from graphmesh_chassis.database import Database
from graphmesh_orchestrator.checkpoints import GroupCommit, LogSaver
from langgraph.checkpoint.base import empty_checkpoint

from tests.contract.checkpoints import kit
from tests.contract.databases import ControlledDatabase

CONFIG = kit.at("th_1")


@pytest.fixture
def unavailable(database: Database) -> ControlledDatabase:
    return ControlledDatabase(database)


def starting(unavailable: ControlledDatabase, commits: GroupCommit) -> LogSaver:
    """Return a saver with an empty cache, as in a process that has just started."""
    return LogSaver(unavailable.as_database, commits, retry_seconds=0.01)


async def test_checkpoints_are_read_when_the_database_is_available_again(
    commits: GroupCommit, unavailable: ControlledDatabase
) -> None:
    """A worker that resumes a run waits for its newest checkpoint, and for the head that the next one needs."""
    checkpoint = empty_checkpoint()
    stored = await starting(unavailable, commits).aput(CONFIG, checkpoint, {"step": 0}, {})
    unavailable.failing_reads = 2
    found = await starting(unavailable, commits).aget_tuple(CONFIG)
    assert found
    assert found.checkpoint["id"] == checkpoint["id"]
    unavailable.failing_reads = 1
    await starting(unavailable, commits).aput(stored, empty_checkpoint(), {"step": 1}, {})
    assert unavailable.failing_reads == 0
