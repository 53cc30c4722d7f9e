"""Values of a state as JSON, for events and outputs."""

import base64
import dataclasses
import math
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from graphmesh_contracts.structs import NotJsonError, printable
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_jsonable_python

from graphmesh_nodes.errors import ValueNotStorable

MAX_LEVELS = 30
"""Levels of objects and lists in a value; one less than a response can show, since an event may wrap the value."""


def to_json(value: Any) -> Any:
    """Return `value` as JSON types.

    Times become RFC 3339, enumerations their values, bytes base64, decimals and UUIDs text, objects of dataclasses and
    pydantic their fields, arrays lists. Any other value without a JSON form becomes its `str`.

    Raises:
        ValueNotStorable: it has a number that JSON lacks (NaN, infinite, an integer that no double holds), text with a
            lone surrogate or NUL, or too many levels; `key` is the path to it.
    """
    try:
        return _json(value, MAX_LEVELS)
    except NotJsonError as error:
        raise ValueNotStorable(key=error.path.removeprefix(".") or "value", rule=error.rule) from error


def require_json(value: Any) -> Any:
    """As `to_json`, for a value of a caller. Raises NotJsonError."""
    return _json(value, MAX_LEVELS)


def showable(value: Any) -> tuple[Any, str]:
    """Return `value` as `to_json` does, and an empty text; or None, and the path and the rule that it breaks."""
    try:
        return _json(value, MAX_LEVELS), ""
    except NotJsonError as error:
        return None, str(error)


def _json(value: Any, levels: int) -> Any:
    kind = type(value)
    if kind is str:
        return _text(value)
    if value is None or kind is bool:
        return value
    if kind is float or kind is int:
        return _number(value)
    if kind is dict:
        return _object(value, levels)
    if kind is list:
        return _array(value, levels)
    return _other(value, levels)


def _other(value: Any, levels: int) -> Any:
    match value:
        case Enum():
            return _json(value.value, levels)
        case str():
            return _text(str(value))
        case int() | float():
            return _number(value)
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(value).decode()
        case Mapping():
            return _object(value, levels)
        case tuple() | set() | frozenset():
            return _array(value, levels)
        case Message():
            return _json(MessageToDict(value, preserving_proto_field_name=True), levels)
        case BaseModel():
            return _json(_fields(value), levels)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _object({field.name: getattr(value, field.name) for field in dataclasses.fields(value)}, levels)
    if hasattr(value, "tolist"):
        return _json(value.tolist(), levels)
    return _json(to_jsonable_python(value, fallback=_str), levels)


def _str(value: Any) -> str:
    try:
        return str(value)
    except Exception as error:
        raise NotJsonError(f"is a {type(value).__name__}, whose text cannot be made") from error


def _fields(model: BaseModel) -> dict[str, Any]:
    """Return the fields of a model in its own JSON form; where that fails, as for bytes, the fields as they are."""
    try:
        return model.model_dump(mode="json")
    except (PydanticSerializationError, UnicodeError, ValueError):
        return dict(model)


def _object(value: Mapping[Any, Any], levels: int) -> dict[str, Any]:
    _require_levels(levels)
    found, key = {}, ""
    try:
        for key, element in value.items():
            name = key if type(key) is str else _str(key.value if isinstance(key, Enum) else key)
            found[_text(name)] = _json(element, levels - 1)
    except NotJsonError as error:
        raise error.within(str(key)) from None
    return found


def _array(value: Iterable[Any], levels: int) -> list[Any]:
    _require_levels(levels)
    found: list[Any] = []
    try:
        for element in value:
            found.append(_json(element, levels - 1))
    except NotJsonError as error:
        raise error.within(len(found)) from None
    return found


def _require_levels(levels: int) -> None:
    if levels <= 0:
        raise NotJsonError(f"is nested deeper than {MAX_LEVELS} levels")


def _text(text: str) -> str:
    if "\0" in text:
        raise NotJsonError("has a NUL character, which databases do not store")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise NotJsonError(f"has a lone surrogate: {printable(text)}") from None
    return text


def _number(number: float) -> float:
    try:
        finite = math.isfinite(number)
    except OverflowError:
        raise NotJsonError("is an integer that no double holds") from None
    if not finite:
        raise NotJsonError(f"is {number}, which is no number of JSON")
    return number
