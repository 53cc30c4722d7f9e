"""Validation of messages by the rules in their protos."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache

import protovalidate
from buf.validate import validate_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from graphmesh_contracts import field_path

from graphmesh_chassis.errors import FieldViolation, InvalidRequest, InvalidResponse
from graphmesh_chassis.wire_bounds import JSON_TYPES

TIMES = {
    Timestamp.DESCRIPTOR.full_name: "is not a time between years 1 and 9999 with nanos of 0 to 999,999,999",
    Duration.DESCRIPTOR.full_name: "is not a duration of at most 10,000 years with nanos of the same sign",
}
"""Messages for bad well-known types. protovalidate accepts any two numbers in them, and converting a bad one raises."""


def violations(message: Message) -> tuple[FieldViolation, ...]:
    """All violations in `message`. Where a list is too long, only those: validating each element would take time.

    The contents of Structs have no rules and are not visited: `wire_bounds` has their bounds.
    """
    message = _without_json(message)
    if oversized := tuple(_oversized_fields(message, "")):
        return oversized
    broken = [
        FieldViolation(field_path(violation), violation.proto.message or violation.proto.rule_id)
        for violation in _validator_of(message.DESCRIPTOR.file.pool).collect_violations(message)
    ]
    return (*broken, *_malformed_times(message, ""))


def check_request(message: Message, method: str) -> None:
    """Validate a request of `method`.

    Raises:
        InvalidRequest: with a violation for every bad field.
    """
    if broken := violations(message):
        raise InvalidRequest(violations=broken, method=method)


def check_response(message: Message, method: str) -> None:
    """Validate a response of `method`.

    Raises:
        InvalidResponse: its cause, for the log only, has the violations.
    """
    if broken := violations(message):
        raise InvalidResponse(method=method) from InvalidRequest(violations=broken, method=method)


def has_rules(descriptor: Descriptor) -> bool:
    """Return whether a message, or one that it may contain at any depth, has a rule that `violations` checks."""

    def is_ruled(field: FieldDescriptor) -> bool:
        inner, oneof = field.message_type, field.containing_oneof
        return (
            field.GetOptions().HasExtension(validate_pb2.field)
            or (oneof is not None and oneof.GetOptions().HasExtension(validate_pb2.oneof))
            or (inner is not None and (inner.full_name in TIMES or _has_own_rules(inner)))
        )

    return _has_own_rules(descriptor) or bool(fields_reaching(descriptor, is_ruled))


def _has_own_rules(descriptor: Descriptor) -> bool:
    return bool(descriptor.GetOptions().HasExtension(validate_pb2.message))


def has_more_elements(message: Message, limit: int) -> bool:
    """Return whether the lists and maps in a message, those whose elements are checked, have more than `limit`."""
    return _left(message, limit) < 0


def _left(message: Message, limit: int) -> int:
    """Return what remains of a limit of elements; negative where they are more."""
    for field in _fields_with_lists(message.DESCRIPTOR):
        inner = field.message_type
        if inner is not None and inner.full_name in JSON_TYPES:
            continue
        if field.is_repeated and (inner is not None or field.GetOptions().HasExtension(validate_pb2.field)):
            limit -= len(getattr(message, field.name))
        for _, value in inner_messages(message, field) if inner is not None and limit >= 0 else ():
            limit = _left(value, limit)
            if limit < 0:
                break
    return limit


@cache
def _validator_of(pool: DescriptorPool) -> protovalidate.Validator:
    """The validator of one pool: it keeps rules by the name of a message, which another pool may have too."""
    return protovalidate.Validator()


def _oversized_fields(message: Message, prefix: str) -> Iterator[FieldViolation]:
    for field in _fields_with_lists(message.DESCRIPTOR):
        path, limit = f"{prefix}{field.name}", _limit(field)
        if limit is not None and (size := len(getattr(message, field.name))) > limit:
            yield FieldViolation(path, f"must contain at most {limit}, it contains {size}")
        elif field.message_type is not None:
            for step, value in inner_messages(message, field):
                yield from _oversized_fields(value, f"{path}{step}.")


def _without_json(message: Message) -> Message:
    """Return the message, or a copy in which each Struct, Value and ListValue is empty. A copy is cheap."""
    if not _fields_with_json(message.DESCRIPTOR):
        return message
    copy = type(message)()
    _copy_without_json(message, copy)
    return copy


def _copy_without_json(message: Message, copy: Message) -> None:
    with_json = _fields_with_json(message.DESCRIPTOR)
    if not with_json:
        copy.CopyFrom(message)
        return
    for field, value in message.ListFields():
        target = getattr(copy, field.name) if field.message_type or field.is_repeated else None
        if target is None:
            setattr(copy, field.name, value)
        elif field not in with_json:
            target.MergeFrom(value)
        elif not field.is_repeated:
            target.SetInParent()
            _copy_inside(value, target)
        elif isinstance(value, Mapping):
            for key in value:
                _copy_inside(value[key], target[key])
        else:
            for element in value:
                _copy_inside(element, target.add())


def _copy_inside(value: Message, target: Message) -> None:
    if value.DESCRIPTOR.full_name not in JSON_TYPES:
        _copy_without_json(value, target)


@cache
def _limit(field: FieldDescriptor) -> int | None:
    """The maximum number of elements or pairs in the contract of a field; None where it has none."""
    rules = field.GetOptions().Extensions[validate_pb2.field]
    if rules.map.HasField("max_pairs"):
        return int(rules.map.max_pairs)
    return int(rules.repeated.max_items) if rules.repeated.HasField("max_items") else None


@cache
def _fields_with_lists(descriptor: Descriptor) -> tuple[FieldDescriptor, ...]:
    return fields_reaching(descriptor, lambda field: field.is_repeated)


@cache
def _fields_with_json(descriptor: Descriptor) -> tuple[FieldDescriptor, ...]:
    return fields_reaching(
        descriptor, lambda field: bool(field.message_type and field.message_type.full_name in JSON_TYPES)
    )


@cache
def _fields_with_times(descriptor: Descriptor) -> tuple[FieldDescriptor, ...]:
    return fields_reaching(descriptor, lambda field: bool(field.message_type and field.message_type.full_name in TIMES))


def fields_reaching(descriptor: Descriptor, matches: Callable[[FieldDescriptor], bool]) -> tuple[FieldDescriptor, ...]:
    """The fields of a message that match or whose messages may contain matching ones, at any depth; often none."""

    def reaches(inner: Descriptor, seen: frozenset[str]) -> bool:
        if inner.full_name in seen:
            return False
        return any(leads(field, seen | {inner.full_name}) for field in inner.fields)

    def leads(field: FieldDescriptor, seen: frozenset[str]) -> bool:
        return matches(field) or (field.message_type is not None and reaches(field.message_type, seen))

    return tuple(field for field in descriptor.fields if leads(field, frozenset()))


def _malformed_times(message: Message, prefix: str) -> Iterator[FieldViolation]:
    for field in _fields_with_times(message.DESCRIPTOR):
        for step, value in inner_messages(message, field):
            path = f"{prefix}{field.name}{step}"
            if value.DESCRIPTOR.full_name not in TIMES:
                yield from _malformed_times(value, f"{path}.")
            elif not _is_time(value):
                yield FieldViolation(path, TIMES[value.DESCRIPTOR.full_name])


def inner_messages(message: Message, field: FieldDescriptor) -> Iterator[tuple[str, Message]]:
    """Generate the messages that a field holds, each with its index or key: `[2]`."""
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
        value.ToJsonString()  # type: ignore[attr-defined]  # the well-known types validate themselves here
    except ValueError:
        return False
    return True
