"""What an execution leaves is stored in order, all of it up to some moment, while its graph goes on (C1, E4)."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
import sqlalchemy as sa
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import Fenced, ShuttingDown
from graphmesh_orchestrator.checkpoints import Claim, Entry, GroupCommit, LogSaver, Place, Trail
from graphmesh_orchestrator.checkpoints import group_commit as commit
from graphmesh_orchestrator.checkpoints.tables import checkpoints
from graphmesh_orchestrator.checkpoints.write_behind import LONGEST, LONGEST_BYTES
from graphmesh_orchestrator.errors import CheckpointConflict
from langchain_core.runnables import RunnableConfig

from tests.contract.checkpoints import kit
from tests.contract.checkpoints.conftest import begun, taken_over


@pytest.fixture(autouse=True)
def never(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody waits for is not stored by itself."""
    monkeypatch.setattr(commit, "PATIENCE_SECONDS", 3600)


@pytest.fixture
async def trail(database: Database, commits: GroupCommit) -> Trail:
    """Of the first epoch of the run `r`."""
    await begun(database, "r")
    return Trail(commits, Claim("r", 1))


def on(trail: Trail) -> RunnableConfig:
    return kit.leaving(kit.claimed(kit.at("t"), "r"), trail)


def place(config: RunnableConfig) -> Place:
    return Place.of(config)


async def ids(saver: LogSaver) -> list[str]:
    """Of what is stored, the newest first."""
    return [found.checkpoint["id"] for found in await kit.listed(saver, None)]


async def rows(database: Database) -> list[str]:
    """The ids of what is stored, whatever it is."""
    return [row.checkpoint_id for row in await database.rows(sa.select(checkpoints.c.checkpoint_id))]


def id_of(config: RunnableConfig) -> str:
    return str(config["configurable"]["checkpoint_id"])


async def test_a_graph_goes_on_while_it_is_stored(saver: LogSaver, trail: Trail) -> None:
    """And whoever waits for it has all that was left by then."""
    async with trail:
        first = await kit.put(saver, on(trail), value=1)
        second = await kit.put(saver, first, value=2)
        await saver.aput_writes(second, [("value", 3)], "task")
        assert await ids(saver) == []
        await trail.settled()
        assert await ids(saver) == [id_of(second), id_of(first)]
        [newest, _] = await kit.listed(saver, None)
        assert newest.pending_writes == [("task", "value", 3)]
        third = await kit.put(saver, second, value=4)
    assert await ids(saver) == [id_of(third), id_of(second), id_of(first)]


async def test_an_effect_waits_for_its_checkpoint(saver: LogSaver, trail: Trail) -> None:
    async with trail:
        first = await kit.put(saver, on(trail), value=1)
        assert await saver.is_stored(place(first), trail)
        assert await ids(saver) == [id_of(first)]
        assert not await saver.is_stored(Place("t", "", "nothing"), trail)


