"""Graphs behave on the log saver as on LangGraph's own: history, forks, interrupts, delta channels, pruning."""

from typing import Annotated, Any

import pytest
from graphmesh_chassis.database import Database
from graphmesh_orchestrator.checkpoints import NEWEST, LogSaver
from graphmesh_orchestrator.errors import CheckpointConflict
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, StateSnapshot
from typing_extensions import TypedDict

from tests.contract.checkpoints import kit
from tests.contract.databases import engine_events

T = kit.at("t")
DOCUMENT = "é" * 5000


async def history(graph: kit.Graph, thread: str = "t") -> list[StateSnapshot]:
    return [snapshot async for snapshot in graph.aget_state_history(kit.at(thread))]


def comparable(snapshot: StateSnapshot) -> Any:
    """Return the content of a snapshot, without ids and times."""
    tasks = [(task.name, task.result, task.error, [i.value for i in task.interrupts]) for task in snapshot.tasks]
    return snapshot.values, snapshot.next, tasks, (snapshot.metadata or {}).get("step"), snapshot.parent_config is None


async def test_history_equals_that_of_langgraphs_saver(saver: LogSaver, other_saver: LogSaver) -> None:
    """Values, tasks with their results, interrupts and parents of a graph that was interrupted, resumed, updated."""
    histories: list[Any] = []
    readers: dict[BaseCheckpointSaver[Any], BaseCheckpointSaver[Any]] = {saver: other_saver}
    for each in (saver, InMemorySaver()):
        graph = kit.interrupting(each)
        await graph.ainvoke({"document": DOCUMENT, "log": []}, T, durability="sync")
        await graph.ainvoke(Command(resume="yes"), T, durability="sync")
        await graph.aupdate_state(T, {"log": ["update"]})
        histories.append(
            [comparable(snapshot) for snapshot in await history(kit.interrupting(readers.get(each, each)))]
        )
    assert histories[0] == histories[1]
    assert histories[0][0][0] == {"document": DOCUMENT, "answer": "yes", "log": ["other", "ask", "end", "update"]}


async def test_an_interrupted_subgraph_is_resumed_by_another_process(saver: LogSaver, other_saver: LogSaver) -> None:
    await kit.interrupting(saver).ainvoke({"log": []}, T, durability="sync")
    graph = kit.interrupting(other_saver)
    ended = await graph.ainvoke(Command(resume="no"), T, durability="sync")
    assert ended == {"answer": "no", "log": ["other", "ask", "end"]}


async def test_an_unchanged_value_is_stored_once(saver: LogSaver, database: Database) -> None:
    """The document is in the row of the input and in that of the superstep that writes it, not in later ones."""
    await kit.chain(saver).ainvoke({"document": DOCUMENT, "log": []}, T, durability="sync")
    async with database.read() as connection:
        rows = (await connection.exec_driver_sql("SELECT data FROM checkpoints ORDER BY stamp")).scalars()
        holding = [DOCUMENT.encode() in bytes(data) for data in rows]
    assert holding == [True, True, False, False, False, False, False]


async def test_an_older_checkpoint_can_be_forked_twice(saver: LogSaver) -> None:
    """The forks are independent, and the newest of them is the thread's."""
    graph = kit.chain(saver)
    await graph.ainvoke({"log": []}, T, durability="sync")
    old = next(snapshot for snapshot in await history(graph) if snapshot.next == ("c",))
    for name in ("one", "two"):
        fork = await graph.aupdate_state(old.config, {"log": [name]})
        ended = await graph.ainvoke(None, fork, durability="sync")
        assert ended["log"] == ["a", "b", name, "c", "d", "e"]
        assert (await graph.aget_state(T)).values == ended


async def test_of_two_updates_of_the_same_state_one_is_stored(saver: LogSaver, other_saver: LogSaver) -> None:
    """Where two processes have read the same newest checkpoint, the second gets a conflict."""
    graph, other = kit.chain(saver), kit.chain(other_saver)
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


async def test_a_writer_can_require_to_be_the_first(saver: LogSaver) -> None:
    """It is refused where the thread has a checkpoint."""
    first = kit.at("t", **{NEWEST: ""})
    await kit.put(saver, first, value=1)
    with pytest.raises(CheckpointConflict):
        await kit.put(saver, first, value=2)
    assert len(await kit.list_all(saver, T)) == 1


async def test_a_repeated_write_is_no_conflict(saver: LogSaver) -> None:
    """A writer that does not know the outcome stores the same checkpoint again."""
    new = kit.checkpoint(value=1)
    for _ in range(2):
        await saver.aput(kit.at("t", **{NEWEST: ""}), new, {"step": 0}, {"value": 1})
    assert len(await kit.list_all(saver, T)) == 1


