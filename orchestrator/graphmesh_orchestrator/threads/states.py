"""Reads, lists and updates the states of threads."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import structlog
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import FieldViolation, GraphmeshError, InvalidInput, NotFound
from graphmesh_chassis.large_values import convert_aside, is_large
from graphmesh_contracts.keys import checkpoint_thread
from graphmesh_nodes.breakpoints import STOPPED_AT, stopped_at
from graphmesh_nodes.errors import ValueNotStorable
from graphmesh_nodes.graph_inputs import GraphInput
from graphmesh_nodes.json_values import JsonEncoder
from langchain_core.runnables import RunnableConfig
from langgraph.constants import START
from langgraph.errors import InvalidUpdateError
from langgraph.types import StateSnapshot

from graphmesh_orchestrator.checkpoints.deferred_commit import DeferredCommit
from graphmesh_orchestrator.checkpoints.history import History
from graphmesh_orchestrator.interrupts.interrupts import Interrupts
from graphmesh_orchestrator.registry import Graph, Registry
from graphmesh_orchestrator.runs.runs import Runs
from graphmesh_orchestrator.threads.snapshots import checkpoint_id_of, deciding_channels, listed_state, state_of
from graphmesh_orchestrator.threads.states_sql import store_update
from graphmesh_orchestrator.threads.subgraphs import ThreadGraph
from graphmesh_orchestrator.threads.thread import State, Thread

log = structlog.get_logger("graphmesh.threads")


class ThreadStates:
    """The states of the threads of all tenants."""

    def __init__(self, database: Database, registry: Registry, interrupts: Interrupts, runs: Runs) -> None:
        self._database, self._registry, self._interrupts, self._runs = database, registry, interrupts, runs

    async def get(
        self, thread: Thread, checkpoint_id: str = "", namespace: Sequence[str] = (), *, subgraphs: bool = False
    ) -> State:
        """Return the state at a checkpoint, or the newest one, which is empty where the thread has none.

        Args:
            namespace: the subgraph to read; empty: the thread's graph.
            subgraphs: whether to read the states of the subgraphs of unfinished nodes too, at all levels.

        Raises:
            NotFound: the thread has no such checkpoint, or the graph no such subgraph.
            GraphNotFound: the thread's graph is no longer registered.
            GraphFactoryFailed: it has a factory, which failed.
        """
        if not thread.graph:
            return await self._without_graph(checkpoint_id, namespace)
        async with self._graph_of(thread) as graph:
            of = ThreadGraph.of(thread, graph, namespace)
            snapshot = await _read(of, checkpoint_id)
            state = await _state_of(of, snapshot, JsonEncoder(), subgraphs=subgraphs) if snapshot else State()
        if not state.has_interrupts:
            return state
        return state.with_interrupts(await self._interrupts.of_thread(thread.tenant, thread.thread_id))

    @asynccontextmanager
    async def _graph_of(self, thread: Thread) -> AsyncIterator[Graph]:
        """Return the graph of a thread; where a factory makes it, as for the newest run with a config.

        Raises:
            GraphNotFound: it is no longer registered.
            GraphFactoryFailed: its factory failed.
        """
        graph, run = self._registry.get(thread.graph), None
        if graph.factory:
            found = await self._runs.find(thread.tenant, {"thread_id": thread.thread_id}, None, 1, contents=False)
            run = next(iter(found), None)
        if run is None:
            yield graph
            return
        async with graph.of_run(run) as own:
            yield own

    async def _without_graph(self, checkpoint_id: str, namespace: Sequence[str]) -> State:
        if namespace:
            raise NotFound(resource="subgraph", id="|".join(namespace))
        if checkpoint_id:
            raise NotFound(resource="checkpoint", id=checkpoint_id)
        return State()

    async def history(
        self, thread: Thread, before: str = "", namespace: Sequence[str] = (), *, is_basic: bool = False
    ) -> AsyncGenerator[State, None]:
        """Yield the states, or those before the checkpoint `before`, the newest first; of a subgraph by its namespace.

        Without their values and those of their interrupts, where `is_basic`; then these are not read. A state that
        cannot be shown has the reason in `not_shown`.

        Raises:
            GraphNotFound: the thread's graph is no longer registered.
            GraphFactoryFailed: it has a factory, which failed.
        """
        if not thread.graph:
            return
        async with self._graph_of(thread) as graph:
            of, name = ThreadGraph.of(thread, graph, namespace), checkpoint_thread(thread.tenant, thread.thread_id)
            history = History(self._database, graph.saver.serde, graph.saver.load)
            async for listed in history.read(name, of.ns, before, deciding_channels(of.compiled), is_basic=is_basic):
                yield await listed_state(of, listed, is_basic=is_basic)

    async def update(
        self, thread: Thread, values: Mapping[str, Any], as_node: str, checkpoint_id: str, namespace: Sequence[str] = ()
    ) -> State:
        """Write a checkpoint after the newest one, or after `checkpoint_id`, as if `as_node` had made the update.

        Of a subgraph by its namespace; then node and checkpoint are its own.

        LangGraph's writes are deferred and stored in one transaction, in which no run holds the thread or is added to
        it, and the newest checkpoint is still the one that the update was made from. A run that is parked at a
        breakpoint holds the thread, and resumes from the update.

        Raises:
            NotFound: the thread has no such checkpoint, or the graph no such subgraph.
            GraphNotFound: the thread's graph is no longer registered.
            GraphFactoryFailed: it has a factory, which failed.
            InvalidInput: the values do not fit the graph's state, or there is no such node.
            ThreadBusy: a run holds the thread, or waits for it, and is not parked at a breakpoint.
            CheckpointConflict: the thread has another newest checkpoint by now, or the named one was pruned.
        """
        if not thread.graph:
            raise InvalidInput(violations=[FieldViolation("thread_id", "is of a thread without a graph")])
        async with self._graph_of(thread) as own:
            of = ThreadGraph.of(thread, own, namespace)
            graph, before = of.graph, await _read(of, checkpoint_id)
            if as_node:
                values = _checked(graph, values, as_node, before)
            else:
                values = _check_last_node(graph, values, await _last_node(of, checkpoint_id), before)
            deferred = DeferredCommit(self._database)
            config = of.config(checkpoint_id, of.root.saver.with_commits(deferred))
            if before and before.next and not checkpoint_id:
                config["metadata"] = {STOPPED_AT: stopped_at(before)}
            written = await _update_state(of, config, values, as_node)
        parent = checkpoint_id_of(before)
        await store_update(self._database, thread, deferred, of.ns, parent, is_newest=not checkpoint_id)
        return await self.get(thread, written["configurable"]["checkpoint_id"], namespace)


async def _read(of: ThreadGraph, checkpoint_id: str) -> StateSnapshot | None:
    """Return LangGraph's state; None where the graph has none. Raises NotFound where it lacks the checkpoint."""
    state = await of.compiled.aget_state(of.config(checkpoint_id))
    if state.created_at is not None:
        return state
    if checkpoint_id:
        raise NotFound(resource="checkpoint", id=checkpoint_id)
    return None


