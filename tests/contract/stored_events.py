"""Stored events, as tests read and write them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from google.protobuf.struct_pb2 import Struct
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.timestamps import from_timestamp
from graphmesh_client.run_status import status_name
from graphmesh_contracts import struct_value, value_of
from graphmesh_contracts.structs import struct_bytes
from graphmesh_orchestrator.db.rows import EventRow
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.event_contents import Content, one_struct, origin
from graphmesh_orchestrator.runs.events import EncodedEvent, EventBatch, EventKind, event_rows
from graphmesh_orchestrator.runs.run import EventPage


@dataclass(frozen=True)
class Event:
    """An event as a client sees it."""

    seq: int
    time: datetime
    kind: EventKind
    node: str
    data: Mapping[str, Any]
    """The fields of its content."""
    namespace: tuple[str, ...]
    not_shown: str


def custom(value: Mapping[str, Any]) -> Content:
    return one_struct(EventKind.CUSTOM, struct_bytes(value))


def rows_of(run_id: str, first_seq: int, time: datetime, *contents: Content, node: str = "") -> list[EventRow]:
    """Return events that are stored at once as rows."""
    return event_rows(run_id, first_seq, encoded(time, *contents, node=node))


def encoded(time: datetime, *contents: Content, node: str = "") -> list[EncodedEvent]:
    return [EncodedEvent(content.kind, origin(time, node, ()) + content.encoded) for content in contents]


def events_in(page: EventPage) -> list[Event]:
    """Return the events of a page."""
    return events_of(page.batches)


def events_of_rows(rows: Iterable[EventRow]) -> list[Event]:
    return events_of([EventBatch.of(row) for row in rows])


def events_of(batches: Sequence[EventBatch]) -> list[Event]:
    """Return the events of batches, whose numbers and kinds are those that the batches state."""
    found = []
    for batch in batches:
        events = parsed(batch.elements)
        first = batch.last_seq - len(batch.kinds) + 1
        assert [event.seq for event in events] == list(range(first, batch.last_seq + 1))
        assert bytes(event.kind for event in events) == batch.kinds
        found += events
    return found


def parsed(elements: Iterable[bytes]) -> list[Event]:
    """Return the events of elements of a message."""
    return [event_of(event) for event in pb.StreamRunResponse.FromString(b"".join(elements)).events]


def event_of(event: pb.RunEvent) -> Event:
    name = event.WhichOneof("event")
    assert name is not None
    kind = EventKind(event.DESCRIPTOR.fields_by_name[name].number)
    data = _data(kind, getattr(event, name), event.not_shown)
    time, namespace = from_timestamp(event.time), tuple(event.namespace)
    return Event(event.seq, time, kind, event.node, data, namespace, event.not_shown)


def _data(kind: EventKind, content: Any, not_shown: str) -> Mapping[str, Any]:
    match kind:
        case EventKind.STATUS:
            return _status(content)
        case EventKind.NODE_FINISHED:
            update = {"update": struct_value(content.update)} if content.HasField("update") else {}
            error = {"error": content.error} if content.HasField("error") else {}
            return {"cached": content.cached, **update, **error}
        case EventKind.MESSAGE:
            shown = {"message": struct_value(content.message), "metadata": struct_value(content.metadata)}
            return {"value": None if not_shown else shown}
        case EventKind.CUSTOM:
            return struct_value(content)
    if isinstance(content, Struct):
        return {"value": None if not_shown else struct_value(content)}
    return {field.name: getattr(content, field.name) for field in content.DESCRIPTOR.fields}


def _status(changed: pb.StatusChanged) -> dict[str, Any]:
    return {
        "status": RunStatus(status_name(changed.status)),
        "error": changed.error if changed.HasField("error") else None,
        "epoch": changed.epoch,
        "interrupts": [{"interrupt_id": one.interrupt_id, "value": value_of(one.value)} for one in changed.interrupts],
        "open_effects": [
            {"node": one.node, "tool": one.tool, "effect_key": one.effect_key} for one in changed.open_effects
        ],
    }
