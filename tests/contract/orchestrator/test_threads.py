"""Threads on both databases: states, updates, forks, deletion, time to live, pruning (B7)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
import sqlalchemy as sa
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import AlreadyExists, InvalidRequest, NotFound
from graphmesh_nodes.json_schemas import json_schema
from graphmesh_orchestrator.checkpoints import GroupCommit, LogSaver
from graphmesh_orchestrator.checkpoints.config_keys import saver_thread
from graphmesh_orchestrator.checkpoints.tables import artifacts, checkpoints, task_writes
from graphmesh_orchestrator.db.tables import events, runs, threads
from graphmesh_orchestrator.errors import CheckpointConflict, GraphNotFound, InvalidInput, ThreadBusy
from graphmesh_orchestrator.interrupts.interrupts_sql import interrupts
from graphmesh_orchestrator.registry import Graph, Registry
from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.runs.runs_sql import SqlRuns
from graphmesh_orchestrator.threads.deletion_sql import SqlRemoval
from graphmesh_orchestrator.threads.retention import Retention
from graphmesh_orchestrator.threads.states import ThreadStates
from graphmesh_orchestrator.threads.thread import Removed, State, Thread, ThreadStatus
from graphmesh_orchestrator.threads.threads_sql import FOR_EVER, SqlThreads
from graphmesh_orchestrator.webhooks.deliveries_sql import deliveries
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, StateSnapshot, interrupt

from tests.contract.checkpoints import kit

LETTERS = ["a", "b", "c", "d", "e"]
DAY = timedelta(days=1)
ALL = (threads, runs, events, interrupts, deliveries, checkpoints, task_writes, artifacts)


def registered(name: str, compiled: CompiledStateGraph[Any, Any, Any, Any]) -> Graph:
    schema = json_schema(compiled.builder.state_schema)
    return Graph(name, "", compiled, {**schema, "additionalProperties": False}, schema)


def summing(saver: BaseCheckpointSaver[Any]) -> CompiledStateGraph[Any, Any, Any, Any]:
    """A delta channel, whose values are made from what tasks have written."""
    return kit.chain(saver, kit.Delta)


def twice(saver: BaseCheckpointSaver[Any]) -> CompiledStateGraph[Any, Any, Any, Any]:
    """Two nodes write at once, so that none of them was the last."""
    builder = StateGraph(kit.State)
    for name in ("a", "b"):
        builder.add_node(name, lambda state: {"log": ["x"]})
        builder.add_edge(START, name)
        builder.add_edge(name, END)
    return builder.compile(checkpointer=saver)


def asking(saver: BaseCheckpointSaver[Any]) -> CompiledStateGraph[Any, Any, Any, Any]:
    builder = StateGraph(kit.State)
    builder.add_node("ask", lambda state: {"answer": interrupt("sure?")})
    builder.add_edge(START, "ask")
    return builder.compile(checkpointer=saver)


GRAPHS = {"chain": kit.chain, "sub": kit.asking, "summing": summing, "twice": twice, "asking": asking}


@dataclass
class Threads:
    """The parts that serve threads, and LangGraph beside them."""

    database: Database
    saver: LogSaver
    graphs: Registry

    def __post_init__(self) -> None:
        self.stored = SqlThreads(self.database, self.saver.serde)
        self.states = ThreadStates(self.database, self.graphs)
        self.removal = SqlRemoval(self.database, self.saver.serde)

    async def made(self, graph: str = "chain", thread_id: str = "th", **values: Any) -> Thread:
        """A thread on which the graph has run."""
        made = await self.stored.create("acme", thread_id, graph, {}, 0)
        await self.invoke(graph, thread_id, values or {"log": []})
        return made

    async def invoke(self, graph: str, thread_id: str, given: Any) -> Any:
        return await self.graphs.get(graph).compiled.ainvoke(given, at(thread_id), durability="sync")

    async def history(self, graph: str = "chain", thread_id: str = "th") -> list[StateSnapshot]:
        """As LangGraph says it."""
        return [found async for found in self.graphs.get(graph).compiled.aget_state_history(at(thread_id))]

    async def listed(self, thread: Thread) -> list[State]:
        """Its history."""
        return [state async for state in self.states.history(thread)]

    async def log(self, thread_id: str = "th", checkpoint_id: str = "") -> Any:
        state = await self.states.get(await self.stored.get("acme", thread_id), checkpoint_id)
        return state.values.get("log")

    async def count(self, *tables: sa.Table) -> list[int]:
        async with self.database.read() as connection:
            counted = [await connection.execute(sa.select(sa.func.count()).select_from(table)) for table in tables]
            return [int(result.scalar_one()) for result in counted]

    async def run(
        self, thread_id: str = "th", status: str = "running", ago: timedelta = timedelta(), **more: Any
    ) -> Run:
        """A run on the thread, with an event, that stands as said and was added, and ended, so long ago."""
        moment = datetime.now(UTC) - ago
        values: dict[str, Any] = {"tenant": "acme", "graph": "chain", "run_id": f"run_{thread_id}_{status}", **more}
        made = Run(
            subject="ana", thread_id=thread_id, input={}, created=moment, deadline=moment, recursion_limit=25, **values
        )
        await SqlRuns(self.database).add(made, "worker")
        over = status not in ("running", "interrupted")
        async with self.database.transaction() as connection:
            stands = {"status": status, "holds_thread": not over, "ended": moment if over else None}
            await connection.execute(sa.update(runs).where(runs.c.run_id == made.run_id).values(stands))
            event = {"run_id": made.run_id, "seq": 1, "time": moment, "kind": "custom", "node": "", "data": {}}
            await connection.execute(sa.insert(events).values(event))
        return made

    async def announced(self, run: Run) -> None:
        """The run's end is to be delivered somewhere."""
        row = {"delivery_id": f"del_{run.run_id}", "tenant": "acme", "run_id": run.run_id, "url": "", "host": ""}
        stands = {"created": run.created, "next_attempt": 0, "status": "pending", "attempts": 0, "last_error": ""}
        async with self.database.transaction() as connection:
            await connection.execute(sa.insert(deliveries).values(**row, **stands))

    async def used(self, thread_id: str, ago: timedelta) -> None:
        async with self.database.transaction() as connection:
            used = sa.update(threads).where(threads.c.thread_id == thread_id)
            await connection.execute(used.values(used=datetime.now(UTC) - ago))


