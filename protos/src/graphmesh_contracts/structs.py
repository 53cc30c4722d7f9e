"""`google.protobuf.Struct` as Python values, and JSON values as Structs."""

import math
from collections.abc import Iterable, Mapping, Sequence
from struct import Struct as Layout
from typing import Any

from google.protobuf.struct_pb2 import Struct, Value

from graphmesh_contracts.wire import delimited

EXACT = 2**53
"""A double represents every integer below this exactly."""
MAX_LEVELS = 31
"""Levels of objects and lists in a Struct that a response can have.

Parsers accept messages that are nested 100 deep. An object takes three of these levels, and the messages around the
Struct of an interrupt in an event take five.
"""

_DOUBLE = Layout("<d")
_NULL, _FALSE, _TRUE = b"\x08\x00", b"\x20\x00", b"\x20\x01"
_NUMBER, _STRING, _STRUCT, _LIST = b"\x11", b"\x1a", b"\x2a", b"\x32"
"""The tags of the fields of a Value."""
_ELEMENT, _NAME, _MEMBER = b"\x0a", b"\x0a", b"\x12"
"""The tags of an element of a list or a Struct, and of the name and the value of the latter."""


class NotJsonError(ValueError):
    """A value that JSON, or a Struct, cannot express. `path` leads to it, as in `.items[3].price`."""

    def __init__(self, rule: str) -> None:
        super().__init__(rule)
        self.rule = rule
        self._steps: list[str] = []

    def within(self, key: Any) -> "NotJsonError":
        """Add the member or element in which the value is."""
        self._steps.append(f"[{key}]" if isinstance(key, int) else f".{printable(str(key))}")
        return self

    @property
    def path(self) -> str:
        return "".join(reversed(self._steps))

    def __str__(self) -> str:
        return f"{self.path}: {self.rule}" if self._steps else self.rule


def printable(text: str) -> str:
    """Return `text` with escapes for what a protobuf string cannot hold, shortened to 100 characters."""
    return text[:100].encode("utf-8", "backslashreplace").decode()


def struct_value(struct: Struct) -> dict[str, Any]:
    """Convert a Struct to a dict. Its numbers are all doubles; those that are integers become `int`.

    Raises:
        NotJsonError: a number is infinite or NaN.
    """
    values, key = {}, ""
    try:
        for key, value in struct.fields.items():
            values[key] = value_of(value)
    except NotJsonError as error:
        raise error.within(key) from None
    return values


def value_of(value: Value) -> Any:
    """Convert a Value to a JSON value; numbers and `Raises:` as `struct_value`."""
    match value.WhichOneof("kind"):
        case "string_value":
            return value.string_value
        case "number_value":
            return _number_of(value.number_value)
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return struct_value(value.struct_value)
        case "list_value":
            return _list_of(value.list_value.values)
    return None


def _number_of(number: float) -> float | int:
    if not math.isfinite(number):
        raise NotJsonError("has to be a finite number")
    return int(number) if -EXACT < number < EXACT and number.is_integer() else number


def _list_of(elements: Sequence[Value]) -> list[Any]:
    values: list[Any] = []
    try:
        for element in elements:
            values.append(value_of(element))
    except NotJsonError as error:
        raise error.within(len(values)) from None
    return values


def to_struct(value: Mapping[str, Any]) -> Struct:
    """Convert a JSON object to a Struct. It is encoded to bytes, several times as fast as by messages.

    Raises:
        NotJsonError: a Struct cannot express it, or it has more than `MAX_LEVELS` levels.
    """
    return Struct.FromString(struct_bytes(value))


def struct_bytes(value: Mapping[str, Any]) -> bytes:
    """Return a serialized Struct. Raises as `to_struct`."""
    return _members(value, MAX_LEVELS)


def to_value(value: Any) -> Value:
    """Convert a JSON value to a Value. Raises as `to_struct`."""
    return Value.FromString(_encoded(value, MAX_LEVELS))


def require_exact(value: Any) -> None:
    """Raises NotJsonError: a JSON value has an integer that a Struct, whose numbers are doubles, would round."""
    match value:
        case Mapping():
            _require_all_exact(value.items())
        case list() | tuple():
            _require_all_exact(enumerate(value))
        case int() if abs(value) > EXACT:
            raise NotJsonError("is an integer beyond 2^53, which would be rounded: pass it as a text")


def _require_all_exact(members: Iterable[tuple[Any, Any]]) -> None:
    for key, member in members:
        try:
            require_exact(member)
        except NotJsonError as error:
            raise error.within(key) from None


def _encoded(value: Any, levels: int) -> bytes:
    if type(value) is dict:  # at once: whether another value is a mapping takes longer
        return delimited(_STRUCT, _members(value, levels))
    match value:
        case str():
            return delimited(_STRING, _text(value))
        case None:
            return _NULL
        case bool():
            return _TRUE if value else _FALSE
        case int() | float():
            return _NUMBER + _double(value)
        case Mapping():
            return delimited(_STRUCT, _members(value, levels))
        case list() | tuple():
            return delimited(_LIST, _elements(value, levels))
    raise NotJsonError(f"is of the type {type(value).__name__}, which JSON lacks")


def _members(value: Mapping[str, Any], levels: int) -> bytes:
    require_levels(levels, MAX_LEVELS)
    parts, key = [], ""
    try:
        for key, member in value.items():
            name, content = delimited(_NAME, _text(key)), delimited(_MEMBER, _encoded(member, levels - 1))
            parts.append(delimited(_ELEMENT, name + content))
    except NotJsonError as error:
        raise error.within(key) from None
    return b"".join(parts)


def _elements(value: Sequence[Any], levels: int) -> bytes:
    require_levels(levels, MAX_LEVELS)
    parts: list[bytes] = []
    try:
        for element in value:
            parts.append(delimited(_ELEMENT, _encoded(element, levels - 1)))
    except NotJsonError as error:
        raise error.within(len(parts)) from None
    return b"".join(parts)


def require_levels(levels: int, most: int) -> None:
    """Raises NotJsonError where no levels are left of the `most` that a value may have."""
    if levels <= 0:
        raise NotJsonError(f"is nested deeper than {most} levels")


def _text(text: Any) -> bytes:
    if not isinstance(text, str):
        raise NotJsonError("is the name of a member and no string")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise NotJsonError("has a lone surrogate, which is no character") from None


def _double(number: float) -> bytes:
    try:
        value = float(number)
    except OverflowError:
        raise NotJsonError("is an integer that no double holds") from None
    if not math.isfinite(value):
        raise NotJsonError("has to be a finite number")
    return _DOUBLE.pack(value)
