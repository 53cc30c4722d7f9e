"""States of threads on the checkpoint log: read, listed and updated, as LangGraph does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from graphmesh_chassis.errors import InvalidInput, NotFound
from graphmesh_orchestrator.db.tables import runs
from graphmesh_orchestrator.errors import CheckpointConflict, GraphNotFound, ThreadBusy
from graphmesh_orchestrator.threads.states import ThreadStates
from graphmesh_orchestrator.threads.thread import State, Thread, ThreadStatus

from tests.contract.orchestrator.stores import SqlStores, a_question
from tests.contract.orchestrator.test_deletion import add_run
from tests.contract.orchestrator.thread_kit import ThreadKit

LETTERS = ["a", "b", "c", "d", "e"]


@pytest.fixture
def here(sql_stores: SqlStores) -> ThreadKit:
    return ThreadKit(sql_stores)


@dataclass
class InterleavedDatabase:
    """A database in which something happens before each write transaction begins."""

    stores: SqlStores
    action: Callable[[], Awaitable[Any]]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stores.database, name)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        await self.action()
        async with self.stores.database.transaction() as connection:
            yield connection


def interleaved_states(here: ThreadKit, action: Callable[[], Awaitable[Any]]) -> ThreadStates:
    """Return the states, whose updates are interrupted by an action just before they are stored."""
    database: Any = InterleavedDatabase(here.stores, action)
    return ThreadStates(database, here.registry, here.stores.interrupts, here.stores.runs)


async def test_new_thread_has_no_state(here: ThreadKit) -> None:
    thread = await here.threads.create("acme", "th", "chain", {"team": "ink"}, 3600)
    assert await here.states.get(thread) == State()
    assert await here.history(thread) == []


async def test_history_is_that_of_langgraph(here: ThreadKit) -> None:
    """Every state with its values, next nodes, parent and metadata, in LangGraph's order, also page by page."""
    thread = await here.create()
    expected = await here.langgraph_history()
    found = await here.history(thread)
    assert [state.checkpoint_id for state in found] == [one.config["configurable"]["checkpoint_id"] for one in expected]
    assert [state.values for state in found] == [one.values for one in expected]
    assert [state.next for state in found] == [one.next for one in expected]
    assert [state.metadata for state in found] == [one.metadata for one in expected]
    assert [state.parent_id for state in found] == [*[state.checkpoint_id for state in found[1:]], ""]
    assert [state async for state in here.states.history(thread, found[2].checkpoint_id)] == found[3:]
    assert [await here.states.get(thread, state.checkpoint_id) for state in found] == found


async def test_state_has_its_interrupts(here: ThreadKit) -> None:
    """With the ids that a run is resumed with."""
    thread = await here.create("asking")
    state = await here.states.get(thread)
    [snapshot] = (await here.langgraph_history("asking"))[:1]
    assert [(one.interrupt_id, one.node, one.value) for one in state.interrupts] == [
        (snapshot.interrupts[0].id, "ask", "sure?")
    ]
    assert list(state.next) == ["ask"]


async def test_missing_checkpoints_and_graphs_are_refused(here: ThreadKit) -> None:
    """A checkpoint of another thread is not one of this thread; a graph may no longer be registered."""
    thread, other = await here.create(), await here.create(thread_id="th_2")
    [newest, *_] = await here.history(other)
    with pytest.raises(NotFound, match="checkpoint"):
        await here.states.get(thread, newest.checkpoint_id)
    with pytest.raises(NotFound, match="checkpoint"):
        await here.states.update(thread, {}, "a", newest.checkpoint_id)
    with pytest.raises(GraphNotFound):
        await here.states.get(replace(thread, graph="gone"))


async def test_update_is_a_checkpoint_as_if_a_node_had_made_it(here: ThreadKit) -> None:
    """Reducers reduce, the nodes after that node are next, and the graph continues from there."""
    thread = await here.create()
    state = await here.states.update(thread, {"log": ["by hand"], "document": "d"}, "c", "")
    assert state.values == {"log": [*LETTERS, "by hand"], "document": "d"}
    assert (list(state.next), state.metadata["source"]) == (["d"], "update")
    assert (await here.states.get(thread)) == state
    assert (await here.threads.get("acme", "th")).updated > thread.updated
    await here.invoke("chain", "th", None)
    assert await here.log() == [*LETTERS, "by hand", "d", "e"]


async def test_update_without_a_node_is_by_the_last_one(here: ThreadKit) -> None:
    """Where two nodes were last, one has to be named."""
    state = await here.states.update(await here.create(), {"document": "d"}, "", "")
    assert (state.values["document"], list(state.next)) == ("d", [])
    with pytest.raises(InvalidInput) as refused:
        await here.states.update(await here.create("parallel", "th_2"), {"document": "d"}, "", "")
    assert [violation.field for violation in refused.value.violations] == ["as_node"]


async def test_update_gives_a_new_thread_its_state(here: ThreadKit) -> None:
    """As its graph's input, from which a run can continue without one. The thread needs a graph."""
    thread = await here.threads.create("acme", "th", "chain", {}, 0)
    state = await here.states.update(thread, {"log": ["seed"]}, "", "")
    assert (state.values, list(state.next)) == ({"log": ["seed"]}, ["a"])
    await here.invoke("chain", "th", None)
    assert await here.log() == ["seed", *LETTERS]
    bare = await here.threads.create("acme", "bare", "", {}, 0)
    with pytest.raises(InvalidInput):
        await here.states.update(bare, {}, "", "")