async def _state_of(of: ThreadGraph, snapshot: StateSnapshot, encoder: JsonEncoder, *, subgraphs: bool) -> State:
    """Return a state, and with `subgraphs` those of the subgraphs that have one; one message has them all."""
    state = await convert_aside(is_large(snapshot.values), state_of, snapshot, encoder)
    if not subgraphs:
        return state
    tasks = [replace(task, state=await _subgraph_state(of, task.namespace, encoder)) for task in state.tasks]
    return replace(state, tasks=tasks)


async def _subgraph_state(of: ThreadGraph, namespace: Sequence[str], encoder: JsonEncoder) -> State | None:
    if not namespace:
        return None
    try:
        inner = ThreadGraph.of(of.thread, of.root, namespace)
    except NotFound:  # it has no checkpoints
        return None
    snapshot = await _read(inner, "")
    return await _state_of(inner, snapshot, encoder, subgraphs=True) if snapshot else None


async def _update_state(
    of: ThreadGraph, config: RunnableConfig, values: Mapping[str, Any], as_node: str
) -> RunnableConfig:
    """Let LangGraph make the checkpoint. Raises InvalidInput where it, or a reducer of the graph, fails."""
    graph = of.root
    try:
        return await of.compiled.aupdate_state(config, dict(values), as_node or None)
    except ValueNotStorable as error:
        violation = FieldViolation(f"values.{error.data['key']}", error.data["rule"])
        raise InvalidInput(violations=[violation], graph=graph.name) from error
    except GraphmeshError:
        raise
    except InvalidUpdateError as error:
        field = "values" if as_node else "as_node"
        raise InvalidInput(violations=[FieldViolation(field, str(error).partition("\n")[0])]) from error
    except Exception as error:
        log.warning("update refused", graph=graph.name, exc_info=error)
        cause = f"cannot be applied to the state: {type(error).__name__}"
        raise InvalidInput(violations=[FieldViolation("values", cause)]) from error


def _nodes(graph: Graph) -> list[str]:
    return [name for name in graph.compiled.nodes if name != START]


async def _last_node(of: ThreadGraph, checkpoint_id: str) -> str:
    """Return the node that wrote last, or the input. LangGraph refuses several; one of them is returned."""
    saved = await of.root.saver.aget_tuple(of.config(checkpoint_id))
    seen = saved.checkpoint["versions_seen"] if saved else {}
    nodes = (START, *(name for name in of.compiled.nodes if name != START))
    wrote = [(version, name) for name in nodes for version in seen.get(name, {}).values()]
    return max(wrote, default=(0, START))[1]


def _check_last_node(
    graph: Graph, values: Mapping[str, Any], last_node: str, before: StateSnapshot | None
) -> dict[str, Any]:
    """Check an update that names no node against the last one, which the error then names."""
    try:
        return _checked(graph, values, last_node, before)
    except InvalidInput as error:
        assumed = FieldViolation("as_node", f"is not stated, and the last node that wrote is {last_node}")
        raise InvalidInput(violations=[*error.violations, assumed], graph=graph.name) from error


def _checked(graph: Graph, values: Mapping[str, Any], as_node: str, before: StateSnapshot | None) -> dict[str, Any]:
    """Return the values by channel. Raises InvalidInput, which names every bad field."""
    if not isinstance(graph.input, GraphInput) or graph.update is None:
        raise InvalidInput(violations=[FieldViolation("values", "are of a workflow, whose state has no fields")])
    update = graph.input.partial() if as_node == START else graph.update
    violations = list(update.violations(values, before.values if before else {}, "values"))
    if as_node not in (START, *_nodes(graph)):
        nodes = ", ".join(_nodes(graph))
        violations.append(FieldViolation("as_node", f"is none of {START}, {nodes}"))
    if violations:
        raise InvalidInput(violations=violations, graph=graph.name)
    return update.by_channel(values)
