"""Conversion of a run's events, interrupts and states to LangGraph's types."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from graphmesh.orchestrator.v1 import Interrupt, RunEvent, ThreadState, ThreadTask
from graphmesh_contracts import struct_value
from langchain_core.messages import AIMessageChunk, BaseMessage, convert_to_messages
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointMetadata
from langgraph.types import Interrupt as LangGraphInterrupt
from langgraph.types import PregelTask, StateSnapshot

from graphmesh_client.interrupts import interrupt_value
from graphmesh_client.run_status import RunPhase, phase_of

INTERRUPT = "__interrupt__"
CHECKPOINT_NS = "checkpoint_ns"
LEVELS = "|"
"""Between the levels of a namespace, as LangGraph's configs have it."""
StreamPart = tuple[tuple[str, ...], str, Any]
"""The namespace of the subgraph, empty for the graph itself; the mode; the data."""


def stream_parts(event: RunEvent) -> Iterator[StreamPart]:
    """Return the parts that LangGraph streams for an event."""
    for mode, data in _parts(event):
        yield tuple(event.namespace), mode, data


def _parts(event: RunEvent) -> Iterator[tuple[str, Any]]:
    match event.WhichOneof("event"):
        case "node_finished" if not event.node_finished.HasField("error"):
            yield "updates", {event.node: struct_value(event.node_finished.update)}
        case "text_delta":
            metadata = {"langgraph_node": event.node, "ls_model_type": "chat"}  # as of LangChain's models
            yield "messages", (AIMessageChunk(content=event.text_delta.text), metadata)
        case "custom":
            yield "custom", struct_value(event.custom)
        case "message" if event.message.HasField("message"):
            yield "messages", (_message(struct_value(event.message.message)), struct_value(event.message.metadata))
        case "values":
            values = struct_value(event.values)
            yield "values", {**values, **_interrupts_in(values)}
        case "task" | "checkpoint" as kind:
            yield f"{kind}s", struct_value(getattr(event, kind))
        case "debug":
            yield "debug", struct_value(event.debug)
        case "status_changed" if phase_of(event.status_changed.status) is RunPhase.PARKED:
            yield "updates", {INTERRUPT: tuple(map(langgraph_interrupt, event.status_changed.interrupts))}


def _message(fields: dict[str, Any]) -> BaseMessage:
    if fields.get("type") == "AIMessageChunk":
        return AIMessageChunk(**fields)
    [message] = convert_to_messages([fields])
    return message


def _interrupts_in(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the interrupts of a state as LangGraph's; nothing where it has none."""
    if INTERRUPT not in values:
        return {}
    return {INTERRUPT: tuple(LangGraphInterrupt(one["value"], id=one["id"]) for one in values[INTERRUPT])}


def langgraph_interrupt(interrupt: Interrupt) -> LangGraphInterrupt:
    return LangGraphInterrupt(interrupt_value(interrupt), id=interrupt.interrupt_id)


def state_snapshot(thread_id: str, state: ThreadState, namespace: Sequence[str] = ()) -> StateSnapshot:
    """Convert a state of a thread, or of a subgraph. Its tasks have no results."""
    parent = _config(thread_id, namespace, state.parent_checkpoint_id) if state.parent_checkpoint_id else None
    metadata: Mapping[str, Any] = struct_value(state.metadata)
    return StateSnapshot(
        values=struct_value(state.values),
        next=tuple(state.next),
        config=_config(thread_id, namespace, state.checkpoint_id),
        metadata=cast(CheckpointMetadata, metadata),
        created_at=state.create_time.ToJsonString() if state.HasField("create_time") else None,
        parent_config=parent,
        tasks=tuple(_task(thread_id, task) for task in state.tasks),
        interrupts=tuple(map(langgraph_interrupt, state.interrupts)),
    )


def _task(thread_id: str, task: ThreadTask) -> PregelTask:
    state: StateSnapshot | RunnableConfig | None = None
    if task.HasField("state"):
        state = state_snapshot(thread_id, task.state, task.namespace)
    elif task.namespace:
        state = _config(thread_id, task.namespace, "")
    return PregelTask(task.task_id, task.node, (), None, tuple(map(langgraph_interrupt, task.interrupts)), state)


def _config(thread_id: str, namespace: Sequence[str], checkpoint_id: str) -> RunnableConfig:
    configurable = {"thread_id": thread_id, CHECKPOINT_NS: LEVELS.join(namespace)}
    return {"configurable": configurable | ({"checkpoint_id": checkpoint_id} if checkpoint_id else {})}
