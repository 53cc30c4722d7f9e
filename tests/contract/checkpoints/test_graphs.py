"""Graphs on the log saver behave as on LangGraph's own saver in memory: history, forks, interrupts, delta channels."""

from typing import Annotated, Any

import pytest
from graphmesh_chassis.database import Database
from graphmesh_orchestrator.checkpoints import HEAD, GroupCommit, LogSaver
from graphmesh_orchestrator.errors import CheckpointConflict
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, StateSnapshot
from sqlalchemy import event
from typing_extensions import TypedDict

from tests.contract.checkpoints import kit

T = kit.at("t")
DOCUMENT = "é" * 5000


@pytest.fixture
def fresh(database: Database, commits: GroupCommit) -> LogSaver:
    """A saver that remembers nothing, as in a process that has just started."""
    return LogSaver(database, commits)


async def history(graph: kit.Graph, thread: str = "t") -> list[StateSnapshot]:
    return [snapshot async for snapshot in graph.aget_state_history(kit.at(thread))]


def told(snapshot: StateSnapshot) -> Any:
    """What a snapshot says, without ids and times."""
    tasks = [(task.name, task.result, task.error, [i.value for i in task.interrupts]) for task in snapshot.tasks]
    return snapshot.values, snapshot.next, tasks, (snapshot.metadata or {}).get("step"), snapshot.parent_config is None


async def test_history_is_that_of_the_saver_in_memory(saver: LogSaver, fresh: LogSaver) -> None:
    """Values, tasks with their results, interrupts and parents of a graph that was interrupted, resumed, updated."""
    told_by: list[Any] = []
    reading: dict[BaseCheckpointSaver[Any], BaseCheckpointSaver[Any]] = {saver: fresh}
    for each in (saver, InMemorySaver()):
        graph = kit.asking(each)
        await graph.ainvoke({"document": DOCUMENT, "log": []}, T, durability="sync")
        await graph.ainvoke(Command(resume="yes"), T, durability="sync")
        await graph.aupdate_state(T, {"log": ["update"]})
        told_by.append([told(snapshot) for snapshot in await history(kit.asking(reading.get(each, each)))])
    assert told_by[0] == told_by[1]
    assert told_by[0][0][0] == {"document": DOCUMENT, "answer": "yes", "log": ["other", "ask", "end", "update"]}


async def test_a_saver_that_has_just_started_goes_on(saver: LogSaver, fresh: LogSaver) -> None:
    """An interrupted subgraph is resumed from what is stored."""
    await kit.asking(saver).ainvoke({"log": []}, T, durability="sync")
    graph = kit.asking(fresh)
    ended = await graph.ainvoke(Command(resume="no"), T, durability="sync")
    assert ended == {"answer": "no", "log": ["other", "ask", "end"]}


async def test_what_does_not_change_is_stored_once(saver: LogSaver, database: Database) -> None:
    """The document is in the input, in the write of the input's task and in one superstep's row: not in each."""
    await kit.chain(saver).ainvoke({"document": DOCUMENT, "log": []}, T, durability="sync")
    async with database.read() as connection:
        rows = (await connection.exec_driver_sql("SELECT data FROM checkpoints ORDER BY stamp")).scalars()
        holding = [DOCUMENT.encode() in bytes(data) for data in rows]
    assert holding == [True, True, False, False, False, False, False]


async def test_forks_from_what_is_old_are_legal(saver: LogSaver) -> None:
    """The same old checkpoint is forked twice; each fork goes on by itself, and the newest of them is the thread's."""
    graph = kit.chain(saver)
    await graph.ainvoke({"log": []}, T, durability="sync")
    old = next(snapshot for snapshot in await history(graph) if snapshot.next == ("c",))
    for name in ("one", "two"):
        fork = await graph.aupdate_state(old.config, {"log": [name]})
        ended = await graph.ainvoke(None, fork, durability="sync")
        assert ended["log"] == ["a", "b", name, "c", "d", "e"]
        assert (await graph.aget_state(T)).values == ended