async def test_an_effect_waits_for_a_checkpoint_that_comes_late(
    saver: LogSaver, trail: Trail, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LangGraph hands over the input of a graph with delta channels after the writes that it is rebuilt from: whoever
    waits for those by then has not waited for the checkpoint."""
    made, commit_batch = kit.checkpoint(value=2), GroupCommit._stored

    async def meanwhile(commits: GroupCommit, entries: Sequence[Entry]) -> Any:
        monkeypatch.setattr(GroupCommit, "_stored", commit_batch)
        await saver.aput(before, made, {"step": 1}, {"value": 2})
        return await commit_batch(commits, entries)

    before = await kit.put(saver, kit.at("t"), value=1)
    before = kit.leaving(kit.claimed(before, "r"), trail)
    async with trail:
        await saver.aput_writes(before, [("value", 2)], "input")
        monkeypatch.setattr(GroupCommit, "_stored", meanwhile)
        assert await saver.is_stored(Place("t", "", made["id"]), trail)
        assert made["id"] in await rows(database)


async def test_what_was_left_can_be_read(saver: LogSaver, trail: Trail) -> None:
    """By the graph that left it: a subgraph reads its own checkpoints."""
    async with trail:
        first = await kit.put(saver, on(trail), value=1)
        found = await saver.aget_tuple(on(trail))
        assert found
        assert found.checkpoint["id"] == id_of(first)
        second = await kit.put(saver, first, value=2)
        assert [one.checkpoint["id"] for one in await kit.listed(saver, on(trail))] == [id_of(second), id_of(first)]


async def test_a_whole_graph_runs_ahead(saver: LogSaver, trail: Trail) -> None:
    """Its checkpoints are one chain, as if it had waited for each."""
    async with trail:
        await kit.chain(saver).ainvoke({"log": []}, on(trail), durability="sync")
    found = await kit.listed(saver, kit.at("t"))
    assert [one.parent_config and id_of(one.parent_config) for one in found[:-1]] == [
        id_of(one.config) for one in found[1:]
    ]
    assert found[0].checkpoint["channel_values"]["log"] == list(kit.LETTERS)
    assert len(found) == len(kit.LETTERS) + 2


async def test_of_who_was_taken_over_nothing_is_stored(database: Database, saver: LogSaver, trail: Trail) -> None:
    """An effect that waits for it does not leave, and the task that opened the trail is stopped."""
    effects: list[asyncio.Task[bool]] = []

    async def run() -> None:
        async with trail:
            first = await kit.put(saver, on(trail), value=1)
            await taken_over(database, "r")
            effects.append(asyncio.create_task(saver.is_stored(place(first), trail)))
            await asyncio.Event().wait()

    with pytest.raises(Fenced):
        await run()
    with pytest.raises(Fenced):
        await effects[0]
    assert await ids(saver) == []
    with pytest.raises(Fenced):
        await trail.leave(Entry(Claim("r", 1)))


async def test_nobody_waits_for_a_trail_that_has_ended(trail: Trail) -> None:
    async with trail:
        pass
    with pytest.raises(ShuttingDown):
        await trail.leave(Entry(Claim("r", 1)))
    with pytest.raises(ShuttingDown):
        await trail.settled()


async def test_what_follows_the_refused_is_refused(
    saver: LogSaver, trail: Trail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else has gone on from the same parent: neither what was left by then is stored nor what came since."""
    parent = await kit.put(saver, kit.at("t"), value=0)
    read = await saver.aget_tuple(kit.at("t"))
    assert read
    marked: RunnableConfig = {"configurable": {**parent["configurable"], **read.config["configurable"]}}
    rival = await kit.put(saver, marked, value=1)
    mine = kit.leaving(kit.claimed(marked, "r"), trail)
    commit_batch = GroupCommit._stored

    async def meanwhile(commits: GroupCommit, entries: Sequence[Entry]) -> Any:
        await kit.put(saver, second, value=4)
        return await commit_batch(commits, entries)

    async with trail:
        first = await kit.put(saver, mine, value=2)
        second = await kit.put(saver, first, value=3)
        monkeypatch.setattr(GroupCommit, "_stored", meanwhile)
        with pytest.raises(CheckpointConflict):
            await saver.is_stored(place(second), trail)
        monkeypatch.setattr(GroupCommit, "_stored", commit_batch)
        with pytest.raises(CheckpointConflict):
            await kit.put(saver, second, value=5)
    assert await ids(saver) == [id_of(rival), id_of(parent)]


@pytest.mark.parametrize(
    ("number", "row"),
    [(LONGEST, {"data": b""}), (2, {"data": b"x" * (LONGEST_BYTES // 2)})],
    ids=["many", "big"],
)
async def test_a_graph_is_only_so_far_ahead(
    database: Database, saver: LogSaver, trail: Trail, number: int, row: dict[str, Any]
) -> None:
    """So much memory a database that is slow or away costs; then the graph waits for it."""
    ids = {"thread_id": "t", "ns": "", "parent_id": None, "follows": None, "run_id": "r", "refers": None, "head": b""}
    async with trail:
        for count in range(number - 1):
            await trail.leave(Entry(checkpoints=[{**ids, **row, "checkpoint_id": f"{count:02}", "stamp": count}]))
        assert await rows(database) == []
        await trail.leave(Entry(checkpoints=[{**ids, **row, "checkpoint_id": "last", "stamp": number}]))
        assert len(await rows(database)) == number


async def test_an_entry_is_stored_as_a_whole(commits: GroupCommit, database: Database) -> None:
    """Of two checkpoints in one entry the second may follow nobody: then the first is not stored either."""
    row: dict[str, Any] = {"ns": "", "parent_id": "p", "run_id": None, "head": b"h", "data": b"d", "refers": None}
    rival = {**row, "thread_id": "t", "checkpoint_id": "rival", "follows": "p", "stamp": 1}
    first = {**row, "thread_id": "t", "checkpoint_id": "first", "follows": None, "stamp": 2}
    second = {**row, "thread_id": "t", "checkpoint_id": "second", "follows": "p", "stamp": 3}
    await commits.store(Entry(checkpoints=[rival]))
    with pytest.raises(CheckpointConflict):
        await commits.store(Entry(checkpoints=[first, second]))
    assert await rows(database) == ["rival"]
