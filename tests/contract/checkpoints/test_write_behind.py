"""The write-behind buffer: a graph runs ahead of its checkpoints, which are stored in order and without gaps."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import sqlalchemy as sa
from graphmesh_chassis.database import Database
from graphmesh_chassis.epoch import Epoch
from graphmesh_chassis.errors import Fenced, ShuttingDown
from graphmesh_orchestrator.checkpoints import CheckpointRef, Entry, GroupCommit, LogSaver, RunEpoch, WriteBehind
from graphmesh_orchestrator.checkpoints.rows import CheckpointRow
from graphmesh_orchestrator.checkpoints.tables import checkpoints
from graphmesh_orchestrator.checkpoints.write_behind import MAX_BYTES, MAX_ENTRIES
from graphmesh_orchestrator.errors import CheckpointConflict
from langchain_core.runnables import RunnableConfig

from tests.contract.batch_writers import ControlledWriter
from tests.contract.checkpoints import kit

EPOCH = RunEpoch("r", Epoch(1))


@pytest_asyncio.fixture
async def commits(writer: ControlledWriter) -> AsyncIterator[GroupCommit]:
    """A group commit that stores no entry that is not awaited."""
    async with GroupCommit(writer, defer_seconds=3600, retry_seconds=0.01).running() as commits:
        yield commits


@pytest_asyncio.fixture
async def buffer(database: Database, commits: GroupCommit) -> WriteBehind:
    """The buffer of the first epoch of the run `r`."""
    await kit.add_run(database, "r")
    return WriteBehind(commits, EPOCH)


def buffered(buffer: WriteBehind, config: RunnableConfig | None = None) -> RunnableConfig:
    return kit.with_write_behind(kit.with_epoch(config or kit.at("t"), "r"), buffer)


async def ids(saver: LogSaver) -> list[str]:
    """Return the ids of stored checkpoints, the newest first."""
    return [found.checkpoint["id"] for found in await kit.list_all(saver, None)]


async def row_ids(database: Database) -> list[str]:
    return [row.checkpoint_id for row in await database.rows(sa.select(checkpoints.c.checkpoint_id))]


def id_of(config: RunnableConfig) -> str:
    return str(config["configurable"]["checkpoint_id"])


def a_row(checkpoint_id: str, stamp: int = 1, follows: str | None = None, data: bytes = b"d") -> CheckpointRow:
    return {
        "thread_id": "t",
        "ns": "",
        "checkpoint_id": checkpoint_id,
        "parent_id": "p",
        "follows": follows,
        "run_id": None,
        "stamp": stamp,
        "head": b"h",
        "data": data,
        "refers": None,
    }


async def test_a_graph_continues_before_its_checkpoints_are_stored(saver: LogSaver, buffer: WriteBehind) -> None:
    """A flush, or the end of the buffer, stores all that is buffered by then."""
    async with buffer:
        first = await kit.put(saver, buffered(buffer), value=1)
        second = await kit.put(saver, first, value=2)
        await saver.aput_writes(second, [("value", 3)], "task")
        assert await ids(saver) == []
        await buffer.flush()
        assert await ids(saver) == [id_of(second), id_of(first)]
        [newest, _] = await kit.list_all(saver, None)
        assert newest.pending_writes == [("task", "value", 3)]
        third = await kit.put(saver, second, value=4)
    assert await ids(saver) == [id_of(third), id_of(second), id_of(first)]


async def test_is_stored_flushes(saver: LogSaver, buffer: WriteBehind) -> None:
    """An effect waits for the checkpoint that its node runs from."""
    async with buffer:
        first = await kit.put(saver, buffered(buffer), value=1)
        assert await saver.is_stored(CheckpointRef.of(first), buffer)
        assert await ids(saver) == [id_of(first)]
        assert not await saver.is_stored(CheckpointRef("t", "", "nothing"), buffer)


async def test_is_stored_waits_for_a_checkpoint_that_is_added_during_the_flush(
    saver: LogSaver, buffer: WriteBehind, writer: ControlledWriter, database: Database
) -> None:
    """LangGraph puts the input's checkpoint of a graph with delta channels after the writes that it is rebuilt from:
    a flush that begins with those writes does not include the checkpoint."""
    new = kit.checkpoint(value=2)
    before = buffered(buffer, await kit.put(saver, kit.at("t"), value=1))

    async def add_checkpoint() -> None:
        await saver.aput(before, new, {"step": 1}, {"value": 2})

    async with buffer:
        await saver.aput_writes(before, [("value", 2)], "input")
        writer.before_next(add_checkpoint)
        assert await saver.is_stored(CheckpointRef("t", "", new["id"]), buffer)
        assert new["id"] in await row_ids(database)


async def test_a_graph_reads_its_buffered_checkpoints(saver: LogSaver, buffer: WriteBehind) -> None:
    """As a subgraph does."""
    async with buffer:
        first = await kit.put(saver, buffered(buffer), value=1)
        found = await saver.aget_tuple(buffered(buffer))
        assert found
        assert found.checkpoint["id"] == id_of(first)
        second = await kit.put(saver, first, value=2)
        assert [one.checkpoint["id"] for one in await kit.list_all(saver, buffered(buffer))] == [
            id_of(second),
            id_of(first),
        ]


async def test_checkpoints_of_a_whole_graph_are_one_chain(saver: LogSaver, buffer: WriteBehind) -> None:
    async with buffer:
        await kit.chain(saver).ainvoke({"log": []}, buffered(buffer), durability="sync")
    found = await kit.list_all(saver, kit.at("t"))
    assert [one.parent_config and id_of(one.parent_config) for one in found[:-1]] == [
        id_of(one.config) for one in found[1:]
    ]
    assert found[0].checkpoint["channel_values"]["log"] == list(kit.LETTERS)
    assert len(found) == len(kit.LETTERS) + 2


async def test_a_fenced_buffer_stores_nothing(database: Database, saver: LogSaver, buffer: WriteBehind) -> None:
    """An effect that waits for it gets the error, and the task that opened the buffer is cancelled."""
    effects: list[asyncio.Task[bool]] = []

    async def run() -> None:
        async with buffer:
            first = await kit.put(saver, buffered(buffer), value=1)
            await kit.take_over(database, "r")
            effects.append(asyncio.create_task(saver.is_stored(CheckpointRef.of(first), buffer)))
            await asyncio.Event().wait()

    with pytest.raises(Fenced):
        await run()
    with pytest.raises(Fenced):
        await effects[0]
    assert await ids(saver) == []
    with pytest.raises(Fenced):
        await buffer.add(Entry(EPOCH))


async def test_a_closed_buffer_refuses_entries(buffer: WriteBehind) -> None:
    async with buffer:
        pass
    with pytest.raises(ShuttingDown):
        await buffer.add(Entry(EPOCH))
    with pytest.raises(ShuttingDown):
        await buffer.flush()


async def test_entries_after_a_refused_one_are_refused(
    saver: LogSaver, buffer: WriteBehind, writer: ControlledWriter
) -> None:
    """Another checkpoint follows the same parent: entries that are buffered by then are not stored, nor later ones."""
    parent = await kit.put(saver, kit.at("t"), value=0)
    read = await saver.aget_tuple(kit.at("t"))
    assert read
    newest: RunnableConfig = {"configurable": {**parent["configurable"], **read.config["configurable"]}}
    rival = await kit.put(saver, newest, value=1)

    async def add_checkpoint() -> None:
        await kit.put(saver, second, value=4)

    async with buffer:
        first = await kit.put(saver, buffered(buffer, newest), value=2)
        second = await kit.put(saver, first, value=3)
        writer.before_next(add_checkpoint)
        with pytest.raises(CheckpointConflict):
            await saver.is_stored(CheckpointRef.of(second), buffer)
        with pytest.raises(CheckpointConflict):
            await kit.put(saver, second, value=5)
    assert await ids(saver) == [id_of(rival), id_of(parent)]


@pytest.mark.parametrize(
    ("number", "data"), [(MAX_ENTRIES, b""), (2, b"x" * (MAX_BYTES // 2))], ids=["entries", "bytes"]
)
async def test_a_full_buffer_waits_for_the_database(
    database: Database, buffer: WriteBehind, number: int, data: bytes
) -> None:
    """It bounds the memory that a slow or unavailable database costs."""
    async with buffer:
        for count in range(number - 1):
            await buffer.add(Entry(checkpoints=[a_row(f"{count:02}", count, data=data)]))
        assert await row_ids(database) == []
        await buffer.add(Entry(checkpoints=[a_row("last", number, data=data)]))
        assert len(await row_ids(database)) == number


async def test_an_entry_is_stored_as_a_whole(commits: GroupCommit, database: Database) -> None:
    """Where the second of its checkpoints conflicts, the first is not stored either."""
    await commits.store(Entry(checkpoints=[a_row("rival", 1, follows="p")]))
    with pytest.raises(CheckpointConflict):
        await commits.store(Entry(checkpoints=[a_row("first", 2), a_row("second", 3, follows="p")]))
    assert await row_ids(database) == ["rival"]
