"""The events of stream modes that a run was created with, besides those that every run has.

Their values are parts of states and of messages, as LangGraph streams them. One that cannot be shown, or that the run
has no room for, does not end the run: its event has the reason in place of the value.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from graphmesh_chassis.large_values import Size, convert_aside, is_large
from graphmesh_contracts.structs import struct_bytes
from graphmesh_nodes.json_values import JsonEncoder, as_object

from graphmesh_orchestrator.runs.event_contents import Content, message, not_shown, one_struct
from graphmesh_orchestrator.runs.events import EventKind
from graphmesh_orchestrator.worker.event_bounds import NO_VALUE
from graphmesh_orchestrator.worker.graph_exits import exception_name
from graphmesh_orchestrator.worker.graph_stream import ASYNC_FACTOR, Part
from graphmesh_orchestrator.worker.journal import Journal
from graphmesh_orchestrator.worker.node_updates import update_of

CONFIG_KEYS = ("thread_id", "checkpoint_ns", "checkpoint_id")
"""The keys of a config that are shown; others are objects of this process."""


KINDS = {
    "messages": EventKind.MESSAGE,
    "values": EventKind.VALUES,
    "task": EventKind.TASK,
    "checkpoints": EventKind.CHECKPOINT,
    "debug": EventKind.DEBUG,
}
TOO_MANY, TOO_LARGE = ": too many events wait to be stored", ": the events of the run have too many bytes together"
"""Reasons for which a value is left out."""


class ModeEvents:
    """Adds the events of stream modes to a journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def add(self, part: Part) -> Awaitable[None] | None:
        """Add the event of a part; of a large one when the result, which encodes it, is awaited."""
        value = part.value
        if part.is_left_out:
            self._journal.add_event(not_shown(KINDS[part.mode], TOO_MANY), namespace=part.namespace)
            return None
        match part.mode:
            case "messages":
                message, metadata = value
                node = str(metadata.get("langgraph_node", ""))
                shown = {"message": message, "metadata": _metadata(metadata)}
                return self._encode(EventKind.MESSAGE, part, shown, node)
            case "values":
                return self._encode(EventKind.VALUES, part, value)
            case "task":
                return self._encode(EventKind.TASK, part, _task(value), value["name"])
            case "checkpoints":
                return self._encode(EventKind.CHECKPOINT, part, _checkpoint(value))
            case _:
                payload = (_checkpoint if value["type"] == "checkpoint" else _task)(value["payload"])
                return self._encode(EventKind.DEBUG, part, {**value, "payload": payload})

    def _encode(self, kind: EventKind, part: Part, value: Any, node: str = "") -> Awaitable[None] | None:
        def add(content: Content, size: Size) -> None:
            if reason := self._refusal(size):
                content, size = not_shown(kind, reason), NO_VALUE
            self._journal.add_event(content, node, size, part.namespace)

        if self._refusal(NO_VALUE):  # not worth encoding
            add(not_shown(kind, ""), NO_VALUE)
        elif is_large(value):
            return _encode_aside(kind, value, add)
        else:
            add(*_encoded(kind, value))
        return None

    def _refusal(self, size: Size) -> str:
        """Return the reason for which there is no room for a value of that size; empty where there is."""
        if not self._journal.has_room(size):
            return TOO_LARGE
        return TOO_MANY if self._journal.is_full(ASYNC_FACTOR) else ""


async def _encode_aside(kind: EventKind, value: Any, add: Callable[[Content, Size], None]) -> None:
    add(*await convert_aside(True, _encoded, kind, value))


def _encoded(kind: EventKind, value: Any) -> tuple[Content, Size]:
    encoder = JsonEncoder()
    shown, reason = encoder.showable(as_object(value))
    if reason:
        return not_shown(kind, reason), encoder.size
    if kind is EventKind.MESSAGE:
        return message(struct_bytes(shown["message"]), struct_bytes(shown["metadata"])), encoder.size
    return one_struct(kind, struct_bytes(shown)), encoder.size


def _metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metadata.items() if not key.startswith("__")}


def _task(task: Mapping[str, Any]) -> dict[str, Any]:
    if "result" not in task:
        return {key: value for key, value in task.items() if key != "metadata"} | {"triggers": list(task["triggers"])}
    return {**task, "error": _error(task.get("error")), "result": update_of(task.get("result") or {})}


def _checkpoint(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **checkpoint,
        "config": _config(checkpoint.get("config")),
        "parent_config": _config(checkpoint.get("parent_config")),
        "tasks": [_checkpoint_task(task) for task in checkpoint.get("tasks", ())],
    }


def _checkpoint_task(task: Mapping[str, Any]) -> dict[str, Any]:
    shown = {**task, "state": _config(task.get("state"))}
    return {**shown, "error": _error(task["error"])} if task.get("error") else shown


def _config(config: Any) -> dict[str, Any] | None:
    if not isinstance(config, dict):
        return None
    given = config.get("configurable", {})
    return {"configurable": {key: given[key] for key in CONFIG_KEYS if key in given}}


def _error(error: Any) -> str | None:
    """Return the type of an exception: its message may have what clients must not see."""
    return exception_name(error) if isinstance(error, BaseException) else None if error is None else str(error)
