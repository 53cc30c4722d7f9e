"""States of subgraphs: read with those of their graph or by their namespace, listed, and updated under the fence."""

from collections.abc import Sequence
from typing import Any

import pytest
from graphmesh_chassis.errors import InvalidInput, NotFound
from graphmesh_orchestrator.errors import CheckpointConflict, ThreadBusy
from graphmesh_orchestrator.threads.thread import State, Thread

from tests.contract.orchestrator.stores import SqlStores
from tests.contract.orchestrator.test_deletion import add_run
from tests.contract.orchestrator.test_thread_states_sql import interleaved_states
from tests.contract.orchestrator.thread_kit import ThreadKit, at


@pytest.fixture
def here(sql_stores: SqlStores) -> ThreadKit:
    return ThreadKit(sql_stores)


async def failed(here: ThreadKit) -> tuple[Thread, Sequence[str], Sequence[str]]:
    """Return a thread whose graph has failed in the innermost graph, and the namespaces of both subgraphs."""
    thread = await here.threads.create("acme", "th", "failing", {}, 0)
    with pytest.raises(ValueError, match="not yet"):
        await here.invoke("failing", "th", {"log": []})
    state = await here.states.get(thread, subgraphs=True)
    [outer] = state.tasks
    assert outer.state is not None
    [inner] = outer.state.tasks
    return thread, outer.namespace, inner.namespace


def logs(state: State | None) -> list[Any]:
    """Return the log of a state and of each state within it, from the outermost to the innermost."""
    if state is None:
        return []
    return [state.values.get("log"), *(log for task in state.tasks for log in logs(task.state))]


async def test_states_of_subgraphs_are_read_with_that_of_the_graph(here: ThreadKit) -> None:
    thread, outer, inner = await failed(here)
    assert [level.partition(":")[0] for level in inner] == ["outer", "inner"]
    assert list(inner[:1]) == list(outer)
    assert logs(await here.states.get(thread, subgraphs=True)) == [[], [], ["first"]]
    alone = await here.states.get(thread)
    assert ([task.node for task in alone.tasks], logs(alone)) == (["outer"], [[]])


async def test_state_of_a_subgraph_is_read_and_listed_by_its_namespace(here: ThreadKit) -> None:
    thread, _, inner = await failed(here)
    state = await here.states.get(thread, namespace=inner)
    assert (state.values["log"], state.next) == (["first"], ("second",))
    history = [one async for one in here.states.history(thread, namespace=inner)]
    assert [one.values.get("log", []) for one in history] == [["first"], [], []]
    assert history[0] == state
    assert [one async for one in here.states.history(thread, history[0].checkpoint_id, inner)] == history[1:]
    basic = [one async for one in here.states.history(thread, namespace=inner, is_basic=True)]
    assert [one.next for one in basic] == [("second",), ("first",), ("__start__",)]
    older = await here.states.get(thread, history[1].checkpoint_id, inner)
    assert older.next == ("first",)


@pytest.mark.parametrize("namespace", [["other:1"], ["outer:1", "other:2"], ["inner"]])
async def test_unknown_subgraph_is_not_found(here: ThreadKit, namespace: list[str]) -> None:
    thread, _, _ = await failed(here)
    for call in (here.states.get(thread, "", namespace), here.states.update(thread, {}, "first", "", namespace)):
        with pytest.raises(NotFound, match="subgraph"):
            await call
    with pytest.raises(NotFound, match="subgraph"):
        await anext(here.states.history(thread, namespace=namespace))


async def test_updated_subgraph_continues_from_its_new_state(here: ThreadKit) -> None:
    thread, _, inner = await failed(here)
    updated = await here.states.update(thread, {"log": ["repaired"]}, "first", "", inner)
    assert (updated.values["log"], updated.next) == (["first", "repaired"], ("second",))
    assert logs(await here.states.get(thread, subgraphs=True))[-1] == ["first", "repaired"]
    ended = await here.registry.get("failing").compiled.ainvoke(None, at("th"), durability="sync")
    assert ended["log"] == ["first", "repaired", "second"]


async def test_update_of_a_subgraph_is_checked_against_its_own_schema(here: ThreadKit) -> None:
    thread, _, inner = await failed(here)
    for values, as_node, field in (({"colour": 1}, "first", "values.colour"), ({}, "outer", "as_node")):
        with pytest.raises(InvalidInput, match=field):
            await here.states.update(thread, values, as_node, "", inner)


async def test_update_of_a_subgraph_is_fenced(here: ThreadKit) -> None:
    """Another update of it, or a run, that is stored before makes it fail, and nothing of it is stored."""
    thread, _, inner = await failed(here)

    async def other_update() -> None:
        await here.states.update(thread, {"log": ["other"]}, "first", "", inner)

    with pytest.raises(CheckpointConflict):
        await interleaved_states(here, other_update).update(thread, {"log": ["mine"]}, "first", "", inner)
    with pytest.raises(ThreadBusy):
        await interleaved_states(here, lambda: add_run(here.stores, thread_id="th", graph="failing")).update(
            thread, {"log": ["mine"]}, "first", "", inner
        )
    assert (await here.states.get(thread, "", inner)).values["log"] == ["first", "other"]
