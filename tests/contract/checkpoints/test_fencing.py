"""Invariant 4: what a run's stale owner writes is refused, told, and nowhere to be read."""

import asyncio

import pytest
import sqlalchemy as sa
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import Fenced
from graphmesh_orchestrator.checkpoints import Claim, Entry, GroupCommit, LogSaver
from graphmesh_orchestrator.checkpoints.tables import checkpoints, task_writes
from graphmesh_orchestrator.db.tables import events, runs
from graphmesh_orchestrator.runs.run import EventKind
from graphmesh_orchestrator.runs.runs_sql import SqlRuns

from tests.contract.checkpoints import kit
from tests.contract.checkpoints.conftest import NOW, begun, taken_over

T = kit.at("t")
MINE = kit.claimed(T, "r")


def event(run_id: str, seq: int) -> dict[str, object]:
    return {"run_id": run_id, "seq": seq, "time": NOW, "kind": EventKind.CUSTOM, "node": "", "data": {}}


async def count(database: Database) -> tuple[int, ...]:
    """Rows of checkpoints, of task writes, of events."""
    async with database.read() as connection:
        tables = (checkpoints, task_writes, events)
        return tuple(
            [(await connection.execute(sa.select(sa.func.count()).select_from(t))).scalar_one() for t in tables]
        )


async def test_the_owner_writes(saver: LogSaver, database: Database) -> None:
    await begun(database, "r")
    stored = await kit.put(saver, MINE, value=1)
    await saver.aput_writes(stored, [("value", 2)], "task")
    found = await saver.aget_tuple(T)
    assert found is not None
    assert found.pending_writes == [("task", "value", 2)]


@pytest.mark.parametrize("epoch", [0, 1, 3], ids=["older", "stale", "not yet"])
async def test_any_other_epoch_is_refused(saver: LogSaver, database: Database, epoch: int) -> None:
    """A checkpoint and a task's writes; and nothing of them is stored, in no table."""
    await begun(database, "r", epoch=2)
    stored = await kit.put(saver, kit.claimed(T, "r", 2), value=1)
    before = await count(database)
    with pytest.raises(Fenced) as refused:
        await kit.put(saver, kit.claimed(stored, "r", epoch), value=2)
    assert refused.value.data == {"run": "r", "epoch": str(epoch)}
    with pytest.raises(Fenced):
        await saver.aput_writes(kit.claimed(stored, "r", epoch), [("value", 2)], "task")
    assert await count(database) == before
    [found] = await kit.listed(saver, T)
    assert (found.checkpoint["channel_values"], found.pending_writes) == ({"value": 1}, [])


async def test_a_run_that_is_not_there_is_refused(saver: LogSaver, database: Database) -> None:
    with pytest.raises(Fenced):
        await kit.put(saver, MINE, value=1)
    assert await count(database) == (0, 0, 0)


async def test_a_graph_of_a_stale_owner_stops(saver: LogSaver, database: Database) -> None:
    """It is told at its next superstep, and the thread is the new owner's, who ends it."""
    await begun(database, "r")
    graph = kit.chain(saver)
    seen: list[str] = []

    async def execute() -> None:
        async for part in graph.astream({"log": []}, MINE, durability="sync", stream_mode="updates"):
            seen.append(*part)
            if part.keys() == {"b"}:
                await taken_over(database, "r")

    with pytest.raises(Fenced):
        await execute()
    assert seen == ["a", "b"]
    ended = await graph.ainvoke(None, kit.claimed(T, "r", 2), durability="sync")
    assert ended["log"] == list(kit.LETTERS)


async def test_others_in_the_batch_are_stored(saver: LogSaver, database: Database) -> None:
    """Of ten writers that share a transaction, the stale ones are refused and nobody else."""
    for number in range(10):
        await begun(database, f"r{number}")
    for number in (3, 7):
        await taken_over(database, f"r{number}")
    writing = [kit.put(saver, kit.claimed(kit.at(f"t{number}"), f"r{number}"), value=number) for number in range(10)]
    outcomes = await asyncio.gather(*writing, return_exceptions=True)
    assert [number for number, outcome in enumerate(outcomes) if isinstance(outcome, Fenced)] == [3, 7]
    assert await count(database) == (8, 0, 0)


async def test_the_epoch_holds_until_the_commit(commits: GroupCommit, database: Database) -> None:
    """A takeover that comes during the owner's transaction is after it; one that came first is seen by it."""
    await begun(database, "r")
    stored: list[int] = []

    async def write() -> None:
        for seq in range(1, 500):
            await commits.store(Entry(claim=Claim("r", 1), events=[event("r", seq)], run={"last_seq": seq}))
            stored.append(seq)

    writing = asyncio.create_task(write())
    while len(stored) < 20:
        await asyncio.sleep(0.001)
    await taken_over(database, "r")
    events_then = (await count(database))[2]
    with pytest.raises(Fenced):
        await writing
    assert (await count(database))[2] == events_then
    assert len(stored) in (events_then, events_then - 1)


async def test_events_and_the_run_are_stored_with_the_checkpoint(commits: GroupCommit, database: Database) -> None:
    """What an execution's journal has to say shares the transaction, or the refusal, of its checkpoint."""
    await begun(database, "r")
    await begun(database, "s")
    await taken_over(database, "s")
    entries = [Entry(Claim(run, 1), events=[event(run, seq) for seq in (1, 2)], run={"last_seq": 2}) for run in "rs"]
    outcomes = await asyncio.gather(*map(commits.store, entries), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), Fenced]
    assert [found.seq for found in await SqlRuns(database).events("r", 0, 10)] == [1, 2]
    assert await SqlRuns(database).events("s", 0, 10) == []
    async with database.read() as connection:
        last = await connection.execute(sa.select(runs.c.run_id, runs.c.last_seq).order_by(runs.c.run_id))
        assert [tuple(row) for row in last] == [("r", 2), ("s", 0)]