def at(thread_id: str) -> Any:
    return kit.at(saver_thread("acme", thread_id))


@pytest_asyncio.fixture
async def here(database: Database, commits: GroupCommit) -> AsyncIterator[Threads]:
    saver = LogSaver(database, commits)
    graphs = Registry({name: registered(name, graph(saver)) for name, graph in GRAPHS.items()})
    yield Threads(database, saver, graphs)


async def test_a_thread_is_made_once(here: Threads) -> None:
    """It has what was stated, and no state yet."""
    made = await here.stored.create("acme", "th", "chain", {"team": "ink"}, 3600)
    assert (made.graph, made.labels, made.status) == ("chain", {"team": "ink"}, ThreadStatus.IDLE)
    assert made.expires == made.updated + timedelta(hours=1)
    assert await here.states.get(made) == State()
    assert await here.listed(made) == []
    with pytest.raises(AlreadyExists):
        await here.stored.create("acme", "th", "", {}, 0)
    await here.stored.create("other", "th", "", {}, 0)


async def test_a_threads_status_is_that_of_the_run_that_has_it(here: Threads) -> None:
    """Derived, so that it is never out of date; lists are filtered by it."""
    for name in ("running", "interrupted", "success"):
        await here.run(name, name)
    await here.stored.create("acme", "new", "", {}, 0)
    stands = {"running": ThreadStatus.BUSY, "interrupted": ThreadStatus.INTERRUPTED, "success": ThreadStatus.IDLE}
    for name, status in {**stands, "new": ThreadStatus.IDLE}.items():
        assert (await here.stored.get("acme", name)).status is status
        assert name in [found.thread_id for found in await here.stored.find("acme", "", status, None, 10)]
    assert len(await here.stored.find("acme", "", ThreadStatus.IDLE, None, 10)) == 2


