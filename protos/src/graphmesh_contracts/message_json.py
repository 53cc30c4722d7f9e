"""Messages as JSON, with the numbers of Structs as Python's JSON has them: 42, where `json_format` prints 42.0."""

import json
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from graphmesh_contracts.structs import EXACT


def message_dict(message: Message, **options: Any) -> Any:
    """As `MessageToDict`, which takes the options; whole numbers are integers."""
    return _with_integers(MessageToDict(message, **options))


def message_text(message: Message, **options: Any) -> str:
    """As `message_dict`, as one line of text."""
    return json.dumps(message_dict(message, **options), ensure_ascii=False)


def _with_integers(value: Any) -> Any:
    match value:
        case dict():
            return {name: _with_integers(member) for name, member in value.items()}
        case list():
            return [_with_integers(element) for element in value]
        case float() if value.is_integer() and abs(value) <= EXACT:
            return int(value)
    return value
