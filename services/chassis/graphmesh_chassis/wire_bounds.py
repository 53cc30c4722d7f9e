"""Bounds of JSON in requests, counted in the bytes of the request before any message is made of them.

A megabyte holds half a million elements of a `google.protobuf.Struct`, each of which takes a hundred times its bytes
once it is a message and a Python object. Bounds are declared at fields, as `(graphmesh.policy.v1.json)`. The scan reads
each byte at most once and stops at the first bound that is exceeded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError
from graphmesh.policy.v1 import policy_pb2

from graphmesh_chassis.errors import FieldViolation, InvalidRequest

MAX_ELEMENTS = 50_000
"""Where a field declares none."""
MAX_DEPTH = 24
"""Where a field declares none."""
MAX_VARINT_BYTES = 10

VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5
"""Wire types. Groups, the other two, are refused: no contract has them."""
STRUCT, MEMBER, VALUE, LIST = "Struct", "member", "Value", "ListValue"
CONTENTS: Mapping[str, Mapping[int, str]] = {
    STRUCT: {1: MEMBER},
    MEMBER: {2: VALUE},
    VALUE: {5: STRUCT, 6: LIST},
    LIST: {1: VALUE},
}
"""The parts of JSON messages by field number."""
NULL, NUMBER, STRING, BOOL, OBJECT, ARRAY = 0x08, 0x11, 0x1A, 0x20, 0x2A, 0x32
"""The first bytes of a Value by its kind."""
JSON_TYPES = {f"google.protobuf.{kind}": kind for kind in (STRUCT, VALUE, LIST)}


@dataclass(frozen=True)
class _Json:
    """A field of JSON."""

    name: str
    """The path of the field that declares the bounds."""
    kind: str
    bounds: policy_pb2.JsonBounds


@dataclass(frozen=True)
class _Messages:
    """A field of messages that may have JSON in them."""

    fields: "Plan"


Plan = Mapping[int, _Json | _Messages]
"""The fields of a message that may have JSON in them, by number."""


def has_json(descriptor: Descriptor) -> bool:
    """Whether a message may have JSON in it."""
    return bool(_plan_of(descriptor))


def check_wire_bounds(payload: bytes, descriptor: Descriptor, method: str) -> None:
    """Check the bounds of the JSON in a serialized message.

    Raises:
        InvalidRequest: a bound is exceeded; it names the field and the bound.
        DecodeError: the bytes are no message.
    """
    if not (plan := _plan_of(descriptor)):
        return
    try:
        _Scan(payload).message(0, len(payload), plan)
    except _Exceeded as exceeded:
        raise InvalidRequest(violations=[FieldViolation(exceeded.field, exceeded.rule)], method=method) from None
    except IndexError:
        raise DecodeError("truncated message") from None


class _Exceeded(Exception):
    def __init__(self, field: str, rule: str) -> None:
        super().__init__(field, rule)
        self.field, self.rule = field, rule


@dataclass
class _Usage:
    """The JSON of a field that has been counted so far, over all its values."""

    bytes: int = 0
    elements: int = 0


@dataclass
class _Scan:
    data: bytes
    usage: dict[str, _Usage] = field(default_factory=dict)

    def message(self, position: int, end: int, plan: Plan) -> None:
        while position < end:
            tag, position = self.varint(position)
            begin, position = self.skip(tag & 7, position, end)
            match plan.get(tag >> 3):
                case _Messages(fields) if tag & 7 == LENGTH_DELIMITED:
                    self.message(begin, position, fields)
                case _Json() as json if tag & 7 == LENGTH_DELIMITED:
                    self.json(begin, position, json)

    def json(self, begin: int, end: int, json: _Json) -> None:
        usage, bounds = self.usage.setdefault(json.name, _Usage()), json.bounds
        usage.bytes += end - begin
        if bounds.max_bytes and usage.bytes > bounds.max_bytes:
            raise _Exceeded(json.name, f"has {usage.bytes} bytes, it may have {bounds.max_bytes}")
        max_depth = bounds.max_depth or MAX_DEPTH
        left = (bounds.max_elements or MAX_ELEMENTS) - usage.elements
        try:
            usage.elements += left - self.contents(begin, end, json.kind, max_depth - (json.kind != VALUE), left)
        except _TooManyError:
            rule = f"has more than {bounds.max_elements or MAX_ELEMENTS} members and elements"
            raise _Exceeded(json.name, rule) from None
        except _TooDeepError:
            rule = f"is nested deeper than {max_depth} levels of objects and lists"
            raise _Exceeded(json.name, rule) from None

    def contents(self, position: int, end: int, kind: str, levels: int, left: int) -> int:
        """Count the elements of a JSON message. Returns how many of the `left` ones it leaves.

        Leaves and empty lists are recognized by their first byte and their length, without a call of their own.
        """
        data, parts = self.data, CONTENTS[kind]
        while position < end:
            tag = data[position]
            if tag < 128:
                position += 1
            else:
                tag, position = self.varint(position)
            if tag & 7 != LENGTH_DELIMITED:
                _, position = self.skip(tag & 7, position, end)
                continue
            length = data[position]
            if length < 128:
                begin = position + 1
            else:
                length, begin = self.varint(position)
            position = begin + length
            if position > end:
                raise DecodeError("truncated message")
            part = parts.get(tag >> 3)
            if part is None:
                continue
            if part is MEMBER or kind is LIST:
                left -= 1
                if left < 0:
                    raise _TooManyError
            elif part is STRUCT or part is LIST:
                if not levels:
                    raise _TooDeepError
                left = self.contents(begin, position, part, levels - 1, left)
                continue
            if part is VALUE and length >= 2:
                first = data[begin]
                if length == 2:
                    if first in (NULL, BOOL) and data[begin + 1] < 128:
                        continue
                    if first in (OBJECT, ARRAY) and not data[begin + 1]:
                        if not levels:
                            raise _TooDeepError
                        continue
                if first == NUMBER and length == 9:
                    continue
                if first == STRING and data[begin + 1] == length - 2 < 128:
                    continue
            if length >= 2:
                left = self.contents(begin, position, part, levels, left)
        return left

    def skip(self, wire_type: int, position: int, end: int) -> tuple[int, int]:
        """Return the begin and the end of the content of a field."""
        begin = position
        if wire_type == VARINT:
            _, position = self.varint(position)
        elif wire_type == LENGTH_DELIMITED:
            length, begin = self.varint(position)
            position = begin + length
        elif wire_type == FIXED64:
            position += 8
        elif wire_type == FIXED32:
            position += 4
        else:
            raise DecodeError("a field of an unknown wire type")
        if position > end:
            raise DecodeError("truncated message")
        return begin, position

    def varint(self, position: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 7 * MAX_VARINT_BYTES, 7):
            byte = self.data[position]
            position += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value, position
        raise DecodeError("a number of more than ten bytes")


class _TooManyError(Exception):
    pass


class _TooDeepError(Exception):
    pass


@cache
def _plan_of(descriptor: Descriptor) -> Plan:
    return _plan(descriptor, "", None, frozenset())


def _plan(descriptor: Descriptor, path: str, declared: _Json | None, seen: frozenset[str]) -> Plan:
    """Return the plan of a message. `declared` has the bounds of the field that it is in, if that declares any."""
    if descriptor.full_name in seen:
        return {}  # a message in itself; a field in which JSON recurs by messages is left to the parser
    found: dict[int, _Json | _Messages] = {}
    for one in descriptor.fields:
        if one.message_type is None:
            continue
        name, bounds = f"{path}{one.name}", _declared(one)
        json = _Json(name, "", bounds) if bounds is not None else declared
        kind = JSON_TYPES.get(one.message_type.full_name)
        if kind:
            found[one.number] = _Json(json.name if json else name, kind, json.bounds if json else _DEFAULT)
            continue
        inner_path = path if one.message_type.GetOptions().map_entry else f"{name}."
        inner = _plan(one.message_type, inner_path, json, seen | {descriptor.full_name})
        if inner:
            found[one.number] = _Messages(inner)
    return found


_DEFAULT = policy_pb2.JsonBounds()


def _declared(one: FieldDescriptor) -> policy_pb2.JsonBounds | None:
    options = one.GetOptions()
    return options.Extensions[policy_pb2.json] if options.HasExtension(policy_pb2.json) else None