async def test_lists_go_on_where_they_stopped(here: Threads) -> None:
    """Page by page every thread comes once, the newest first; other graphs' and tenants' are left out."""
    for number in range(7):
        await here.stored.create("acme", f"th_{number}", "chain", {}, 0)
    await here.stored.create("acme", "another", "sub", {}, 0)
    await here.stored.create("other", "th_0", "chain", {}, 0)
    found: list[Thread] = []
    while page := await here.stored.find("acme", "chain", None, _position(found), 3):
        found += page
    assert [thread.thread_id for thread in found] == [f"th_{number}" for number in range(6, -1, -1)]


def _position(found: list[Thread]) -> tuple[datetime, str] | None:
    return (found[-1].created, found[-1].thread_id) if found else None


async def test_labels_and_time_to_live_change_where_stated(here: Threads) -> None:
    """A label with an empty value goes, the others stay; threads that state no time have that of the settings."""
    await here.stored.create("acme", "th", "", {"a": "1", "b": "2"}, 60)
    changed = await here.stored.update("acme", "th", {"a": "", "c": "3"}, None)
    assert (changed.labels, changed.time_to_live) == ({"b": "2", "c": "3"}, timedelta(minutes=1))
    assert (await here.stored.update("acme", "th", {}, FOR_EVER)).time_to_live is None
    usual = SqlThreads(here.database, here.saver.serde, default_ttl=5)
    assert (await usual.get("acme", "th")).time_to_live is None
    assert (await usual.update("acme", "th", {}, 0)).time_to_live == timedelta(seconds=5)


async def test_the_history_is_langgraphs_own(here: Threads) -> None:
    """Every state with its values, what comes next, parent and metadata, in LangGraph's order, also page by page."""
    thread = await here.made()
    expected = await here.history()
    found = await here.listed(thread)
    assert [state.checkpoint_id for state in found] == [one.config["configurable"]["checkpoint_id"] for one in expected]
    assert [state.values for state in found] == [one.values for one in expected]
    assert [state.next for state in found] == [one.next for one in expected]
    assert [state.metadata for state in found] == [one.metadata for one in expected]
    assert [state.parent_id for state in found] == [*[state.checkpoint_id for state in found[1:]], ""]
    assert [state async for state in here.states.history(thread, found[2].checkpoint_id)] == found[3:]
    assert [await here.states.get(thread, state.checkpoint_id) for state in found] == found


async def test_a_state_says_what_is_asked(here: Threads) -> None:
    """Interrupts have their ids, with which a run is resumed."""
    thread = await here.made("asking")
    state = await here.states.get(thread)
    [snapshot] = (await here.history("asking"))[:1]
    assert [(one.interrupt_id, one.node, one.value) for one in state.interrupts] == [
        (snapshot.interrupts[0].id, "ask", "sure?")
    ]
    assert list(state.next) == ["ask"]


async def test_what_is_not_there_is_told(here: Threads) -> None:
    """A checkpoint of another thread is none of this one's; a graph may be gone."""
    thread, other = await here.made(), await here.made(thread_id="th_2")
    [newest, *_] = await here.listed(other)
    with pytest.raises(NotFound, match="checkpoint"):
        await here.states.get(thread, newest.checkpoint_id)
    with pytest.raises(NotFound, match="checkpoint"):
        await here.states.update(thread, {}, "a", newest.checkpoint_id)
    with pytest.raises(NotFound, match="checkpoint"):
        await here.stored.fork("acme", "th", newest.checkpoint_id, "new")
    with pytest.raises(NotFound, match="new"):
        await here.stored.get("acme", "new")
    with pytest.raises(GraphNotFound):
        await here.states.get(replace(thread, graph="gone"))


