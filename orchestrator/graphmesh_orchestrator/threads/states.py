"""The states of threads: read, listed, written as if by a node (B7)."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
import structlog
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import FieldViolation, GraphmeshError, NotFound
from graphmesh_nodes.json_schemas import json_schema, misfits
from graphmesh_nodes.json_values import plain
from langchain_core.runnables import RunnableConfig
from langgraph.channels import LastValue
from langgraph.constants import START
from langgraph.errors import InvalidUpdateError
from langgraph.types import StateSnapshot
from pydantic import PydanticUserError
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.checkpoints import LogSaver
from graphmesh_orchestrator.checkpoints.config_keys import saver_thread
from graphmesh_orchestrator.checkpoints.deferred_commit import Draft
from graphmesh_orchestrator.checkpoints.tables import checkpoints
from graphmesh_orchestrator.db.tables import threads
from graphmesh_orchestrator.errors import CheckpointConflict, InvalidInput
from graphmesh_orchestrator.interrupts.interrupts_sql import SqlInterrupts
from graphmesh_orchestrator.registry import Graph, Registry
from graphmesh_orchestrator.runs.run import Interrupt
from graphmesh_orchestrator.threads.thread import State, Thread
from graphmesh_orchestrator.threads.threads_sql import is_thread, lock_free

log = structlog.get_logger("graphmesh.threads")

AT_ONCE = 16
"""States that a listing reads at a time: each may have megabytes."""


class ThreadStates:
    """The states of the threads of all tenants."""

    def __init__(self, database: Database, graphs: Registry) -> None:
        self._database, self._graphs = database, graphs

    async def get(self, thread: Thread, checkpoint_id: str = "") -> State:
        """The state at a checkpoint, or the newest one, which is empty where the thread has none.

        Raises:
            NotFound: the thread has no such checkpoint.
            GraphNotFound: the thread's graph is not registered any more.
        """
        snapshot = await self._read(thread, checkpoint_id)
        state = _state(snapshot) if snapshot is not None else State()
        if not state.interrupts:
            return state
        waits_for = await SqlInterrupts(self._database).of_thread(thread.tenant, thread.thread_id)
        return replace(state, interrupts=[waits_for.get(one.interrupt_id, one) for one in state.interrupts])

    async def history(self, thread: Thread, before: str = "") -> AsyncIterator[State]:
        """The states, or those before the checkpoint `before`, the newest first. Raises GraphNotFound."""
        while found := await self._before(thread, before):
            for snapshot in found:
                yield _state(snapshot)
            before = _id_of(found[-1])

    async def update(self, thread: Thread, values: Mapping[str, Any], as_node: str, checkpoint_id: str) -> State:
        """Write a checkpoint after the newest one, or after `checkpoint_id`, as if `as_node` had made the update.

        LangGraph's writes are kept back and stored in one transaction, in which no run has the thread or is added to it
        and the newest checkpoint is still that which the update was made from.

        Raises:
            NotFound: the thread has no such checkpoint.
            GraphNotFound: the thread's graph is not registered any more.
            InvalidInput: the values do not fit the graph's state, or there is no such node.
            ThreadBusy: a run has the thread, or waits for it.
            CheckpointConflict: the thread has another newest checkpoint by now, or the named one was pruned.
        """
        if not thread.graph:
            raise InvalidInput(violations=[FieldViolation("thread_id", "is of a thread without a graph")])
        graph = self._graphs.get(thread.graph)
        before = await self._read(thread, checkpoint_id)
        if as_node:
            _check(graph, values, as_node)
        else:
            _check_unnamed(graph, values, await _last_node(graph, _config(thread, checkpoint_id)))
        draft = Draft(self._database)
        written = await _drafted(graph, _config(thread, checkpoint_id), values, as_node, graph.saver.through(draft))
        async with self._database.transaction() as connection:
            await lock_free(connection, thread.tenant, thread.thread_id)
            await _require_unchanged(connection, thread, _id_of(before), is_newest=not checkpoint_id)
            await draft.write(connection)
            used = sa.update(threads).where(*is_thread(thread.tenant, thread.thread_id))
            await connection.execute(used.values(used=datetime.now(UTC)))
        return await self.get(thread, written["configurable"]["checkpoint_id"])

    async def _before(self, thread: Thread, checkpoint_id: str) -> list[StateSnapshot]:
        if not thread.graph:
            return []
        start = _config(thread, checkpoint_id) if checkpoint_id else None
        compiled = self._graphs.get(thread.graph).compiled
        return [found async for found in compiled.aget_state_history(_config(thread), before=start, limit=AT_ONCE)]

    async def _read(self, thread: Thread, checkpoint_id: str) -> StateSnapshot | None:
        """LangGraph's state; None where the thread has none. Raises as `get`."""
        if thread.graph:
            state = await self._graphs.get(thread.graph).compiled.aget_state(_config(thread, checkpoint_id))
            if state.created_at is not None:
                return state
        if checkpoint_id:
            raise NotFound(resource="checkpoint", id=checkpoint_id)
        return None


