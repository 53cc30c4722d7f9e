"""Values of a state as JSON, for events and outputs."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from pydantic import BaseModel


def to_json(value: Any) -> Any:
    """Return `value` as JSON types; a value without a JSON form becomes its `str`."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Mapping():
            return {str(key): to_json(element) for key, element in value.items()}
        case list() | tuple() | set() | frozenset():
            return [to_json(element) for element in value]
        case Message():
            return MessageToDict(value, preserving_proto_field_name=True)
        case BaseModel():
            return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_json(dataclasses.asdict(value))
    return str(value)
