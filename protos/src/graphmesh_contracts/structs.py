"""`google.protobuf.Struct` as Python values."""

from typing import Any

from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct, Value

EXACT = 2**53
"""A double represents every integer below this exactly."""


def struct_value(struct: Struct) -> dict[str, Any]:
    """Convert a Struct to a dict. Its numbers are all doubles; those that are integers become `int`.

    Raises:
        ValueError: a number is infinite or NaN.
    """
    value: dict[str, Any] = _whole(json_format.MessageToDict(struct))
    return value


def value_of(value: Value) -> Any:
    """Convert a Value to a JSON value; numbers and `Raises:` as `struct_value`."""
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