async def test_an_update_is_a_checkpoint_as_if_a_node_had_made_it(here: Threads) -> None:
    """Reducers reduce, what follows the node comes next, and the graph goes on from there."""
    thread = await here.made()
    state = await here.states.update(thread, {"log": ["by hand"], "document": "d"}, "c", "")
    assert state.values == {"log": [*LETTERS, "by hand"], "document": "d"}
    assert (list(state.next), state.metadata["source"]) == (["d"], "update")
    assert (await here.states.get(thread)) == state
    assert (await here.stored.get("acme", "th")).updated > thread.updated
    await here.invoke("chain", "th", None)
    assert await here.log() == [*LETTERS, "by hand", "d", "e"]


async def test_an_update_is_by_the_last_node_where_none_is_named(here: Threads) -> None:
    """Where two were last, one has to be named."""
    state = await here.states.update(await here.made(), {"document": "d"}, "", "")
    assert (state.values["document"], list(state.next)) == ("d", [])
    with pytest.raises(InvalidInput) as refused:
        await here.states.update(await here.made("twice", "th_2"), {"document": "d"}, "", "")
    assert [violation.field for violation in refused.value.violations] == ["as_node"]


async def test_an_update_gives_a_new_thread_its_state(here: Threads) -> None:
    """As its graph's input; from there a run goes on without one. It needs a graph."""
    thread = await here.stored.create("acme", "th", "chain", {}, 0)
    state = await here.states.update(thread, {"log": ["seed"]}, "", "")
    assert (state.values, list(state.next)) == ({"log": ["seed"]}, ["a"])
    await here.invoke("chain", "th", None)
    assert await here.log() == ["seed", *LETTERS]
    bare = await here.stored.create("acme", "bare", "", {}, 0)
    with pytest.raises(InvalidInput):
        await here.states.update(bare, {}, "", "")


async def test_an_update_of_an_old_checkpoint_forks_the_thread_there(here: Threads) -> None:
    """The new checkpoint follows the old one and is the newest; what came after the old one stays in the history."""
    thread = await here.made()
    old = (await here.listed(thread))[3]
    state = await here.states.update(thread, {"log": ["other"]}, "", old.checkpoint_id)
    assert (state.parent_id, state.values["log"]) == (old.checkpoint_id, ["a", "b", "other"])
    assert (await here.states.get(thread)) == state
    assert len(await here.listed(thread)) == 8


@pytest.mark.parametrize(
    ("values", "as_node", "fields"),
    [
        ({"colour": "red"}, "a", ["values.colour"]),
        ({"colour": "red", "smell": 1, "log": []}, "", ["values.colour", "values.smell", "as_node"]),
        ({"document": 7}, "a", ["values.document"]),
        ({"log": 7}, "a", ["values"]),
        ({}, "nobody", ["as_node"]),
        ({}, "__copy__", ["as_node"]),
        ({"colour": "red"}, "__end__", ["values.colour", "as_node"]),
    ],
)
async def test_what_does_not_fit_is_named(here: Threads, values: Any, as_node: str, fields: list[str]) -> None:
    """Unknown fields, other types, what a reducer cannot take, unknown nodes: nothing is stored (A3)."""
    thread = await here.made()
    before = await here.count(*ALL)
    with pytest.raises(InvalidRequest) as refused:
        await here.states.update(thread, values, as_node, "")
    assert [violation.field for violation in refused.value.violations] == fields
    assert await here.count(*ALL) == before


async def test_updates_at_once_follow_one_another_or_are_told(here: Threads) -> None:
    """Of ten, each is in the state, or its writer has heard of the conflict. None is lost in silence."""
    thread = await here.made()
    updates = [here.states.update(thread, {"log": [str(number)]}, "a", "") for number in range(10)]
    outcomes = await asyncio.gather(*updates, return_exceptions=True)
    stored = [str(number) for number, outcome in enumerate(outcomes) if isinstance(outcome, State)]
    assert stored
    assert all(isinstance(outcome, State | CheckpointConflict) for outcome in outcomes)
    assert sorted((await here.log())[5:]) == stored


