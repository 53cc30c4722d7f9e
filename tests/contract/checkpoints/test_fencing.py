"""Fencing: writes under a past epoch of a run are refused, and nothing of them is stored."""

import asyncio

import pytest
import sqlalchemy as sa
from graphmesh_chassis.database import Database
from graphmesh_chassis.epoch import Epoch
from graphmesh_chassis.errors import Fenced
from graphmesh_orchestrator.checkpoints import Entry, GroupCommit, LogSaver, RunEpoch
from graphmesh_orchestrator.checkpoints.tables import checkpoints, task_writes
from graphmesh_orchestrator.db.rows import EventRow
from graphmesh_orchestrator.db.tables import events, runs
from graphmesh_orchestrator.runs.runs_sql import SqlRuns

from tests.contract.checkpoints import kit
from tests.contract.stored_events import custom, events_in, rows_of

T = kit.at("t")
FIRST_EPOCH = kit.with_epoch(T, "r")


def event(run_id: str, seq: int) -> EventRow:
    [row] = rows_of(run_id, seq, kit.NOW, custom({}))
    return row


async def count(database: Database) -> tuple[int, ...]:
    """Return the numbers of checkpoints, task writes and events."""
    async with database.read() as connection:
        tables = (checkpoints, task_writes, events)
        return tuple(
            [(await connection.execute(sa.select(sa.func.count()).select_from(t))).scalar_one() for t in tables]
        )


async def test_the_current_epoch_writes(saver: LogSaver, database: Database) -> None:
    await kit.add_run(database, "r")
    stored = await kit.put(saver, FIRST_EPOCH, value=1)
    await saver.aput_writes(stored, [("value", 2)], "task")
    found = await saver.aget_tuple(T)
    assert found is not None
    assert found.pending_writes == [("task", "value", 2)]


@pytest.mark.parametrize("epoch", [0, 1, 3], ids=["older", "stale", "not yet"])
async def test_other_epochs_are_refused(saver: LogSaver, database: Database, epoch: int) -> None:
    """Both a checkpoint and a task's writes."""
    await kit.add_run(database, "r", epoch=2)
    stored = await kit.put(saver, kit.with_epoch(T, "r", 2), value=1)
    before = await count(database)
    with pytest.raises(Fenced) as refused:
        await kit.put(saver, kit.with_epoch(stored, "r", epoch), value=2)
    assert refused.value.data == {"run": "r", "epoch": str(epoch)}
    with pytest.raises(Fenced):
        await saver.aput_writes(kit.with_epoch(stored, "r", epoch), [("value", 2)], "task")
    assert await count(database) == before
    [found] = await kit.list_all(saver, T)
    assert (found.checkpoint["channel_values"], found.pending_writes) == ({"value": 1}, [])


async def test_an_unknown_run_is_refused(saver: LogSaver, database: Database) -> None:
    with pytest.raises(Fenced):
        await kit.put(saver, FIRST_EPOCH, value=1)
    assert await count(database) == (0, 0, 0)


async def test_a_graph_stops_when_its_run_is_taken_over(saver: LogSaver, database: Database) -> None:
    """At its next superstep; the new epoch resumes the thread and ends it."""
    await kit.add_run(database, "r")
    graph = kit.chain(saver)
    seen: list[str] = []

    async def execute() -> None:
        async for part in graph.astream({"log": []}, FIRST_EPOCH, durability="sync", stream_mode="updates"):
            seen.append(*part)
            if part.keys() == {"b"}:
                await kit.take_over(database, "r")

    with pytest.raises(Fenced):
        await execute()
    assert seen == ["a", "b"]
    ended = await graph.ainvoke(None, kit.with_epoch(T, "r", 2), durability="sync")
    assert ended["log"] == list(kit.LETTERS)


async def test_a_fenced_entry_does_not_affect_its_batch(saver: LogSaver, database: Database) -> None:
    """Ten writers share a transaction; only those of past epochs are refused."""
    for number in range(10):
        await kit.add_run(database, f"r{number}")
    for number in (3, 7):
        await kit.take_over(database, f"r{number}")
    writing = [kit.put(saver, kit.with_epoch(kit.at(f"t{number}"), f"r{number}"), value=number) for number in range(10)]
    outcomes = await asyncio.gather(*writing, return_exceptions=True)
    assert [number for number, outcome in enumerate(outcomes) if isinstance(outcome, Fenced)] == [3, 7]
    assert await count(database) == (8, 0, 0)


async def test_the_epoch_holds_until_the_commit(commits: GroupCommit, database: Database) -> None:
    """A takeover during a transaction waits for its end; the next transaction is refused."""
    await kit.add_run(database, "r")
    stored: list[int] = []

    async def write() -> None:
        for seq in range(1, 500):
            await commits.store(Entry(RunEpoch("r", Epoch(1)), events=[event("r", seq)], run={"last_seq": seq}))
            stored.append(seq)

    writing = asyncio.create_task(write())
    while len(stored) < 20:
        await asyncio.sleep(0.001)
    await kit.take_over(database, "r")
    events_then = (await count(database))[2]
    with pytest.raises(Fenced):
        await writing
    assert (await count(database))[2] == events_then
    assert len(stored) in (events_then, events_then - 1)


async def test_events_and_the_run_are_fenced(commits: GroupCommit, database: Database) -> None:
    """As checkpoints are."""
    await kit.add_run(database, "r")
    await kit.add_run(database, "s")
    await kit.take_over(database, "s")
    entries = [
        Entry(RunEpoch(run, Epoch(1)), events=[event(run, seq) for seq in (1, 2)], run={"last_seq": 2}) for run in "rs"
    ]
    outcomes = await asyncio.gather(*map(commits.store, entries), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), Fenced]
    assert [found.seq for found in events_in(await SqlRuns(database).events("r", 0, 10))] == [1, 2]
    assert (await SqlRuns(database).events("s", 0, 10)).batches == []
    async with database.read() as connection:
        last = await connection.execute(sa.select(runs.c.run_id, runs.c.last_seq).order_by(runs.c.run_id))
        assert [tuple(row) for row in last] == [("r", 2), ("s", 0)]
