"""The events of a run as LangGraph streams them, and its states as LangGraph has them."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from graphmesh.orchestrator.v1 import Interrupt, RunEvent, RunStatus, ThreadState
from graphmesh_contracts import struct_value
from langchain_core.messages import AIMessageChunk
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointMetadata
from langgraph.types import Interrupt as Question
from langgraph.types import PregelTask, StateSnapshot, StreamMode

from graphmesh_client.questions import asked

INTERRUPT = "__interrupt__"
Part = tuple[StreamMode, Any]


def parts_of(event: RunEvent) -> Iterator[Part]:
    """What LangGraph streams when this happens."""
    match event.WhichOneof("event"):
        case "node_finished":
            yield "updates", {event.node: struct_value(event.node_finished.update)}
        case "text_delta":
            yield "messages", (AIMessageChunk(content=event.text_delta.text), {"langgraph_node": event.node})
        case "custom":
            yield "custom", struct_value(event.custom)
        case "status_changed" if event.status_changed.status == RunStatus.RUN_STATUS_INTERRUPTED:
            yield "updates", {INTERRUPT: tuple(map(question, event.status_changed.interrupts))}


def question(interrupt: Interrupt) -> Question:
    return Question(asked(interrupt), id=interrupt.interrupt_id)


def snapshot(thread_id: str, state: ThreadState) -> StateSnapshot:
    """A state of a thread. Its tasks have names and questions; their ids and results stay in the mesh."""
    questions = [(one.node, question(one)) for one in state.interrupts]
    tasks = [
        PregelTask("", name, (), interrupts=tuple(question for node, question in questions if node == name))
        for name in state.next
    ]
    parent = _config(thread_id, state.parent_checkpoint_id) if state.parent_checkpoint_id else None
    metadata: Mapping[str, Any] = struct_value(state.metadata)
    return StateSnapshot(
        values=struct_value(state.values),
        next=tuple(state.next),
        config=_config(thread_id, state.checkpoint_id),
        metadata=cast(CheckpointMetadata, metadata),
        created_at=state.create_time.ToJsonString() if state.HasField("create_time") else None,
        parent_config=parent,
        tasks=tuple(tasks),
        interrupts=tuple(question for _, question in questions),
    )


def _config(thread_id: str, checkpoint_id: str) -> RunnableConfig:
    place = {"thread_id": thread_id, "checkpoint_ns": ""}
    return {"configurable": place | ({"checkpoint_id": checkpoint_id} if checkpoint_id else {})}
