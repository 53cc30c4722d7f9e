"""Events are stored in batches, and sent in messages of other sizes, without being parsed."""

from datetime import UTC, datetime

import pytest
from graphmesh.orchestrator import v1 as pb
from graphmesh_contracts.wire import split, varint
from graphmesh_orchestrator.runs import events
from graphmesh_orchestrator.runs.event_contents import node_started
from graphmesh_orchestrator.runs.events import EventBatch, EventKind, stream_responses

from tests.contract.stored_events import custom, parsed, rows_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BIG = 1_000_000_000


def batch_of(count: int, last_seq: int) -> EventBatch:
    """Return events of two kinds in turns."""
    contents = [node_started(["x"]) if number % 2 else custom({"n": number}) for number in range(count)]
    [row] = rows_of("run", last_seq - count + 1, NOW, *contents, node="n")
    return EventBatch.of(row)


@pytest.mark.parametrize(("size", "sizes"), [(2, [2, 2, 1]), (4, [4, 1]), (5, [5]), (1000, [5])])
def test_messages_have_at_most_so_many_events(size: int, sizes: list[int]) -> None:
    messages = list(map(pb.StreamRunResponse.FromString, stream_responses(batch_of(5, 9).elements, size, BIG)))
    assert [len(message.events) for message in messages] == sizes
    assert [event.seq for message in messages for event in message.events] == [5, 6, 7, 8, 9]
    assert not any(message.HasField("event") for message in messages)


@pytest.mark.parametrize("size", [0, 1])
def test_messages_of_one_event_have_it_by_itself(size: int) -> None:
    messages = list(map(pb.StreamRunResponse.FromString, stream_responses(batch_of(3, 3).elements, size, BIG)))
    assert [message.event.seq for message in messages] == [1, 2, 3]
    assert not any(message.events for message in messages)


def test_messages_have_at_most_so_many_bytes_or_one_event() -> None:
    elements = batch_of(6, 6).elements
    two = len(elements[0]) + len(elements[1])
    assert [len(pb.StreamRunResponse.FromString(one).events) for one in stream_responses(elements, 9, two)] == [2, 2, 2]
    assert [len(pb.StreamRunResponse.FromString(one).events) for one in stream_responses(elements, 9, 1)] == [1] * 6
    assert list(stream_responses([], 9, BIG)) == []


def test_events_of_some_kinds_after_a_number() -> None:
    batch = batch_of(5, 9)
    assert [[event.seq for event in parsed(batch.after(seq).elements)] for seq in (0, 4, 6, 8)] == [
        [5, 6, 7, 8, 9],
        [5, 6, 7, 8, 9],
        [7, 8, 9],
        [9],
    ]
    assert [event.seq for event in parsed(batch.of_kinds({EventKind.NODE_STARTED}))] == [6, 8]
    assert [event.seq for event in parsed(batch.after(6).of_kinds({EventKind.CUSTOM}))] == [7, 9]
    assert batch.of_kinds({EventKind.TEXT}) == []


def test_big_events_have_rows_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_ROW_BYTES", 1000)
    contents = [custom({"text": "x" * size}) for size in (300, 300, 2000, 300, 10)]
    rows = rows_of("run", 1, NOW, *contents)
    assert [row["last_seq"] for row in rows] == [2, 3, 5]
    found = [event for row in rows for event in parsed(EventBatch.of(row).elements)]
    assert [(event.seq, len(event.data["text"])) for event in found] == [
        (1, 300),
        (2, 300),
        (3, 2000),
        (4, 300),
        (5, 10),
    ]
    assert rows_of("run", 1, NOW) == []


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 2**35, 2**63 - 1])
def test_numbers_are_encoded_as_protobuf_does(number: int) -> None:
    assert pb.RunEvent.FromString(b"\x08" + varint(number)).seq == number


@pytest.mark.parametrize("length", [0, 1, 127, 128, 16_383, 16_384, 3_000_000])
def test_messages_are_split_at_lengths_of_all_sizes(length: int) -> None:
    message = pb.StreamRunResponse(events=[pb.RunEvent(node="x" * length), pb.RunEvent(seq=2)])
    elements = split(message.SerializeToString(), b"\x1a")
    assert [pb.StreamRunResponse.FromString(one).events[0] for one in elements] == list(message.events)