async def _drafted(
    graph: Graph, config: RunnableConfig, values: Mapping[str, Any], as_node: str, saver: LogSaver
) -> RunnableConfig:
    """Let LangGraph make the checkpoint. Raises InvalidInput where it, or a reducer of the graph, cannot."""
    compiled = graph.compiled.copy(update={"checkpointer": saver})
    try:
        return await compiled.aupdate_state(config, dict(values), as_node or None)
    except GraphmeshError:
        raise
    except InvalidUpdateError as error:
        field = "values" if as_node else "as_node"
        raise InvalidInput(violations=[FieldViolation(field, str(error).partition("\n")[0])]) from error
    except Exception as error:
        log.warning("update refused", graph=graph.name, exc_info=error)
        cause = f"cannot be applied to the state: {type(error).__name__}"
        raise InvalidInput(violations=[FieldViolation("values", cause)]) from error


async def _require_unchanged(
    connection: AsyncConnection, thread: Thread, checkpoint_id: str, *, is_newest: bool
) -> None:
    """Raises CheckpointConflict where a locked thread has the checkpoint no more, or not as its newest one."""
    place = (checkpoints.c.thread_id == saver_thread(thread.tenant, thread.thread_id), checkpoints.c.ns == "")
    query = sa.select(checkpoints.c.checkpoint_id).where(*place, checkpoints.c.head.is_not(None))
    if not is_newest:
        query = query.where(checkpoints.c.checkpoint_id == checkpoint_id)
    found = (await connection.execute(query.order_by(checkpoints.c.stamp.desc()).limit(1))).scalar() or ""
    if found != checkpoint_id:
        raise CheckpointConflict(thread=thread.thread_id, parent=checkpoint_id or "none")


async def _last_node(graph: Graph, config: RunnableConfig) -> str:
    """The node that wrote last, or the graph's input. Where several did, which LangGraph refuses, one of them."""
    saved = await graph.saver.aget_tuple(config)
    seen = saved.checkpoint["versions_seen"] if saved else {}
    nodes = (START, *graph.compiled.builder.nodes)
    wrote = [(version, name) for name in nodes for version in seen.get(name, {}).values()]
    return max(wrote, default=(0, START))[1]


def _check_unnamed(graph: Graph, values: Mapping[str, Any], last_node: str) -> None:
    """The same where nobody says which node the update is to come from: what it was held against is not seen then."""
    try:
        _check(graph, values, last_node)
    except InvalidInput as error:
        taken_for = FieldViolation("as_node", f"is not stated, and the last that wrote is {last_node}")
        raise InvalidInput(violations=[*error.violations, taken_for], graph=graph.name) from error


def _check(graph: Graph, values: Mapping[str, Any], as_node: str) -> None:
    """Raises InvalidInput, which names every bad field."""
    violations = list(misfits(_update_schema(graph, as_node), values, "values"))
    if as_node not in (START, *graph.compiled.builder.nodes):
        nodes = ", ".join(graph.compiled.builder.nodes)
        violations.append(FieldViolation("as_node", f"is none of {START}, {nodes}"))
    if violations:
        raise InvalidInput(violations=violations, graph=graph.name)


def _update_schema(graph: Graph, as_node: str) -> dict[str, Any]:
    """Of what a node may return: some of the state's fields, of their types where no reducer takes something else."""
    builder = graph.compiled.builder
    kind = builder.input_schema if as_node == START else builder.state_schema
    try:
        schema = json_schema(kind)
    except PydanticUserError:
        schema = {}
    known = builder.schemas.get(kind, {})
    overwritten = {name for name, channel in known.items() if type(channel) is LastValue}
    typed = schema.get("properties", {})
    properties = {name: typed.get(name, {}) if name in overwritten else {} for name in known}
    return {"$defs": schema.get("$defs", {}), "properties": properties, "additionalProperties": False}


def _config(thread: Thread, checkpoint_id: str = "") -> RunnableConfig:
    place = {"thread_id": saver_thread(thread.tenant, thread.thread_id)}
    return {"configurable": {**place, "checkpoint_id": checkpoint_id} if checkpoint_id else place}


def _state(snapshot: StateSnapshot) -> State:
    return State(
        _id_of(snapshot),
        str((snapshot.parent_config or {}).get("configurable", {}).get("checkpoint_id", "")),
        plain(snapshot.values),
        snapshot.next,
        _interrupts(snapshot),
        datetime.fromisoformat(snapshot.created_at) if snapshot.created_at else None,
        plain(snapshot.metadata or {}),
    )


def _interrupts(snapshot: StateSnapshot) -> Sequence[Interrupt]:
    return [Interrupt(asked.id, task.name, plain(asked.value)) for task in snapshot.tasks for asked in task.interrupts]


def _id_of(snapshot: StateSnapshot | None) -> str:
    return str(snapshot.config["configurable"]["checkpoint_id"]) if snapshot is not None else ""
