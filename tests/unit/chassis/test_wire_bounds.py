"""JSON in requests is bounded by what its bytes say, before any message of it exists."""

import time
from functools import partial
from typing import Any

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Struct
from graphmesh.orchestrator import v1 as pb
from graphmesh.policy.v1 import policy_pb2
from graphmesh_chassis.errors import InvalidRequest
from graphmesh_chassis.wire_bounds import JSON_TYPES, MAX_DEPTH, MAX_ELEMENTS, check_wire_bounds, has_json
from graphmesh_contracts import to_struct, to_value
from hypothesis import given
from hypothesis import strategies as st

SERVICES: list[Any] = [
    pb.RunService,
    pb.ThreadService,
    pb.ApprovalService,
    pb.WebhookService,
    pb.StoreService,
    pb.AssistantService,
    pb.ScheduleService,
]


def created(value: Any) -> bytes:
    return pb.CreateRunRequest(graph="g", input=to_struct({"a": value})).SerializeToString()


def check(payload: bytes, message: Any = pb.CreateRunRequest) -> None:
    check_wire_bounds(payload, message.DESCRIPTOR, "/method")


def violation(payload: bytes, message: Any = pb.CreateRunRequest) -> tuple[str, str]:
    with pytest.raises(InvalidRequest) as refused:
        check(payload, message)
    [found] = refused.value.violations
    return found.field, found.description


def nested(levels: int, *, lists: bool = False, innermost: Any = "x") -> Any:
    value = innermost
    for _ in range(levels):
        value = [value] if lists else {"in": value}
    return value


@pytest.mark.parametrize("value", [None, 1.5, "text", {}, [], "x" * 150, True])
def test_elements_are_bounded(value: Any) -> None:
    check(created([value] * (MAX_ELEMENTS - 1)))

    assert violation(created([value] * MAX_ELEMENTS)) == ("input", "has more than 50000 members and elements")


def test_bounds_hold_for_the_run_of_a_schedule() -> None:
    run = pb.CreateRunRequest(input=to_struct({"a": [None] * MAX_ELEMENTS}))
    request = pb.CreateScheduleRequest(spec=pb.ScheduleSpec(run=run)).SerializeToString()
    assert violation(request, pb.CreateScheduleRequest)[0] == "spec.run.input"


def test_members_are_elements() -> None:
    check(created({str(number): None for number in range(MAX_ELEMENTS - 1)}))

    assert violation(created({str(number): None for number in range(MAX_ELEMENTS)}))[0] == "input"


@pytest.mark.parametrize("empty", [[], {}], ids=str)
def test_empty_lists_and_objects_are_levels(empty: Any) -> None:
    check(created(nested(MAX_DEPTH - 2, innermost=empty)))

    assert violation(created(nested(MAX_DEPTH - 1, innermost=empty)))[1].startswith("is nested deeper than 24 levels")


@pytest.mark.parametrize("lists", [False, True])
def test_depth_is_bounded(lists: bool) -> None:
    check(created(nested(MAX_DEPTH - 1, lists=lists)))

    assert violation(created(nested(MAX_DEPTH, lists=lists)))[1].startswith("is nested deeper than 24 levels")


def test_bytes_are_bounded() -> None:
    check(created("x" * (8 * 1024 * 1024 - 100)))

    assert violation(created("x" * 8 * 1024 * 1024)) == ("input", "has 8388626 bytes, it may have 8388608")


