"""The contents of events, encoded: what cannot be shown is absent, and named in `not_shown`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from google.rpc import status_pb2
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.status import to_status
from graphmesh_chassis.timestamps import to_timestamp
from graphmesh_contracts.wire import delimited, tag_of
from graphmesh_nodes.decisions import Decision, Escalated, RouteTaken, Validated
from graphmesh_nodes.tool_calls import ToolCalled

from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.convert import STATUSES, duration, interrupt_message
from graphmesh_orchestrator.runs.events import EventKind
from graphmesh_orchestrator.runs.run import Interrupt

_TAGS = {kind: tag_of(kind) for kind in EventKind}
_NOT_SHOWN = tag_of(pb.RunEvent.NOT_SHOWN_FIELD_NUMBER)
_ERROR = tag_of(pb.StatusChanged.ERROR_FIELD_NUMBER)
_FAILURE = tag_of(pb.NodeFinished.ERROR_FIELD_NUMBER)
_UPDATE = tag_of(pb.NodeFinished.UPDATE_FIELD_NUMBER)
_MESSAGE = tag_of(pb.MessageStreamed.MESSAGE_FIELD_NUMBER)
_METADATA = tag_of(pb.MessageStreamed.METADATA_FIELD_NUMBER)
NAMES: Mapping[EventKind, str] = {kind: pb.RunEvent.DESCRIPTOR.fields_by_number[kind].name for kind in EventKind}
"""The names of the fields."""


class Content(NamedTuple):
    """The content of an event."""

    kind: EventKind
    encoded: bytes
    """The fields of `RunEvent` that have it."""


def origin(time: datetime, node: str, namespace: Sequence[str]) -> bytes:
    """Encode when and where an event happened."""
    return pb.RunEvent(time=to_timestamp(time), node=node, namespace=namespace).SerializeToString()


def status_changed(
    status: RunStatus,
    error: bytes | None = None,
    *,
    epoch: int = 0,
    interrupts: Iterable[Interrupt] = (),
    open_effects: Iterable[pb.OpenEffect] = (),
) -> Content:
    """`error` is a serialized google.rpc.Status."""
    changed = pb.StatusChanged(
        status=STATUSES[status],
        interrupts=[interrupt_message(interrupt) for interrupt in interrupts],
        epoch=epoch,
        open_effects=open_effects,
    )
    return _content(EventKind.STATUS, changed.SerializeToString() + (delimited(_ERROR, error) if error else b""))


def node_started(triggers: Iterable[str]) -> Content:
    return _content(EventKind.NODE_STARTED, pb.NodeStarted(triggers=triggers).SerializeToString())


def node_finished(
    seconds: float, *, cached: bool = False, update: bytes | None = None, error: bytes | None = None
) -> Content:
    """`update` is a serialized Struct, `error` a google.rpc.Status."""
    finished = pb.NodeFinished(duration=duration(seconds), cached=cached).SerializeToString()
    if update is not None:
        finished += delimited(_UPDATE, update)
    if error is not None:
        finished += delimited(_FAILURE, error)
    return _content(EventKind.NODE_FINISHED, finished)


def tool_called(call: ToolCalled) -> Content:
    called = pb.ToolCalled(
        tool=call.tool,
        effect_key=call.effect_key,
        attempts=call.attempts,
        duration=duration(call.seconds),
        status=to_status(call.error) if call.error else status_pb2.Status(),
        may_have_happened=call.may_have_happened,
    )
    return _content(EventKind.TOOL_CALLED, called.SerializeToString())


def decision_made(decision: Decision) -> Content:
    match decision:
        case RouteTaken(condition=condition, destinations=destinations, looked_at=looked_at):
            taken = pb.RouteTaken(condition=condition, destinations=destinations, looked_at=looked_at)
            return _content(EventKind.ROUTE_TAKEN, taken.SerializeToString())
        case Validated(check=check, faults=faults):
            return _content(EventKind.VALIDATED, pb.Validated(check=check, faults=faults).SerializeToString())
        case Escalated(reason=reason, to=to):
            return _content(EventKind.ESCALATED, pb.Escalated(reason=reason, to=to).SerializeToString())
    raise TypeError(type(decision).__name__)


def route_not_shown(decision: Decision, reason: str) -> Content:
    """A route without what it looked at. `reason` begins with a colon."""
    kind, encoded = decision_made(replace(decision, looked_at={}) if isinstance(decision, RouteTaken) else decision)
    return Content(kind, encoded + delimited(_NOT_SHOWN, f"{NAMES[kind]}.looked_at{reason}".encode()))


def text_delta(text: str) -> Content:
    return _content(EventKind.TEXT, pb.TextDelta(text=text).SerializeToString())


def message(value: bytes, metadata: bytes) -> Content:
    """Both are serialized Structs."""
    return _content(EventKind.MESSAGE, delimited(_MESSAGE, value) + delimited(_METADATA, metadata))


def one_struct(kind: EventKind, struct: bytes) -> Content:
    """`struct` is a serialized Struct."""
    return _content(kind, struct)


def not_shown(kind: EventKind, reason: str) -> Content:
    """A content that is left out. `reason` begins with the path in it, or with a colon."""
    return Content(kind, delimited(_TAGS[kind], b"") + delimited(_NOT_SHOWN, f"{NAMES[kind]}{reason}".encode()))


def _content(kind: EventKind, encoded: bytes) -> Content:
    return Content(kind, delimited(_TAGS[kind], encoded))
