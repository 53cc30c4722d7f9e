"""Values that grow at their end are stored as what was added, and read as they were, whatever is deleted."""

import asyncio
import operator
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any

import pytest
import sqlalchemy as sa
from graphmesh_chassis.database import Database
from graphmesh_orchestrator.checkpoints import GroupCommit, LogSaver, SqlBatchWriter
from graphmesh_orchestrator.checkpoints.fork import fork_thread
from graphmesh_orchestrator.checkpoints.large_values import SMALL_BYTES, with_bases
from graphmesh_orchestrator.checkpoints.tables import checkpoints, task_writes
from graphmesh_orchestrator.db.tables import artifacts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, RemoveMessage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict

from tests.contract.checkpoints import kit

T = kit.at("t")


class Chat(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    log: Annotated[list[str], operator.add]
    transcript: Annotated[str, operator.add]


def chat(saver: LogSaver) -> kit.Graph:
    """Build a graph that answers the last message, of about 400 characters."""
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(Chat)
    builder.add_node("answer", lambda state: {"messages": [AIMessage("a" * 400)], "transcript": "answer " * 50})
    builder.add_edge(START, "answer")
    builder.add_edge("answer", END)
    return builder.compile(checkpointer=saver)


async def turn(saver: LogSaver, text: str = "q" * 400, thread: str = "t") -> None:
    given = {"messages": [HumanMessage(text)], "transcript": text}
    await chat(saver).ainvoke(given, kit.at(thread), durability="sync")


async def stored_bytes(database: Database) -> int:
    async with database.read() as connection:
        sizes = [
            sa.select(sa.func.sum(sa.func.length(column)))
            for column in (checkpoints.c.head, checkpoints.c.data, task_writes.c.data, artifacts.c.data)
        ]
        return sum([(await connection.execute(size)).scalar() or 0 for size in sizes])


async def count_artifacts(database: Database) -> int:
    async with database.read() as connection:
        return int((await connection.execute(sa.select(sa.func.count()).select_from(artifacts))).scalar_one())


async def history(saver: LogSaver, thread: str = "t") -> list[dict[str, Any]]:
    return [snapshot.values async for snapshot in chat(saver).aget_state_history(kit.at(thread))]


async def test_a_turn_stores_as_much_on_a_long_thread_as_on_a_short_one(saver: LogSaver, database: Database) -> None:
    """Its messages are some hundred bytes; the state has 80 kB at the end."""
    sizes = [0]
    for _ in range(8):
        for _ in range(10):
            await turn(saver)
        sizes.append(await stored_bytes(database))
    added = [after - before for before, after in pairwise(sizes)]
    assert added[-1] < 1.3 * added[2]
    assert sizes[-1] < 80 * 15_000


async def test_every_state_of_a_history_is_read_as_it_was(saver: LogSaver, other_saver: LogSaver) -> None:
    for number in range(20):
        await turn(saver, str(number) * 400)
    found = await history(other_saver)
    assert [len(values.get("messages", ())) for values in found[::3]] == list(range(40, 0, -2))
    newest = found[0]
    for values in found:
        count = len(values.get("messages", ()))
        assert values.get("messages", []) == newest["messages"][:count]
        assert newest["transcript"].startswith(values.get("transcript", ""))


async def test_edited_and_removed_messages_are_stored_whole(saver: LogSaver, other_saver: LogSaver) -> None:
    for _ in range(10):
        await turn(saver)
    [newest, *_] = await history(saver)
    first, second = newest["messages"][:2]
    await chat(saver).aupdate_state(T, {"messages": [HumanMessage("e" * 500, id=first.id)]}, as_node="answer")
    await chat(saver).aupdate_state(T, {"messages": [RemoveMessage(id=second.id)]}, as_node="answer")
    await turn(saver)
    found = await history(other_saver)
    assert found[0]["messages"][0].content == "e" * 500
    assert [len(values["messages"]) for values in found[:6]] == [21, 20, 19, 19, 20, 20]
    assert found[5] == newest


async def test_a_changed_element_is_noticed(saver: LogSaver, other_saver: LogSaver) -> None:
    """Also where a node has changed an object in place, which LangGraph does not notice."""
    await turn(saver, "q" * 6000)
    await turn(saver)
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(Chat)

    def change(state: Any) -> Any:
        state["messages"][0].content = "c" * 6000
        return {"messages": [AIMessage("more")]}

    builder.add_node("answer", change)
    builder.add_edge(START, "answer")
    builder.add_edge("answer", END)
    ended = await builder.compile(checkpointer=saver).ainvoke({"transcript": "x"}, T, durability="sync")
    [newest, *_] = await history(other_saver)
    assert newest["messages"][0].content == "c" * 6000
    assert newest == ended


async def test_branches_of_a_history_do_not_mix(saver: LogSaver, other_saver: LogSaver) -> None:
    for _ in range(8):
        await turn(saver)
    snapshots = [snapshot async for snapshot in chat(saver).aget_state_history(T)]
    for text, snapshot in (("left", snapshots[3]), ("right", snapshots[3]), ("old", snapshots[9])):
        given = {"messages": [HumanMessage(text * 50)]}
        ended = await chat(saver).ainvoke(given, snapshot.config, durability="sync")
        count = len(snapshot.values["messages"])
        assert ended["messages"][:count] == snapshot.values["messages"]
        assert [message.content for message in ended["messages"][count:]] == [text * 50, "a" * 400]
        assert (await history(other_saver))[0] == ended


async def test_a_pruned_thread_keeps_the_parts_of_its_newest_state(saver: LogSaver, database: Database) -> None:
    """And no other ones. The next turn extends them."""
    for _ in range(12):
        await turn(saver)
    await chat(saver).aupdate_state(T, {"messages": [RemoveMessage(id="__remove_all__")]}, as_node="answer")
    for _ in range(8):
        await turn(saver)
    [newest, *_] = await history(saver)
    before = await count_artifacts(database)
    await saver.aprune(["t"])
    assert await history(LogSaver(database, saver._commits)) == [newest]
    after = await count_artifacts(database)
    assert after < before / 2
    await turn(saver)
    assert (await history(saver))[0]["messages"][: len(newest["messages"])] == newest["messages"]
    assert await count_artifacts(database) <= after + 5


async def test_deleting_a_run_keeps_what_others_extend(saver: LogSaver, other_saver: LogSaver) -> None:
    for number in range(10):
        given = {"messages": [HumanMessage("q" * 400)]}
        await chat(saver).ainvoke(given, {**T, "metadata": {"run_id": f"r{number}"}}, durability="sync")
    [newest, *_] = await history(saver)
    await saver.adelete_for_runs([f"r{number}" for number in range(9)])
    assert (await history(other_saver))[0] == newest
    await saver.adelete_for_runs(["r9"])
    assert await history(other_saver) == []


@pytest.mark.parametrize("size", [1, 300, 5000])
async def test_a_value_has_few_parts(saver: LogSaver, database: Database, size: int) -> None:
    """Also after many additions: those of equal size are stored as one, each byte a few times at most."""
    log = ["x" * SMALL_BYTES]
    config = await kit.put(saver, T, log=log)
    for number in range(120):
        log = [*log, chr(97 + number % 26) * size]
        config = await kit.put(saver, config, log=log)
    found = await LogSaver(database, saver._commits).aget_tuple(T)
    assert found is not None
    assert found.checkpoint["channel_values"]["log"] == log
    async with database.read() as connection:
        rows = (await connection.execute(sa.select(artifacts.c.name, artifacts.c.base, artifacts.c.stamp))).all()
        total = (await connection.execute(sa.select(sa.func.sum(sa.func.length(artifacts.c.data))))).scalar_one()
    bases = {row.name: row.base for row in rows if row.base}
    newest = max(rows, key=lambda row: row.stamp)
    assert 1 < len(with_bases([newest.name], bases)) <= 25
    assert total < 6 * (sum(map(len, log)) + 120 * 30)


async def test_writes_that_extend_a_value_are_stored_as_what_they_add(saver: LogSaver, database: Database) -> None:
    """As those of a subgraph, which returns all messages."""
    big = [os.urandom(500).hex() for _ in range(100)]
    config = await kit.put(saver, T, log=big)
    config = await kit.put(saver, config, log=[*big, "more"])
    before = await stored_bytes(database)
    await saver.aput_writes(config, [("log", [*big, "more", "still more"])], "task")
    assert await stored_bytes(database) - before < 1000
    found = await saver.aget_tuple(T)
    assert found is not None
    assert found.pending_writes == [("task", "log", [*big, "more", "still more"])]


async def test_a_growing_thread_is_pruned_all_the_time(saver: LogSaver, database: Database) -> None:
    """By another process, while a run extends its values."""

    async def many_turns() -> None:
        for _ in range(15):
            await turn(saver)

    running = asyncio.create_task(many_turns())
    async with GroupCommit(SqlBatchWriter(database)).running() as commits:
        other_process = LogSaver(database, commits)
        while not running.done():
            await other_process.aprune(["t"])
            await other_process.aget_tuple(T)
        await running
        [newest, *_] = await history(other_process)
        assert len(newest["messages"]) == 30


@dataclass
class Model:
    """The states that a thread must have, by the id of their checkpoints, in the order in which they were written."""

    states: dict[str, tuple[Mapping[str, Any], str]] = field(default_factory=dict)
    """With the run that has written them."""

    def newest(self) -> str:
        return next(reversed(self.states), "")


SIZES = (1, 300, 700, 5000)
ELEMENTS = st.lists(st.sampled_from(SIZES), min_size=1, max_size=3)
STEPS = st.one_of(
    st.tuples(st.just("append"), ELEMENTS),
    st.tuples(st.just("append"), ELEMENTS),
    st.tuples(st.just("keep"), ELEMENTS),
    st.tuples(st.just("replace"), ELEMENTS),
    st.tuples(st.just("shorten"), ELEMENTS),
    st.tuples(st.just("branch"), ELEMENTS),
    st.tuples(st.sampled_from(["prune", "delete_run", "forget", "fork"]), ELEMENTS),
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEPS, max_size=24), seed=st.integers(0, 999))
async def test_any_sequence_of_writes_and_deletions_is_read_as_a_model_has_it(
    database: Database, commits: GroupCommit, steps: Sequence[tuple[str, list[int]]], seed: int
) -> None:
    thread, model, saver = os.urandom(8).hex(), Model(), LogSaver(database, commits)
    for number, (kind, sizes) in enumerate(steps):
        before = model.newest()
        match kind:
            case "prune":
                await saver.aprune([thread])
                model.states = {before: model.states[before]} if before else {}
            case "delete_run":
                run_id = f"{thread}{seed % max(number, 1)}"
                await saver.adelete_for_runs([run_id])
                model.states = {name: state for name, state in model.states.items() if state[1] != run_id}
            case "forget":
                saver = LogSaver(database, commits)
            case "fork":
                fork, copied = os.urandom(8).hex(), [*model.states][: 1 + seed % max(len(model.states), 1)]
                async with database.transaction() as connection:
                    await fork_thread(connection, saver.serde, thread, fork, copied[-1] if copied else "")
                await check_newest(saver, fork, model.states[copied[-1]][0] if copied else None)
            case _:
                parent = [*model.states][seed % len(model.states)] if kind == "branch" and before else before
                state = change(kind, model.states[parent][0] if parent else {}, sizes, number)
                config = kit.at(thread, parent)
                config["metadata"] = {"run_id": f"{thread}{number}"}
                stored = await kit.put(saver, config, **state)
                model.states[stored["configurable"]["checkpoint_id"]] = (state, f"{thread}{number}")
        await check(saver, thread, model)
    await check(LogSaver(database, commits), thread, model)