def test_values_of_a_field_are_counted_together() -> None:
    request = pb.ResumeRunRequest(run_id="r")
    for name in ("a", "b", "c"):
        request.answers[name].CopyFrom(to_value([None] * (MAX_ELEMENTS // 2)))

    assert violation(request.SerializeToString(), pb.ResumeRunRequest)[0] == "answers"


def test_repeats_of_a_field_are_counted_together() -> None:
    """A parser merges them, so none of them alone is what the request has."""
    payload = created([None] * (MAX_ELEMENTS // 2))

    assert violation(payload * 3)[0] == "input"


def test_elements_hidden_behind_other_fields_of_a_value_are_counted() -> None:
    """A value may have several of its fields on the wire, and the last one counts for the parser."""
    hidden = b"\x32\x04\x0a\x02\x08\x00"  # a list of one null
    inner = hidden * MAX_ELEMENTS + b"\x08\x00"
    member = b"\x0a\x01a\x12" + varint(len(inner)) + inner
    struct = b"\x0a" + varint(len(member)) + member
    payload = b"\x12" + varint(len(struct)) + struct

    assert violation(payload)[0] == "input"


def varint(number: int) -> bytes:
    parts = []
    while number >= 128:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


@pytest.mark.parametrize(
    "payload",
    [
        b"\x12\x05ab",
        b"\x12",
        b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x12\x02\x0a\x05",
        b"\x13\x08",
        b"\x80",
    ],
)
def test_bytes_that_are_no_message_are_malformed(payload: bytes) -> None:
    with pytest.raises(DecodeError):
        check(payload)


@given(st.binary(max_size=200))
def test_any_bytes_are_accepted_or_refused(payload: bytes) -> None:
    """No bytes that the parser accepts are malformed for the scan, except those with groups."""
    try:
        check(payload)
    except InvalidRequest:
        return
    except DecodeError as error:
        if "wire type" not in str(error):
            with pytest.raises(DecodeError):
                pb.CreateRunRequest.FromString(payload)


@given(st.binary(max_size=200), st.binary(max_size=40))
def test_any_bytes_of_a_struct_are_accepted_or_refused(inside: bytes, after: bytes) -> None:
    payload = b"\x12" + varint(len(inside)) + inside + after
    try:
        check(payload)
    except InvalidRequest:
        return
    except DecodeError as error:
        if "wire type" not in str(error):
            with pytest.raises(DecodeError):
                pb.CreateRunRequest.FromString(payload)


def test_a_scan_ends_at_the_first_bound() -> None:
    """16 MB of nulls take no longer than the 50,000 that may be read of them."""
    allowed, hostile = created([None] * (MAX_ELEMENTS - 1)), created([None] * 4_000_000)

    def refused() -> None:
        with pytest.raises(InvalidRequest):
            check(hostile)

    assert fastest(refused) < 3 * fastest(partial(check, allowed))


def fastest(run: Any) -> float:
    times = []
    for _ in range(5):
        began = time.thread_time()
        run()
        times.append(time.thread_time() - began)
    return min(times)


def request_types() -> list[Descriptor]:
    pool = descriptor_pool.Default()
    services = [pool.FindServiceByName(service.NAME) for service in SERVICES]
    return [method.input_type for service in services for method in service.methods]


def test_every_request_with_json_declares_its_bounds() -> None:
    """A request inside of another one has those of its own."""
    found, requests = {}, request_types()
    for message in requests:
        for field in message.fields:
            inner = field.message_type
            if inner in (*requests, pb.ScheduleSpec.DESCRIPTOR):  # the latter has JSON in its CreateRunRequest alone
                continue
            if inner is not None and (inner.full_name in JSON_TYPES or has_json(inner)):
                bounds = field.GetOptions().Extensions[policy_pb2.json]
                found[f"{message.name}.{field.name}"] = (bounds.max_elements, bounds.max_depth)

    assert found == {
        "CreateAssistantRequest.configurable": (5_000, 16),
        "CreateAssistantRequest.context": (5_000, 16),
        "CreateAssistantRequest.metadata": (1_000, 8),
        "CreateRunRequest.input": (MAX_ELEMENTS, MAX_DEPTH),
        "CreateRunRequest.context": (5_000, 16),
        "CreateRunRequest.configurable": (5_000, 16),
        "PutItemRequest.value": (10_000, MAX_DEPTH),
        "ResumeRunRequest.answers": (MAX_ELEMENTS, MAX_DEPTH),
        "SearchAssistantsRequest.metadata": (100, 8),
        "SearchItemsRequest.filter": (100, 16),
        "UpdateAssistantRequest.configurable": (5_000, 16),
        "UpdateAssistantRequest.context": (5_000, 16),
        "UpdateAssistantRequest.metadata": (1_000, 8),
        "UpdateThreadStateRequest.values": (MAX_ELEMENTS, MAX_DEPTH),
    }


def test_messages_without_json_are_not_scanned() -> None:
    check(b"\xff", pb.GetRunRequest)

    assert not has_json(pb.GetRunRequest.DESCRIPTOR)
    assert has_json(pb.GetRunResponse.DESCRIPTOR)
    assert has_json(Struct.DESCRIPTOR)