async def test_an_update_from_a_state_that_is_no_more_the_newest_is_told(here: Threads) -> None:
    """A run that began and ended while the update was made has written after the same checkpoint, or the first one."""
    for name, values in (("old", {"log": ["x"]}), ("new", {})):
        thread = await here.made(thread_id=name) if values else await here.stored.create("acme", name, "chain", {}, 0)
        between: Any = _Between(here, name)
        with pytest.raises(CheckpointConflict):
            await ThreadStates(between, here.graphs).update(thread, {"log": ["mine"]}, "a", "")
        assert "mine" not in await here.log(name)


async def test_an_update_of_a_checkpoint_that_is_pruned_meanwhile_is_told(here: Threads) -> None:
    """Its values would be gone."""
    thread = await here.made()
    old = (await here.listed(thread))[3]
    pruning: Any = _Pruning(here)
    with pytest.raises(CheckpointConflict):
        await ThreadStates(pruning, here.graphs).update(thread, {}, "a", old.checkpoint_id)
    assert await here.log() == LETTERS


@dataclass
class _Pruning:
    """Prunes threads when the transaction of an update is about to begin."""

    here: Threads

    def __getattr__(self, name: str) -> Any:
        return getattr(self.here.database, name)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        await self.here.removal.prune("acme", timedelta(), delete=False, dry_run=False)
        async with self.here.database.transaction() as connection:
            yield connection


@dataclass
class _Between:
    """Runs the graph to its end when the transaction of an update is about to begin."""

    here: Threads
    thread_id: str

    def __getattr__(self, name: str) -> Any:
        return getattr(self.here.database, name)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        await self.here.invoke("chain", self.thread_id, {"log": ["run"]})
        async with self.here.database.transaction() as connection:
            yield connection


@pytest.mark.parametrize("status", ["running", "interrupted"])
async def test_what_a_run_has_is_not_changed(here: Threads, status: str) -> None:
    """Neither updated nor deleted, pruned or expired, a parked run's neither; a fork only reads (B7)."""
    thread = await here.made()
    run = await here.run(status=status)
    await here.used("th", 9 * DAY)
    before = await here.count(*ALL)
    for change in (here.states.update(thread, {}, "a", ""), here.removal.delete("acme", "th")):
        with pytest.raises(ThreadBusy, match=run.run_id):
            await change
    for delete in (True, False):
        assert await here.removal.prune("acme", timedelta(), delete, dry_run=False) == Removed()
    assert await SqlRemoval(here.database, here.saver.serde, default_ttl=1).expire() == 0
    assert await here.count(*ALL) == before
    assert (await here.stored.fork("acme", "th", "", "copy")).status is ThreadStatus.IDLE


async def test_runs_and_deletions_at_once(here: Threads) -> None:
    """Either the run was first, and the deletion is refused, or the run has a new thread."""
    for number in range(10):
        await here.made(thread_id=f"th_{number}")
        outcomes = await asyncio.gather(
            here.removal.delete("acme", f"th_{number}"), here.run(f"th_{number}"), return_exceptions=True
        )
        assert isinstance(outcomes[1], Run)
        assert isinstance(outcomes[0], Removed | ThreadBusy)
        assert (await here.stored.get("acme", f"th_{number}")).status is ThreadStatus.BUSY
        assert (await here.log(f"th_{number}")) == (LETTERS if isinstance(outcomes[0], ThreadBusy) else None)


async def test_a_deleted_thread_leaves_nothing(here: Threads) -> None:
    """Its runs, events, questions, states and what tasks wrote are gone; another thread is as it was."""
    await here.made("asking")
    before = await here.count(*ALL)
    await here.made("sub", "th_2")
    ended = await here.run("th_2", "success", graph="sub")
    asked = {"run_id": ended.run_id, "interrupt_id": "i", "tenant": "acme", "node": "ask", "value": 1, "status": "x"}
    empty = {"created": datetime.now(UTC), "answered_by": "", "expires": 0, "comment": ""}
    async with here.database.transaction() as connection:
        await connection.execute(sa.insert(interrupts).values(**asked, **empty))
    await here.announced(ended)
    await here.states.update(await here.stored.get("acme", "th_2"), {"document": "x" * 100_000}, "other", "")
    removed = await here.removal.delete("acme", "th_2")
    assert (removed.threads, removed.runs) == (1, 1)
    assert await here.count(*ALL) == before
    with pytest.raises(NotFound):
        await SqlRuns(here.database).get("acme", ended.run_id)
    with pytest.raises(NotFound):
        await here.removal.delete("acme", "th_2")