def change(kind: str, before: Mapping[str, Any], sizes: Sequence[int], number: int) -> dict[str, Any]:
    """Return a state after another one: a list, a text, a mapping and bytes change in the same way."""
    added = [chr(97 + (number + index) % 26) * size for index, size in enumerate(sizes)]
    log, text, table = list(before.get("log", [])), before.get("text", ""), dict(before.get("table", {}))
    match kind:
        case "keep":
            pass
        case "replace":
            log, text, table = added, "".join(added), dict.fromkeys(added, number)
        case "shorten":
            log, text, table = log[1:], text[: len(text) // 2], dict([*table.items()][1:])
        case _:
            log, text = [*log, *added], text + "".join(added)
            table |= {f"{number} {element}": element for element in added}
    return {"log": log, "text": text, "table": table, "bytes": text.encode()}


async def check(saver: LogSaver, thread: str, model: Model) -> None:
    found = {
        one.checkpoint["id"]: one.checkpoint["channel_values"] for one in await kit.list_all(saver, kit.at(thread))
    }
    assert found == {name: state for name, (state, _) in model.states.items()}


async def check_newest(saver: LogSaver, thread: str, state: Mapping[str, Any] | None) -> None:
    found = await saver.aget_tuple(kit.at(thread))
    assert (found.checkpoint["channel_values"] if found else None) == state


@pytest.mark.parametrize("size", [SMALL_BYTES - 100, SMALL_BYTES * 20])
async def test_values_that_do_not_grow_are_stored_as_before(saver: LogSaver, database: Database, size: int) -> None:
    """Small ones in their rows, large ones once."""
    config = await kit.put(saver, T, text="x" * size)
    await kit.put(saver, config, text="y" * size)
    assert await count_artifacts(database) == (0 if size < SMALL_BYTES else 2)
