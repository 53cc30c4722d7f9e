"""State as plain JSON values, for events and outputs."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from pydantic import BaseModel


def plain(value: Any) -> Any:
    """`value` as JSON has it; what JSON has no form for becomes its text."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Mapping():
            return {str(key): plain(element) for key, element in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(element) for element in value]
        case Message():
            return MessageToDict(value, preserving_proto_field_name=True)
        case BaseModel():
            return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(dataclasses.asdict(value))
    return str(value)
