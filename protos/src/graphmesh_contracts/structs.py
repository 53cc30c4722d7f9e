"""`google.protobuf.Struct` as Python values."""

from typing import Any

from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct, Value

EXACT = 2**53
"""Up to here a double holds every whole number."""


def struct_value(struct: Struct) -> dict[str, Any]:
    """A Struct as a dict; its numbers, which are all doubles, as integers where they are whole."""
    value: dict[str, Any] = _whole(json_format.MessageToDict(struct))
    return value


def value_of(value: Value) -> Any:
    """A Value as JSON; its numbers as `struct_value` has them."""
    return _whole(json_format.MessageToDict(value))


def _whole(value: Any) -> Any:
    match value:
        case dict():
            return {key: _whole(element) for key, element in value.items()}
        case list():
            return [_whole(element) for element in value]
        case float() if value.is_integer() and abs(value) < EXACT:
            return int(value)
    return value