@pytest.mark.parametrize("graph", ["chain", "summing"])
async def test_a_fork_begins_at_a_checkpoint(here: Threads, graph: str) -> None:
    """It has the history up to there, and both go separate ways from then on, also in delta channels."""
    thread = await here.made(graph)
    states = await here.listed(thread)
    at_b = next(state for state in states if state.values["log"] == ["a", "b"])
    fork = await here.stored.fork("acme", "th", at_b.checkpoint_id, "fork")
    assert await here.listed(fork) == states[states.index(at_b) :]
    await here.states.update(fork, {"log": ["other"]}, "", "")
    await here.invoke(graph, "fork", None)
    assert await here.log("fork") == ["a", "b", "other", "c", "d", "e"]
    assert await here.listed(thread) == states
    await here.removal.delete("acme", "th")
    assert await here.log("fork") == ["a", "b", "other", "c", "d", "e"]


async def test_a_fork_has_big_values_of_its_own(here: Threads) -> None:
    """Also those that are stored aside."""
    thread = await here.made(document="x" * 100_000)
    fork = await here.stored.fork("acme", "th", "", "fork")
    await here.removal.delete("acme", thread.thread_id)
    assert (await here.states.get(fork)).values["document"] == "x" * 100_000


async def test_a_fork_of_a_question_is_answered_for_itself(here: Threads) -> None:
    """What is asked in a subgraph, and what the nodes beside have done, comes along."""
    thread = await here.made("sub")
    fork = await here.stored.fork("acme", "th", "", "fork")
    [asked] = (await here.states.get(fork)).interrupts
    done = await here.invoke("sub", "fork", Command(resume={asked.interrupt_id: "yes"}))
    assert (done["answer"], sorted(done["log"])) == ("yes", ["ask", "end", "other"])
    assert [one.interrupt_id for one in (await here.states.get(thread)).interrupts] == [asked.interrupt_id]


async def test_a_fork_is_a_thread_of_its_own(here: Threads) -> None:
    """With the other's graph, labels and time to live, under an id that nobody has; of a thread without state too."""
    await here.stored.create("acme", "th", "chain", {"team": "ink"}, 60)
    fork = await here.stored.fork("acme", "th", "", "fork")
    assert (fork.graph, fork.labels, fork.time_to_live) == ("chain", {"team": "ink"}, timedelta(minutes=1))
    assert await here.states.get(fork) == State()
    with pytest.raises(AlreadyExists):
        await here.stored.fork("acme", "th", "", "fork")
    with pytest.raises(NotFound):
        await here.stored.fork("other", "th", "", "theirs")


async def test_pruning_keeps_each_threads_newest_state(here: Threads) -> None:
    """Of threads that were not used for so long; it says how much, and a dry run says the same."""
    for number in range(25):
        await here.made(thread_id=f"th_{number}")
        await here.used(f"th_{number}", number * DAY)
    thread = await here.stored.get("acme", "th_24")
    newest = (await here.listed(thread))[:1]
    expected = Removed(threads=5, checkpoints=30)
    for dry_run in (True, False):
        assert await here.removal.prune("acme", 20 * DAY, delete=False, dry_run=dry_run) == expected
    assert await here.removal.prune("acme", 20 * DAY, delete=False, dry_run=False) == Removed()
    assert await here.listed(thread) == newest
    assert await here.log("th_24") == LETTERS
    await here.states.update(thread, {"log": ["f"]}, "e", "")
    assert await here.log("th_24") == [*LETTERS, "f"]
    assert len(await here.history(thread_id="th_19")) == 7