async def test_of_two_updates_of_the_same_state_one_is_stored(saver: LogSaver, fresh: LogSaver) -> None:
    """Two processes that read the same newest checkpoint never both succeed, and the loser is told."""
    graph, other = kit.chain(saver), kit.chain(fresh)
    await graph.ainvoke({"log": []}, T, durability="sync")
    read = await saver.aget_tuple(T)
    assert read is not None
    await other.aupdate_state(T, {"log": ["first"]})
    with pytest.raises(CheckpointConflict, match="follows"):
        await kit.put(saver, read.config, log=["second"])
    assert (await graph.aget_state(T)).values["log"] == [*kit.LETTERS, "first"]
    snapshot = await graph.aget_state(T)
    await graph.aupdate_state(T, {"log": ["third"]})
    await graph.aupdate_state(snapshot.config, {"log": ["fork"]})
    assert (await graph.aget_state(T)).values["log"][-2:] == ["first", "fork"]


async def test_the_first_of_a_thread_can_be_asked_for(saver: LogSaver) -> None:
    """Who says that there is no checkpoint yet is refused where there is one."""
    first = kit.at("t", **{HEAD: ""})
    await kit.put(saver, first, value=1)
    with pytest.raises(CheckpointConflict):
        await kit.put(saver, first, value=2)
    assert len(await kit.listed(saver, T)) == 1


async def test_a_repeat_of_a_write_is_the_write(saver: LogSaver) -> None:
    """Who did not hear of the commit stores the same checkpoint again: once, and no conflict."""
    made = kit.checkpoint(value=1)
    for _ in range(2):
        await saver.aput(kit.at("t", **{HEAD: ""}), made, {"step": 0}, {"value": 1})
    assert len(await kit.listed(saver, T)) == 1


