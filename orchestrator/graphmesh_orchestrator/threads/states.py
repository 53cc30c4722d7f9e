"""Reads, lists and updates the states of threads."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from typing import Any

import structlog
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import FieldViolation, GraphmeshError, InvalidInput, NotFound
from graphmesh_chassis.large_values import convert_aside, is_large
from graphmesh_contracts.keys import checkpoint_thread
from graphmesh_nodes.errors import ValueNotStorable
from graphmesh_nodes.graph_inputs import GraphInput
from langchain_core.runnables import RunnableConfig
from langgraph.constants import START
from langgraph.errors import InvalidUpdateError
from langgraph.types import StateSnapshot

from graphmesh_orchestrator.checkpoints import LogSaver, thread_config
from graphmesh_orchestrator.checkpoints.deferred_commit import DeferredCommit
from graphmesh_orchestrator.checkpoints.history import History
from graphmesh_orchestrator.interrupts.interrupts import Interrupts
from graphmesh_orchestrator.registry import Graph, Registry
from graphmesh_orchestrator.threads.snapshots import checkpoint_id_of, deciding_channels, listed_state, state_of
from graphmesh_orchestrator.threads.states_sql import store_update
from graphmesh_orchestrator.threads.thread import State, Thread

log = structlog.get_logger("graphmesh.threads")


class ThreadStates:
    """The states of the threads of all tenants."""

    def __init__(self, database: Database, registry: Registry, interrupts: Interrupts) -> None:
        self._database, self._registry, self._interrupts = database, registry, interrupts

    async def get(self, thread: Thread, checkpoint_id: str = "") -> State:
        """Return the state at a checkpoint, or the newest one, which is empty where the thread has none.

        Raises:
            NotFound: the thread has no such checkpoint.
            GraphNotFound: the thread's graph is no longer registered.
        """
        snapshot = await self._read(thread, checkpoint_id)
        state = State()
        if snapshot is not None:
            state = await convert_aside(is_large(snapshot.values), state_of, snapshot)
        if not state.interrupts:
            return state
        stored = await self._interrupts.of_thread(thread.tenant, thread.thread_id)
        interrupts = [stored.get(interrupt.interrupt_id, interrupt) for interrupt in state.interrupts]
        return replace(state, interrupts=interrupts)

    async def history(self, thread: Thread, before: str = "", *, is_basic: bool = False) -> AsyncGenerator[State, None]:
        """Yield the states, or those before the checkpoint `before`, the newest first.

        Without their values and those of their interrupts, where `is_basic`; then these are not read. A state that
        cannot be shown has the reason in `not_shown`.

        Raises:
            GraphNotFound: the thread's graph is no longer registered.
        """
        if not thread.graph:
            return
        graph = self._registry.get(thread.graph)
        name, deciding = checkpoint_thread(thread.tenant, thread.thread_id), deciding_channels(graph)
        history = History(self._database, graph.saver.serde, graph.saver.load)
        async for listed in history.read(name, before, deciding, is_basic=is_basic):
            yield await listed_state(graph, listed, is_basic=is_basic)

    async def update(self, thread: Thread, values: Mapping[str, Any], as_node: str, checkpoint_id: str) -> State:
        """Write a checkpoint after the newest one, or after `checkpoint_id`, as if `as_node` had made the update.

        LangGraph's writes are deferred and stored in one transaction, in which no run holds the thread or is added to
        it, and the newest checkpoint is still the one that the update was made from.

        Raises:
            NotFound: the thread has no such checkpoint.
            GraphNotFound: the thread's graph is no longer registered.
            InvalidInput: the values do not fit the graph's state, or there is no such node.
            ThreadBusy: a run holds the thread, or waits for it.
            CheckpointConflict: the thread has another newest checkpoint by now, or the named one was pruned.
        """
        if not thread.graph:
            raise InvalidInput(violations=[FieldViolation("thread_id", "is of a thread without a graph")])
        graph = self._registry.get(thread.graph)
        before = await self._read(thread, checkpoint_id)
        if as_node:
            values = _checked(graph, values, as_node, before)
        else:
            last_node = await _last_node(graph, _config(thread, checkpoint_id))
            values = _check_last_node(graph, values, last_node, before)
        deferred = DeferredCommit(self._database)
        saver = graph.saver.with_commits(deferred)
        written = await _update_state(graph, _config(thread, checkpoint_id), values, as_node, saver)
        await store_update(self._database, thread, deferred, checkpoint_id_of(before), is_newest=not checkpoint_id)
        return await self.get(thread, written["configurable"]["checkpoint_id"])

    async def _read(self, thread: Thread, checkpoint_id: str) -> StateSnapshot | None:
        """Return LangGraph's state; None where the thread has none. Raises as `get`."""
        if thread.graph:
            state = await self._registry.get(thread.graph).compiled.aget_state(_config(thread, checkpoint_id))
            if state.created_at is not None:
                return state
        if checkpoint_id:
            raise NotFound(resource="checkpoint", id=checkpoint_id)
        return None


async def _update_state(
    graph: Graph, config: RunnableConfig, values: Mapping[str, Any], as_node: str, saver: LogSaver
) -> RunnableConfig:
    """Let LangGraph make the checkpoint. Raises InvalidInput where it, or a reducer of the graph, fails."""
    compiled = graph.compiled.copy(update={"checkpointer": saver})
    try:
        return await compiled.aupdate_state(config, dict(values), as_node or None)
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


async def _last_node(graph: Graph, config: RunnableConfig) -> str:
    """Return the node that wrote last, or the input. LangGraph refuses several; one of them is returned."""
    saved = await graph.saver.aget_tuple(config)
    seen = saved.checkpoint["versions_seen"] if saved else {}
    nodes = (START, *_nodes(graph))
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


def _config(thread: Thread, checkpoint_id: str = "") -> RunnableConfig:
    return thread_config(thread.tenant, thread.thread_id, checkpoint_id)