async def test_pruning_deletes_threads_with_their_runs(here: Threads) -> None:
    """Those of other tenants, and those on which a run has ended since, stay."""
    for number in range(25):
        await here.made(thread_id=f"th_{number}")
        await here.run(f"th_{number}", "success", ago=9 * DAY)
        await here.used(f"th_{number}", 9 * DAY)
    await here.run("fresh", "success", ago=DAY)
    await here.used("fresh", 9 * DAY)
    await here.stored.create("other", "theirs", "", {}, 0)
    await here.used("theirs", 9 * DAY)
    expected = Removed(threads=25, runs=25, checkpoints=175)
    for dry_run in (True, False):
        assert await here.removal.prune("acme", 8 * DAY, delete=True, dry_run=dry_run) == expected
    assert [thread.thread_id for thread in await here.stored.find("acme", "", None, None, 10)] == ["fresh"]
    assert await here.count(threads, runs, events, checkpoints, task_writes) == [2, 1, 1, 0, 0]


async def test_exactly_what_is_over_expires(here: Threads) -> None:
    """By the thread's own time to live, or that of the settings; last used is when its last run ended."""
    expired = {"own": (60, 2), "usual": (0, 6)}
    kept = {"own_young": (600, 2), "usual_young": (0, 4), "for_ever": (FOR_EVER, 99), "ended_late": (0, 9)}
    for name, (ttl, minutes) in {**expired, **kept}.items():
        await here.stored.create("acme", name, "", {}, ttl)
        await here.used(name, timedelta(minutes=minutes))
    await here.run("ended_late", "success", ago=timedelta(minutes=1))
    await here.used("ended_late", timedelta(minutes=9))
    await here.run("parked", "interrupted", ago=9 * DAY)
    await here.run("waiting", "success", ago=9 * DAY)
    await here.run("waiting", "pending", ago=9 * DAY, run_id="later", due=datetime.now(UTC).timestamp() + 99)
    async with here.database.transaction() as connection:
        await connection.execute(sa.update(runs).where(runs.c.run_id == "later").values(holds_thread=False, ended=None))
    await Retention(SqlRemoval(here.database, here.saver.serde, default_ttl=300)).look()
    left = {thread.thread_id for thread in await here.stored.find("acme", "", None, None, 99)}
    assert left == {*kept, "parked", "waiting"}


async def test_orchestrators_share_what_expires(here: Threads) -> None:
    """Each thread is deleted by one of them."""
    for number in range(45):
        await here.stored.create("acme", f"th_{number}", "", {}, 1)
        await here.used(f"th_{number}", DAY)
    while any(deleted := await asyncio.gather(*(here.removal.expire() for _ in range(3)))):
        assert sum(deleted) <= 45
    assert await here.count(threads) == [0]


async def test_old_runs_go_and_their_thread_stays(here: Threads) -> None:
    """With their events; younger ones, those that have not ended, and those whose end is not delivered, stay."""
    await here.made()
    for number, status in enumerate(("success", "error", "timeout")):
        await here.run("th", status, ago=(9 - number) * DAY)
    announced = await here.run("th", "success", ago=9 * DAY, run_id="announced")
    await here.announced(announced)
    parked = await here.run("th", "interrupted", ago=9 * DAY)
    await Retention(here.removal, run_seconds=7.5 * 86400).look()
    left = await SqlRuns(here.database).find("acme", {}, None, 10)
    assert {run.run_id for run in left} == {"run_th_timeout", "announced", parked.run_id}
    assert await here.count(events) == [3]
    assert await here.log() == LETTERS


async def test_nobody_sees_another_tenants_threads(here: Threads) -> None:
    """NOT_FOUND, as if there were none."""
    await here.made()
    thread = await here.stored.create("other", "th", "chain", {}, 0)
    assert await here.states.get(thread) == State()
    await here.removal.delete("other", "th")
    for refused in (
        here.stored.get("other", "th"),
        here.stored.update("other", "th", {}, 0),
        here.stored.fork("other", "th", "", "mine"),
        here.removal.delete("other", "th"),
    ):
        with pytest.raises(NotFound):
            await refused
    assert await here.stored.find("other", "", None, None, 10) == []
    assert await here.removal.prune("other", timedelta(), delete=True, dry_run=False) == Removed()
    assert await here.log() == LETTERS