async def test_update_of_an_old_checkpoint_branches_off_there(here: ThreadKit) -> None:
    """The new checkpoint follows the old one and is the newest; what followed the old one stays in the history."""
    thread = await here.create()
    old = (await here.history(thread))[3]
    state = await here.states.update(thread, {"log": ["other"]}, "", old.checkpoint_id)
    assert (state.parent_id, state.values["log"]) == (old.checkpoint_id, ["a", "b", "other"])
    assert (await here.states.get(thread)) == state
    assert len(await here.history(thread)) == 8


@pytest.mark.parametrize(
    ("values", "as_node", "fields"),
    [
        ({"colour": "red"}, "a", ["values.colour"]),
        ({"colour": "red", "smell": 1, "log": []}, "", ["values.colour", "values.smell", "as_node"]),
        ({"document": 7}, "a", ["values.document"]),
        ({"log": 7}, "a", ["values.log"]),
        ({}, "nobody", ["as_node"]),
        ({}, "__copy__", ["as_node"]),
        ({"colour": "red"}, "__end__", ["values.colour", "as_node"]),
    ],
)
async def test_invalid_fields_of_an_update_are_named(
    here: ThreadKit, values: Any, as_node: str, fields: list[str]
) -> None:
    """Unknown fields, other types, values that a reducer cannot take, unknown nodes: nothing is stored."""
    thread = await here.create()
    before = await here.stores.counts()
    with pytest.raises(InvalidInput) as refused:
        await here.states.update(thread, values, as_node, "")
    assert [violation.field for violation in refused.value.violations] == fields
    assert await here.stores.counts() == before


async def test_concurrent_updates_are_stored_or_refused(here: ThreadKit) -> None:
    """Each of ten is in the state, or its caller gets the conflict."""
    thread = await here.create()
    updates = [here.states.update(thread, {"log": [str(number)]}, "a", "") for number in range(10)]
    outcomes = await asyncio.gather(*updates, return_exceptions=True)
    stored = [str(number) for number, outcome in enumerate(outcomes) if isinstance(outcome, State)]
    assert stored
    assert all(isinstance(outcome, State | CheckpointConflict) for outcome in outcomes)
    assert sorted((await here.log())[5:]) == stored


@pytest.mark.parametrize("has_state", [True, False])
async def test_update_of_a_state_that_is_no_longer_the_newest_is_refused(here: ThreadKit, has_state: bool) -> None:
    """A run that began and ended meanwhile has written after the same checkpoint, or the first one."""
    thread = await here.create(log=["x"]) if has_state else await here.threads.create("acme", "th", "chain", {}, 0)
    states = interleaved_states(here, lambda: here.invoke("chain", "th", {"log": ["run"]}))
    with pytest.raises(CheckpointConflict):
        await states.update(thread, {"log": ["mine"]}, "a", "")
    assert "mine" not in await here.log("th")


async def test_update_of_a_checkpoint_that_is_pruned_meanwhile_is_refused(here: ThreadKit) -> None:
    """Its values would be lost."""
    thread = await here.create()
    old = (await here.history(thread))[3]
    states = interleaved_states(
        here, lambda: here.stores.deletion.prune("acme", timedelta(), delete=False, dry_run=False)
    )
    with pytest.raises(CheckpointConflict):
        await states.update(thread, {}, "a", old.checkpoint_id)
    assert await here.log() == LETTERS


@pytest.mark.parametrize("status", ["running", "interrupted"])
async def test_thread_that_a_run_holds_is_not_updated(here: ThreadKit, status: str) -> None:
    """That of a parked run neither. A fork only reads."""
    thread = await here.create()
    run = await add_run(here.stores, "th", status)
    before = await here.stores.counts()
    with pytest.raises(ThreadBusy, match=run.run_id):
        await here.states.update(thread, {}, "a", "")
    assert await here.stores.counts() == before
    assert (await here.forks.fork("acme", "th", "", "copy")).status is ThreadStatus.IDLE


BREAKPOINT = {"breakpoint": ["d"]}


@pytest.mark.parametrize(
    ("questions", "reason", "is_newest", "is_updated"),
    [
        ([BREAKPOINT], "", True, True),
        ([BREAKPOINT, "sure?"], "", True, False),
        ([BREAKPOINT], "enough", True, False),
        ([BREAKPOINT], "", False, False),
    ],
    ids=["breakpoint", "question", "cancelled", "older"],
)
async def test_newest_state_is_updated_at_a_breakpoint(
    here: ThreadKit, questions: list[Any], reason: str, is_newest: bool, is_updated: bool
) -> None:
    """Of a parked run that only a breakpoint stops, and that resumes: its row is locked meanwhile."""
    thread = await here.create()
    run = await add_run(here.stores, "th", "running")
    await here.stores.park(run, *(a_question(run.run_id, str(at), value=one) for at, one in enumerate(questions)))
    if reason:
        async with here.stores.database.transaction() as connection:
            await connection.execute(sa.update(runs).values(cancel_reason=reason))
    newest = await here.states.get(thread)
    update = here.states.update(thread, {"log": ["by hand"]}, "c", "" if is_newest else newest.checkpoint_id)
    if not is_updated:
        with pytest.raises(ThreadBusy, match=run.run_id):
            await update
    else:
        assert (await update).values["log"] == [*LETTERS, "by hand"]


async def test_state_is_visible_to_its_tenant_alone(here: ThreadKit) -> None:
    await here.create()
    thread: Thread = await here.threads.create("other", "th", "chain", {}, 0)
    assert await here.states.get(thread) == State()
    assert await here.history(thread) == []