async def test_a_child_is_newer_than_its_parent_despite_clock_differences(
    saver: LogSaver, other_saver: LogSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of the process that takes over is behind; its checkpoint is the newest nevertheless."""
    first = await kit.put(saver, T, value=1)
    monkeypatch.setattr("time.time_ns", lambda: 1)
    second = await kit.put(other_saver, first, value=2)
    found = await saver.aget_tuple(T)
    assert found is not None
    assert found.checkpoint["id"] == second["configurable"]["checkpoint_id"]


async def test_delta_channels_are_rebuilt(saver: LogSaver, other_saver: LogSaver) -> None:
    """From their snapshots and the writes since, after many runs."""
    graph = kit.chain(saver, kit.Delta)
    for turn in range(4):
        await graph.ainvoke({"log": [f"{turn}"]}, T, durability="sync")
    expected = [name for turn in range(4) for name in (f"{turn}", *kit.LETTERS)]
    assert (await kit.chain(other_saver, kit.Delta).aget_state(T)).values["log"] == expected


async def test_delta_channels_are_rebuilt_by_few_statements(saver: LogSaver, other_saver: LogSaver) -> None:
    """Their number does not grow with the ancestors since the last snapshot."""

    class Long(TypedDict):
        log: Annotated[list[str], DeltaChannel(lambda value, writes: sum(writes, value or []), snapshot_frequency=999)]

    graph = kit.chain(saver, Long, kit.TWO)
    for turn in range(20):
        await graph.ainvoke({"log": [f"{turn}"]}, T, durability="sync")
    statements: list[str] = []
    with engine_events(statements.append):
        assert len((await kit.chain(other_saver, Long, kit.TWO).aget_state(T)).values["log"]) == 60
    assert len([statement for statement in statements if statement.startswith("SELECT")]) < 10


@pytest.mark.parametrize("updates", range(8))
async def test_pruning_keeps_what_delta_channels_are_rebuilt_from(
    saver: LogSaver, other_saver: LogSaver, updates: int
) -> None:
    """With any number of updates since the last snapshot."""
    graph = kit.chain(saver, kit.Delta)
    await graph.ainvoke({"log": ["begin"]}, T, durability="sync")
    for number in range(updates):
        await graph.aupdate_state(T, {"log": [f"{number}"]})
    before = (await graph.aget_state(T)).values
    stored = len(await history(graph))
    await saver.aprune(["t"])
    assert len(await history(graph)) < stored
    assert (await kit.chain(other_saver, kit.Delta).aget_state(T)).values == before


async def test_a_pruned_thread_continues(saver: LogSaver, other_saver: LogSaver) -> None:
    """With the values of deleted checkpoints, also in a process that has cached those."""
    graph = kit.chain(saver)
    await graph.ainvoke({"document": DOCUMENT, "log": ["1"]}, T, durability="sync")
    await other_saver.aprune(["t"])
    assert len(await history(graph)) == 1
    await graph.ainvoke({"log": ["2"]}, T, durability="sync")
    assert (await kit.chain(other_saver).aget_state(T)).values == {
        "document": DOCUMENT,
        "log": ["1", *kit.LETTERS, "2", *kit.LETTERS],
    }


async def test_pruning_deletes_unreferenced_values_of_kept_rows(saver: LogSaver, database: Database) -> None:
    """A row is kept for one value, and its other values are deleted."""
    await kit.put(saver, await kit.put(saver, T, document=DOCUMENT, other="x" * 5000), document=DOCUMENT)
    stored = await kit.put(saver, T, document=DOCUMENT, other="x" * 5000)
    new = {**kit.checkpoint(document=DOCUMENT, other="y"), "channel_versions": {"document": 1, "other": 2}}
    await saver.aput(stored, new, {"step": 1}, {"other": 2})  # type: ignore[arg-type]
    await saver.aprune(["t"])
    [found] = await kit.list_all(saver, T)
    assert found.checkpoint["channel_values"] == {"document": DOCUMENT, "other": "y"}
    async with database.read() as connection:
        rows = (await connection.exec_driver_sql("SELECT data FROM checkpoints")).scalars().all()
    assert sum(b"x" * 5000 in bytes(data) for data in rows) == 0
    assert len(rows) == 2


async def test_deleting_a_run_keeps_the_values_of_later_runs(saver: LogSaver, other_saver: LogSaver) -> None:
    graph = kit.chain(saver)
    await graph.ainvoke({"document": DOCUMENT, "log": ["1"]}, {**T, "metadata": {"run_id": "r1"}}, durability="sync")
    await graph.ainvoke({"log": ["2"]}, {**T, "metadata": {"run_id": "r2"}}, durability="sync")
    before = (await graph.aget_state(T)).values
    await saver.adelete_for_runs(["r1"])
    assert all((snapshot.metadata or {})["run_id"] == "r2" for snapshot in await history(graph))
    assert (await kit.chain(other_saver).aget_state(T)).values == before


async def test_a_copy_is_independent_of_its_source(saver: LogSaver) -> None:
    graph = kit.interrupting(saver)
    await graph.ainvoke({"document": DOCUMENT, "log": []}, T, durability="sync")
    await saver.acopy_thread("t", "copy")
    await saver.adelete_thread("t")
    ended = await graph.ainvoke(Command(resume="yes"), kit.at("copy"), durability="sync")
    assert ended == {"document": DOCUMENT, "answer": "yes", "log": ["other", "ask", "end"]}
    assert await history(graph) == []


async def test_histories_of_several_pages_are_listed(saver: LogSaver) -> None:
    """In order, with filter and limit."""
    config, ids = T, []
    for step in range(150):
        new = kit.checkpoint(value=step)
        config = await saver.aput(config, new, {"step": step, "source": "loop" if step % 2 else "input"}, {"value": 1})
        ids.append(new["id"])
    assert [found.checkpoint["id"] for found in await kit.list_all(saver, None)] == ids[::-1]
    odd = [found async for found in saver.alist(T, filter={"source": "loop"}, limit=70)]
    assert [found.metadata["step"] for found in odd] == list(range(149, 10, -2))
    assert [found async for found in saver.alist(T, limit=0)] == []
