"""Listings of a thread's states: summaries without values, bounded reads, and states that cannot be shown."""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import pytest
import sqlalchemy as sa
from graphmesh_contracts.keys import checkpoint_thread
from graphmesh_orchestrator.checkpoints import history
from graphmesh_orchestrator.checkpoints.state_versions import Lineage, Versions
from graphmesh_orchestrator.checkpoints.tables import checkpoints, task_writes
from graphmesh_orchestrator.db.tables import artifacts
from graphmesh_orchestrator.registry import Graph, Registry
from graphmesh_orchestrator.threads.states import ThreadStates
from graphmesh_orchestrator.threads.thread import State, Thread
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import CachePolicy, Send
from pydantic import BaseModel

from tests.contract.checkpoints import kit
from tests.contract.databases import engine_events
from tests.contract.orchestrator.stores import SqlStores
from tests.contract.orchestrator.thread_kit import GRAPHS, Compiled, ThreadKit

THREAD = checkpoint_thread("acme", "th")
LONG = "x" * 20_000


class Typed(BaseModel):
    """A state that is validated before each node."""

    document: str
    log: Annotated[list[str], operator.add] = []


def joining(saver: BaseCheckpointSaver[Any]) -> Compiled:
    """Build a node that waits for two others, the second of which has a predecessor."""
    builder = StateGraph(kit.State)
    for name in ("a", "b", "c", "end"):
        builder.add_node(name, lambda state: {"log": ["x"]})
    builder.add_edge(START, "a")
    builder.add_edge(START, "b")
    builder.add_edge("b", "c")
    builder.add_edge(["a", "c"], "end")
    builder.add_edge("end", END)
    return builder.compile(checkpointer=saver)


def sending(saver: BaseCheckpointSaver[Any]) -> Compiled:
    builder = StateGraph(kit.State)
    builder.add_node("plan", lambda state: {"log": ["plan"]})
    builder.add_node("work", lambda state: {"log": [state["document"][:3]]})
    builder.add_edge(START, "plan")
    builder.add_conditional_edges("plan", lambda _: [Send("work", {"document": LONG}), Send("work", {"document": "b"})])
    return builder.compile(checkpointer=saver)


def validating(saver: BaseCheckpointSaver[Any]) -> Compiled:
    builder = StateGraph(Typed)
    policy = CachePolicy(key_func=lambda state: state.document)
    builder.add_node("a", lambda state: {"log": [state.document[:3]]}, cache_policy=policy)
    builder.add_edge(START, "a")
    return builder.compile(checkpointer=saver)


MORE_GRAPHS: Mapping[str, Callable[[BaseCheckpointSaver[Any]], Compiled]] = {
    **{name: graph for name, graph in GRAPHS.items() if name != "failing"},
    "joining": joining,
    "sending": sending,
    "validating": validating,
}


@pytest.fixture
def here(sql_stores: SqlStores) -> ThreadKit:
    kit = ThreadKit(sql_stores)
    graphs = {name: Graph.of(name, graph(sql_stores.log_saver)) for name, graph in MORE_GRAPHS.items()}
    kit.registry = Registry(graphs)
    kit.states = ThreadStates(sql_stores.database, kit.registry, sql_stores.interrupts, sql_stores.runs)
    return kit


async def listed(here: ThreadKit, thread: Thread, *, is_basic: bool = False) -> list[State]:
    return [state async for state in here.states.history(thread, is_basic=is_basic)]


def without_values(state: State) -> State:
    interrupts = [replace(interrupt, value=None) for interrupt in state.interrupts]
    tasks = [replace(task, interrupts=[replace(one, value=None) for one in task.interrupts]) for task in state.tasks]
    return replace(state, values={}, interrupts=interrupts, tasks=tasks)