async def test_a_later_checkpoint_is_newer_whatever_the_clocks_say(
    saver: LogSaver, fresh: LogSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process whose clock is behind takes over: what it stores is the newest, so the next goes on from there."""
    first = await kit.put(saver, T, value=1)
    monkeypatch.setattr("time.time_ns", lambda: 1)
    second = await kit.put(fresh, first, value=2)
    found = await saver.aget_tuple(T)
    assert found is not None
    assert found.checkpoint["id"] == second["configurable"]["checkpoint_id"]


async def test_delta_channels_are_rebuilt(saver: LogSaver, fresh: LogSaver) -> None:
    """From their snapshots and the writes since, after many turns."""
    graph = kit.chain(saver, kit.Delta)
    for turn in range(4):
        await graph.ainvoke({"log": [f"{turn}"]}, T, durability="sync")
    expected = [name for turn in range(4) for name in (f"{turn}", *kit.LETTERS)]
    assert (await kit.chain(fresh, kit.Delta).aget_state(T)).values["log"] == expected


async def test_delta_channels_are_rebuilt_by_a_few_statements(saver: LogSaver, fresh: LogSaver) -> None:
    """However many writes there are since the last snapshot: not by some for each ancestor."""

    class Long(TypedDict):
        log: Annotated[list[str], DeltaChannel(lambda value, writes: sum(writes, value or []), snapshot_frequency=999)]

    graph = kit.chain(saver, Long, kit.TWO)
    for turn in range(20):
        await graph.ainvoke({"log": [f"{turn}"]}, T, durability="sync")
    statements: list[str] = []
    engine: Any = fresh._database._engine.sync_engine
    event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    assert len((await kit.chain(fresh, Long, kit.TWO).aget_state(T)).values["log"]) == 60
    assert len([statement for statement in statements if statement.startswith("SELECT")]) < 10


@pytest.mark.parametrize("updates", range(8))
async def test_pruning_keeps_what_delta_channels_are_rebuilt_from(
    saver: LogSaver, fresh: LogSaver, updates: int
) -> None:
    """However many updates there are since the last snapshot."""
    graph = kit.chain(saver, kit.Delta)
    await graph.ainvoke({"log": ["begin"]}, T, durability="sync")
    for number in range(updates):
        await graph.aupdate_state(T, {"log": [f"{number}"]})
    before = (await graph.aget_state(T)).values
    stored = len(await history(graph))
    await saver.aprune(["t"])
    assert len(await history(graph)) < stored
    assert (await kit.chain(fresh, kit.Delta).aget_state(T)).values == before


async def test_a_pruned_thread_goes_on(saver: LogSaver, fresh: LogSaver) -> None:
    """Its values that older supersteps have made are there, also for a process that knew the thread before."""
    graph = kit.chain(saver)
    await graph.ainvoke({"document": DOCUMENT, "log": ["1"]}, T, durability="sync")
    await fresh.aprune(["t"])
    assert len(await history(graph)) == 1
    await graph.ainvoke({"log": ["2"]}, T, durability="sync")
    assert (await kit.chain(fresh).aget_state(T)).values == {
        "document": DOCUMENT,
        "log": ["1", *kit.LETTERS, "2", *kit.LETTERS],
    }


async def test_a_pruned_thread_keeps_nothing_that_nobody_reads(saver: LogSaver, database: Database) -> None:
    """Of a row that is kept for one value, the others go."""
    await kit.put(saver, await kit.put(saver, T, document=DOCUMENT, other="x" * 5000), document=DOCUMENT)
    stored = await kit.put(saver, T, document=DOCUMENT, other="x" * 5000)
    made = {**kit.checkpoint(document=DOCUMENT, other="y"), "channel_versions": {"document": 1, "other": 2}}
    await saver.aput(stored, made, {"step": 1}, {"other": 2})  # type: ignore[arg-type]
    await saver.aprune(["t"])
    [found] = await kit.listed(saver, T)
    assert found.checkpoint["channel_values"] == {"document": DOCUMENT, "other": "y"}
    async with database.read() as connection:
        rows = (await connection.exec_driver_sql("SELECT data FROM checkpoints")).scalars().all()
    assert sum(b"x" * 5000 in bytes(data) for data in rows) == 0
    assert len(rows) == 2


async def test_deleting_a_run_leaves_the_values_of_later_runs(saver: LogSaver, fresh: LogSaver) -> None:
    graph = kit.chain(saver)
    await graph.ainvoke({"document": DOCUMENT, "log": ["1"]}, {**T, "metadata": {"run_id": "r1"}}, durability="sync")
    await graph.ainvoke({"log": ["2"]}, {**T, "metadata": {"run_id": "r2"}}, durability="sync")
    before = (await graph.aget_state(T)).values
    await saver.adelete_for_runs(["r1"])
    assert all((snapshot.metadata or {})["run_id"] == "r2" for snapshot in await history(graph))
    assert (await kit.chain(fresh).aget_state(T)).values == before


async def test_a_copy_goes_on_by_itself(saver: LogSaver) -> None:
    graph = kit.asking(saver)
    await graph.ainvoke({"document": DOCUMENT, "log": []}, T, durability="sync")
    await saver.acopy_thread("t", "copy")
    await saver.adelete_thread("t")
    ended = await graph.ainvoke(Command(resume="yes"), kit.at("copy"), durability="sync")
    assert ended == {"document": DOCUMENT, "answer": "yes", "log": ["other", "ask", "end"]}
    assert await history(graph) == []


async def test_long_histories_are_listed_whole(saver: LogSaver) -> None:
    """More than a page, in order, with filter and limit."""
    config, ids = T, []
    for step in range(150):
        made = kit.checkpoint(value=step)
        config = await saver.aput(config, made, {"step": step, "source": "loop" if step % 2 else "input"}, {"value": 1})
        ids.append(made["id"])
    assert [found.checkpoint["id"] for found in await kit.listed(saver, None)] == ids[::-1]
    odd = [found async for found in saver.alist(T, filter={"source": "loop"}, limit=70)]
    assert [found.metadata["step"] for found in odd] == list(range(149, 10, -2))
    assert [found async for found in saver.alist(T, limit=0)] == []
