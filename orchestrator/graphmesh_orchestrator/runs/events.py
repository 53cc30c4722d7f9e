"""Events of runs as bytes: each is encoded once, stored in a batch, and sent as it is stored.

A batch is a serialized `StreamRunResponse` that has events alone, so that batches, and parts of them, are joined to
messages without being parsed. The kinds of its events are beside it, for streams that leave some out.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, NamedTuple, Protocol, Self

import structlog
from graphmesh.orchestrator import v1 as pb
from graphmesh_contracts.wire import delimited, split, tag_of, varint

from graphmesh_orchestrator.db.rows import EventRow

log = structlog.get_logger("graphmesh.runs")

MAX_ROW_BYTES = 1024 * 1024
"""The most bytes of several events in a row."""
NOT_SHOWN = "the stored row has another form than it is read with"
_EVENT = tag_of(pb.StreamRunResponse.EVENT_FIELD_NUMBER)
_EVENTS = tag_of(pb.StreamRunResponse.EVENTS_FIELD_NUMBER)
_SEQ = varint(pb.RunEvent.SEQ_FIELD_NUMBER << 3)


class EventKind(IntEnum):
    """The kind of an event: the number of the field of `RunEvent` that has its content."""

    STATUS = pb.RunEvent.STATUS_CHANGED_FIELD_NUMBER
    NODE_STARTED = pb.RunEvent.NODE_STARTED_FIELD_NUMBER
    NODE_FINISHED = pb.RunEvent.NODE_FINISHED_FIELD_NUMBER
    TOOL_CALLED = pb.RunEvent.TOOL_CALLED_FIELD_NUMBER
    TEXT = pb.RunEvent.TEXT_DELTA_FIELD_NUMBER
    CUSTOM = pb.RunEvent.CUSTOM_FIELD_NUMBER
    MESSAGE = pb.RunEvent.MESSAGE_FIELD_NUMBER
    VALUES = pb.RunEvent.VALUES_FIELD_NUMBER
    TASK = pb.RunEvent.TASK_FIELD_NUMBER
    CHECKPOINT = pb.RunEvent.CHECKPOINT_FIELD_NUMBER
    DEBUG = pb.RunEvent.DEBUG_FIELD_NUMBER
    ROUTE_TAKEN = pb.RunEvent.ROUTE_TAKEN_FIELD_NUMBER
    VALIDATED = pb.RunEvent.VALIDATED_FIELD_NUMBER
    ESCALATED = pb.RunEvent.ESCALATED_FIELD_NUMBER


class Event(Protocol):
    """An event that has no number yet."""

    @property
    def kind(self) -> EventKind: ...

    @property
    def encoded(self) -> bytes:
        """A serialized `RunEvent` without `seq`."""


class EncodedEvent(NamedTuple):
    """An event that does not change any more."""

    kind: EventKind
    encoded: bytes


def event_rows(run_id: str, first_seq: int, events: Sequence[Event]) -> list[EventRow]:
    """Return events, numbered from `first_seq` on, as rows: one, or more where they are big."""
    rows, kinds, elements, size = list[EventRow](), bytearray(), list[bytes](), 0
    for seq, event in enumerate(events, first_seq):
        element = delimited(_EVENTS, _SEQ + varint(seq) + event.encoded)
        if elements and size + len(element) > MAX_ROW_BYTES:
            rows.append(_row(run_id, seq - 1, kinds, elements))
            kinds, elements, size = bytearray(), [], 0
        kinds.append(event.kind)
        elements.append(element)
        size += len(element)
    return [*rows, _row(run_id, first_seq + len(events) - 1, kinds, elements)] if elements else rows


def _row(run_id: str, last_seq: int, kinds: bytearray, elements: Sequence[bytes]) -> EventRow:
    return {"run_id": run_id, "last_seq": last_seq, "kinds": bytes(kinds), "data": b"".join(elements)}


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Events of a run in order, without gaps, up to the number `last_seq`."""

    last_seq: int
    kinds: bytes
    """The kind of each event."""
    elements: Sequence[bytes]
    """Each event, as an element of `StreamRunResponse.events`."""

    @classmethod
    def of(cls, row: Mapping[Any, Any]) -> Self:
        """Return the batch of a row of `run_events`. Where its bytes are damaged, the events have `not_shown`."""
        last_seq, kinds = row["last_seq"], row["kinds"]
        try:
            elements = split(row["data"], _EVENTS)
            if len(elements) != len(kinds):
                raise ValueError(f"{len(elements)} events of {len(kinds)}")
        except ValueError as error:
            log.warning("events not shown", last_seq=last_seq, count=len(kinds), exc_info=error)
            elements = [_unreadable(seq) for seq in range(last_seq - len(kinds) + 1, last_seq + 1)]
        return cls(last_seq, kinds, elements)

    def after(self, seq: int) -> Self:
        """Return the events after a number; there is at least one."""
        begin = max(0, seq + len(self.kinds) - self.last_seq)
        return replace(self, kinds=self.kinds[begin:], elements=self.elements[begin:]) if begin else self

    def of_kinds(self, kinds: Collection[int]) -> Sequence[bytes]:
        """Return the elements of events of these kinds; of all where there are none."""
        if not kinds:
            return self.elements
        return [element for kind, element in zip(self.kinds, self.elements, strict=True) if kind in kinds]


def _unreadable(seq: int) -> bytes:
    return delimited(_EVENTS, pb.RunEvent(seq=seq, not_shown=NOT_SHOWN).SerializeToString())


def stream_responses(elements: Sequence[bytes], size: int, max_bytes: int) -> Iterator[bytes]:
    """Yield serialized messages of a stream, each with at most `size` events and `max_bytes`, or one event."""
    if size <= 1:
        yield from (_EVENT + element[len(_EVENTS) :] for element in elements)
        return
    begin = used = 0
    for position, element in enumerate(elements):
        used += len(element)
        if position > begin and (used > max_bytes or position - begin == size):
            yield b"".join(elements[begin:position])
            begin, used = position, len(element)
    if elements:
        yield b"".join(elements[begin:])