async def overwrite(here: ThreadKit, table: sa.Table, *conditions: sa.ColumnElement[bool], **values: Any) -> None:
    async with here.stores.database.transaction() as connection:
        changed = await connection.execute(sa.update(table).where(*conditions).values(**values))
        assert changed.rowcount


@pytest.mark.parametrize("graph", MORE_GRAPHS)
async def test_summaries_are_the_states_without_values(here: ThreadKit, graph: str) -> None:
    """Ids, parents, times, metadata, next nodes, and the interrupts by their ids; also those of updates and forks."""
    thread = await here.create(graph, document=LONG, log=[])
    await here.states.update(thread, {"log": ["by hand"]}, next(iter(here.registry.get(graph).compiled.nodes)), "")
    summaries = await listed(here, thread, is_basic=True)
    whole = await listed(here, thread)
    assert summaries == [without_values(state) for state in whole]
    assert len(summaries) > 2
    before = whole[1].checkpoint_id
    assert [state async for state in here.states.history(thread, before, is_basic=True)] == summaries[2:]


async def test_summaries_read_no_values(here: ThreadKit) -> None:
    """They are listed whatever is stored as values."""
    thread = await here.create(document=LONG, log=[])
    expected = await listed(here, thread, is_basic=True)
    await overwrite(here, checkpoints, data=b"bad")
    async with here.stores.database.transaction() as connection:
        await connection.execute(sa.delete(artifacts))
    assert await listed(here, thread, is_basic=True) == expected


async def statements_of(here: ThreadKit, thread: Thread, count: int, *, is_basic: bool) -> int:
    statements: list[str] = []
    with engine_events(statements.append):
        async for _ in here.states.history(thread, is_basic=is_basic):
            count -= 1
            if count == 0:
                break
    return len(statements)


@pytest.mark.parametrize("is_basic", [True, False])
async def test_a_page_of_a_long_history_takes_as_many_statements(here: ThreadKit, is_basic: bool) -> None:
    thread = await here.create(document="d", log=[])
    short = await statements_of(here, thread, 5, is_basic=is_basic)
    for _ in range(12):
        await here.invoke("chain", "th", {"log": ["more"]})
    assert await statements_of(here, thread, 5, is_basic=is_basic) == short


