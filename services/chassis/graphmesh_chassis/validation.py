"""Messages checked against the rules in their protos (A3, H2)."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache

import protovalidate
from buf.validate import validate_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from graphmesh_contracts import field_path

from graphmesh_chassis.errors import FieldViolation, InvalidRequest, InvalidResponse

TIMES = {
    Timestamp.DESCRIPTOR.full_name: "is not a time between years 1 and 9999 with nanos of 0 to 999,999,999",
    Duration.DESCRIPTOR.full_name: "is not a duration of at most 10,000 years with nanos of the same sign",
}
"""What protovalidate takes on trust: a Timestamp or Duration of any two numbers. Converting a bad one raises."""


def violations(message: Message) -> tuple[FieldViolation, ...]:
    """Every rule that `message` breaks. Of a list that is too long only that: its elements would cost time each."""
    if overfull := tuple(_overfull(message, "")):
        return overfull
    broken = [
        FieldViolation(field_path(violation), violation.proto.message or violation.proto.rule_id)
        for violation in protovalidate.collect_violations(message)
    ]
    return (*broken, *_malformed_times(message, ""))


def check_request(message: Message, method: str) -> None:
    """Raises InvalidRequest, which names every bad field."""
    if broken := violations(message):
        raise InvalidRequest(violations=broken, method=method)


def check_response(message: Message, method: str) -> None:
    """Raises InvalidResponse; the violations are its cause, for the log, and never sent."""
    if broken := violations(message):
        raise InvalidResponse(method=method) from InvalidRequest(violations=broken, method=method)


def _overfull(message: Message, prefix: str) -> Iterator[FieldViolation]:
    for field in _leads_to_lists(message.DESCRIPTOR):
        path, limit = f"{prefix}{field.name}", _limit(field)
        if limit is not None and (size := len(getattr(message, field.name))) > limit:
            yield FieldViolation(path, f"must contain at most {limit}, it contains {size}")
        elif field.message_type is not None:
            for step, value in _values(message, field):
                yield from _overfull(value, f"{path}{step}.")


@cache
def _limit(field: FieldDescriptor) -> int | None:
    """How many elements or pairs the contract lets a field have."""
    rules = field.GetOptions().Extensions[validate_pb2.field]
    if rules.map.HasField("max_pairs"):
        return int(rules.map.max_pairs)
    return int(rules.repeated.max_items) if rules.repeated.HasField("max_items") else None


@cache
def _leads_to_lists(descriptor: Descriptor) -> tuple[FieldDescriptor, ...]:
    return _leading_to(descriptor, lambda field: field.is_repeated)


@cache
def _leads_to_times(descriptor: Descriptor) -> tuple[FieldDescriptor, ...]:
    return _leading_to(descriptor, lambda field: bool(field.message_type and field.message_type.full_name in TIMES))


def _leading_to(descriptor: Descriptor, wanted: Callable[[FieldDescriptor], bool]) -> tuple[FieldDescriptor, ...]:
    """The fields of a message that are wanted, or in which wanted ones may be; none for most messages."""

    def reaches(inner: Descriptor, seen: frozenset[str]) -> bool:
        if inner.full_name in seen:
            return False
        return any(leads(field, seen | {inner.full_name}) for field in inner.fields)

    def leads(field: FieldDescriptor, seen: frozenset[str]) -> bool:
        return wanted(field) or (field.message_type is not None and reaches(field.message_type, seen))

    return tuple(field for field in descriptor.fields if leads(field, frozenset()))


def _malformed_times(message: Message, prefix: str) -> Iterator[FieldViolation]:
    for field in _leads_to_times(message.DESCRIPTOR):
        for step, value in _values(message, field):
            path = f"{prefix}{field.name}{step}"
            if value.DESCRIPTOR.full_name not in TIMES:
                yield from _malformed_times(value, f"{path}.")
            elif not _is_time(value):
                yield FieldViolation(path, TIMES[value.DESCRIPTOR.full_name])


def _values(message: Message, field: FieldDescriptor) -> Iterator[tuple[str, Message]]:
    value = getattr(message, field.name)
    if not field.is_repeated:
        if message.HasField(field.name):
            yield "", value
    elif isinstance(value, Mapping):
        yield from ((f"[{key}]", value[key]) for key in value if isinstance(value[key], Message))
    else:
        yield from ((f"[{index}]", element) for index, element in enumerate(value))


def _is_time(value: Message) -> bool:
    try:
        value.ToJsonString()  # type: ignore[attr-defined]  # the well-known types check themselves here
    except ValueError:
        return False
    return True
