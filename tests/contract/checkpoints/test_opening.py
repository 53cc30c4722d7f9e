"""The first checkpoint of a thread that was just made: stored with the next one, or by itself, or neither."""

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import Fenced
from graphmesh_orchestrator.checkpoints import BLANK, Blank, Entry, GroupCommit, LogSaver, Place, commit
from graphmesh_orchestrator.checkpoints.tables import checkpoints
from graphmesh_orchestrator.errors import CheckpointConflict
from langchain_core.runnables import RunnableConfig

from tests.contract.checkpoints import kit
from tests.contract.checkpoints.conftest import begun, taken_over


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is patient waits for ever."""
    monkeypatch.setattr(commit, "PATIENCE_SECONDS", 3600)


def blank(thread_id: str = "t") -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": "", BLANK: Blank()}}


def place(config: RunnableConfig) -> Place:
    return Place.of(config)


async def ids(saver: LogSaver) -> list[str]:
    return [found.checkpoint["id"] for found in await kit.listed(saver, None)]


async def test_it_goes_with_the_next(saver: LogSaver, never: None) -> None:
    first = await kit.put(saver, blank(), value=1)
    assert await ids(saver) == []
    asking = asyncio.create_task(saver.is_stored(place(first)))
    second = await kit.put(saver, first, value=2)
    assert await asking
    assert await ids(saver) == [place(second).checkpoint_id, place(first).checkpoint_id]
    third = await kit.put(saver, second, value=3)
    assert await saver.is_stored(place(third))


async def test_it_is_stored_where_no_other_follows(saver: LogSaver) -> None:
    first = await kit.put(saver, blank(), value=1)
    assert await saver.is_stored(place(first))
    assert await ids(saver) == [place(first).checkpoint_id]
    await kit.put(saver, first, value=2)
    assert len(await ids(saver)) == 2


async def test_both_are_refused(database: Database, saver: LogSaver, never: None) -> None:
    """Of a run that was taken over meanwhile nothing is stored, and who stores the second is told."""
    await begun(database, "r")
    first = await kit.put(saver, kit.claimed(blank(), "r"), value=1)
    await taken_over(database, "r")
    with pytest.raises(Fenced):
        await kit.put(saver, first, value=2)
    assert not await saver.is_stored(place(first))
    assert await ids(saver) == []


async def test_one_is_refused_by_itself(database: Database, saver: LogSaver) -> None:
    """Then the second, which follows it, is refused as well, and an effect between them does not leave."""
    await begun(database, "r", epoch=2)
    first = await kit.put(saver, kit.claimed(blank(), "r", epoch=1), value=1)
    assert not await saver.is_stored(place(first))
    with pytest.raises(Fenced):
        await kit.put(saver, first, value=2)


async def test_an_entry_is_stored_as_a_whole(commits: GroupCommit) -> None:
    """Of two checkpoints in one entry the second may follow nobody: then the first is not stored either."""
    row: dict[str, Any] = {"ns": "", "parent_id": "p", "run_id": None, "head": b"h", "data": b"d", "refers": None}
    rival = {**row, "thread_id": "t", "checkpoint_id": "rival", "follows": "p", "stamp": 1}
    first = {**row, "thread_id": "t", "checkpoint_id": "first", "follows": None, "stamp": 2}
    second = {**row, "thread_id": "t", "checkpoint_id": "second", "follows": "p", "stamp": 3}
    await commits.store(Entry(checkpoints=[rival]))
    with pytest.raises(CheckpointConflict):
        await commits.store(Entry(checkpoints=[first, second]))
    [stored] = await commits._database.rows(sa.select(checkpoints.c.checkpoint_id))
    assert stored.checkpoint_id == "rival"