async def test_large_states_are_read_a_few_at_a_time(here: ThreadKit, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a page of them needs the memory of a page."""
    monkeypatch.setattr(history, "BATCH_BYTES", 50_000)
    await here.create(document=LONG, log=[])
    saver, loaded = here.stores.log_saver, list[int]()

    async def load(connection: Any, head_rows: Sequence[Any]) -> Any:
        loaded.append(len(head_rows))
        return await saver.load(connection, head_rows)

    found = history.History(here.stores.database, saver.serde, load).read(THREAD, "", "", (), is_basic=False)
    assert len([one async for one in found]) == sum(loaded) == 7
    assert max(loaded) == 2


BAD: Mapping[str, tuple[sa.Table, Mapping[str, Any], str]] = {
    "values": (checkpoints, {"data": b"msgpack\0\xc1"}, "values: cannot be read"),
    "values of another type": (checkpoints, {"data": b"msgpack\0\x01"}, "values: cannot be read"),
    "no serializer": (checkpoints, {"data": b"unknown\0"}, "values: cannot be read"),
    "head": (checkpoints, {"head": b"msgpack\0\xc1"}, "checkpoint: cannot be read"),
    "empty head": (checkpoints, {"head": b""}, "checkpoint: cannot be read"),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("is_basic", [True, False])
async def test_a_bad_checkpoint_is_marked(here: ThreadKit, kind: str, is_basic: bool) -> None:
    """The other states are listed as before, and those of other threads."""
    thread, other = await here.create(log=[]), await here.create(thread_id="th_2", log=[])
    before, others = await listed(here, thread, is_basic=is_basic), await listed(here, other, is_basic=is_basic)
    table, values, reason = BAD[kind]
    bad = before[2].checkpoint_id
    await overwrite(here, table, table.c.checkpoint_id == bad, **values)
    found = await listed(here, thread, is_basic=is_basic)
    assert [state.checkpoint_id for state in found] == [state.checkpoint_id for state in before]
    if is_basic and "data" in values:
        assert found == before
        return
    marked = [number for number, state in enumerate(found) if state.not_shown]
    assert 2 in marked
    assert all(found[number] == before[number] for number in range(len(found)) if number not in marked)
    assert [text[: len(reason)] for text in found[2].not_shown] == [reason]
    assert found[2].parent_id == before[2].parent_id
    if "data" in values:
        assert found[2] == replace(without_values(before[2]), not_shown=found[2].not_shown)
    assert await listed(here, other, is_basic=is_basic) == others


async def test_a_missing_part_of_a_value_is_marked(here: ThreadKit) -> None:
    """In the states that have it, and no other."""
    thread = await here.create(document=LONG, log=[LONG])
    await here.invoke("chain", "th", {"document": "small"})
    async with here.stores.database.transaction() as connection:
        is_part = artifacts.c.base.is_not(None)
        last = sa.select(artifacts.c.name).where(is_part).order_by(artifacts.c.stamp.desc()).limit(1)
        await connection.execute(sa.delete(artifacts).where(artifacts.c.name == last.scalar_subquery()))
    found = await listed(here, thread)
    assert found[0].not_shown == ["values: cannot be read: KeyError"]
    assert found[0].metadata["source"] == "loop"
    assert found[-1].not_shown == []
    assert found[1].not_shown == []


async def test_bad_writes_of_a_task_are_marked(here: ThreadKit) -> None:
    """An interrupt that cannot be read: there are no interrupts of that state then, and the ids alone."""
    thread = await here.create("asking")
    newest = (await listed(here, thread))[0].checkpoint_id
    await overwrite(here, task_writes, task_writes.c.checkpoint_id == newest, data=b"msgpack\0\xc1")
    for is_basic in (True, False):
        found = await listed(here, thread, is_basic=is_basic)
        assert [bool(state.not_shown) for state in found] == [True, *[False] * (len(found) - 1)]
        assert found[0].not_shown[0].startswith("checkpoint: cannot be read")


async def test_a_state_that_its_graph_refuses_is_marked(here: ThreadKit) -> None:
    """As one whose values do not fit the types of a newer graph."""
    thread = await here.create("validating", document="d", log=[])
    before = await listed(here, thread)

    class Stricter(BaseModel):
        document: int
        log: list[str] = []

    builder = StateGraph(Stricter)
    builder.add_node("a", lambda state: {})
    builder.add_edge(START, "a")
    newer = Graph.of("validating", builder.compile(checkpointer=here.stores.log_saver))
    here.states = ThreadStates(
        here.stores.database, Registry({"validating": newer}), here.stores.interrupts, here.stores.runs
    )
    found = await listed(here, thread)
    assert [state.checkpoint_id for state in found] == [state.checkpoint_id for state in before]
    assert ["checkpoint: cannot be shown: ValidationError"] in [state.not_shown for state in found]
    assert all(not state.not_shown for state in await listed(here, thread, is_basic=True))


async def test_states_of_an_unsupported_version_are_marked(here: ThreadKit) -> None:
    thread = await here.create(log=[])
    expected = await listed(here, thread, is_basic=True)
    saver = here.stores.log_saver.with_lineage(Lineage("chain", Versions(3)))
    newer = Graph.of("chain", kit.chain(saver))
    here.states = ThreadStates(
        here.stores.database, Registry({"chain": newer}), here.stores.interrupts, here.stores.runs
    )
    found = await listed(here, thread)
    assert {*map(str, [state.not_shown for state in found])} == {"['values: cannot be read: VERSION_UNAVAILABLE']"}
    assert [replace(state, not_shown=()) for state in found] == [replace(state, not_shown=()) for state in expected]
