"""Values of a state as JSON, for events and outputs."""

import base64
import dataclasses
import math
from collections import deque
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from enum import Enum
from functools import partial
from itertools import islice
from typing import Any, cast

from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from graphmesh_chassis.large_values import MAX_ELEMENTS, Size, size_of
from graphmesh_contracts.message_json import message_dict
from graphmesh_contracts.structs import EXACT, NotJsonError, printable, require_levels
from langgraph.types import Send
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_jsonable_python

from graphmesh_nodes.errors import ValueNotStorable

NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
"""The names of ProtoJSON for numbers that JSON lacks."""
MAX_LEVELS = 30
"""Levels of objects and lists in a value; one less than a response can show, since an event may wrap the value."""
MAX_BYTES = 8 * 1024 * 1024
"""The most bytes of a value's texts and names together."""


def to_json(value: Any) -> Any:
    """Return `value` as JSON types.

    Times become RFC 3339, enumerations their values, bytes base64, decimals and UUIDs text, objects of dataclasses,
    attrs and pydantic their fields, arrays and iterators lists, tables of pandas and polars lists of rows. Integers
    beyond 2^53 and numbers that JSON lacks become text, as in ProtoJSON: "9007199254740993", "NaN", "Infinity". Any
    other value without a JSON form becomes its `str`.

    Raises:
        ValueNotStorable: it has text with a lone surrogate or NUL, two members whose names are equal as texts, or too
            many levels, elements or bytes; `key` is the path to it.
    """
    return JsonEncoder().to_json(value)


def require_json(value: Any) -> Any:
    """As `to_json`, for a value of a caller. Raises NotJsonError."""
    return JsonEncoder().encode(value)


def showable(value: Any) -> tuple[Any, str]:
    """Return `value` as `to_json` does, and an empty text; or None, and the path and the rule that it breaks."""
    return JsonEncoder().showable(value)


def as_object(value: Any) -> Mapping[Any, Any]:
    """Return what a workflow has returned as an object: any other value is the member `value` of one."""
    if isinstance(value, Mapping):
        return value
    try:
        if isinstance(value, BaseModel) and isinstance(fields := _fields(value), dict):
            return fields
        names = _field_names(value)
        return {"value": value} if names is None else {name: getattr(value, name) for name in names}
    except Exception:  # of the value's own code: its encoding fails likewise, and is reported
        return {"value": value}


class JsonEncoder:
    """Encodes values that are stored or shown together: the bounds of elements and bytes are for all of them."""

    def __init__(self) -> None:
        self._elements, self._bytes = MAX_ELEMENTS, MAX_BYTES
        """What is left of the bounds."""

    @property
    def size(self) -> Size:
        """The size of what has been encoded."""
        return Size(MAX_ELEMENTS - self._elements, MAX_BYTES - self._bytes)

    def to_json(self, value: Any) -> Any:
        """As the function."""
        try:
            return self.encode(value)
        except NotJsonError as error:
            raise ValueNotStorable(key=error.path.removeprefix(".") or "value", rule=error.rule) from error

    def showable(self, value: Any) -> tuple[Any, str]:
        """As the function. A value that is not shown leaves the bounds as they are."""
        left = self._elements, self._bytes
        try:
            return self.encode(value), ""
        except NotJsonError as error:
            self._elements, self._bytes = left
            return None, str(error)

    def encode(self, value: Any) -> Any:
        """Raises NotJsonError."""
        return self._json(value, MAX_LEVELS)

    def _json(self, value: Any, levels: int) -> Any:
        kind = type(value)
        if kind is str:
            return self._text(value)
        if value is None or kind is bool:
            return value
        if kind is float or kind is int:
            return _number(value)
        if kind is dict:
            return self._object(value, levels)
        if kind is list:
            return self._array(value, levels)
        try:
            return self._other(value, levels)
        except NotJsonError:
            raise
        except BaseException as error:  # of the value's own code, which may exit
            raise NotJsonError(f"is a {_type_name(value)}, of which no JSON can be made") from error

    def _other(self, value: Any, levels: int) -> Any:
        match value:
            case Enum():
                return self._json(value.value, levels)
            case str():
                return self._text(str.__str__(value))
            case int():
                return _number(int.__pos__(value))
            case float():
                return _number(float.__pos__(value))
            case bytes() | bytearray() | memoryview():
                self._require_room(Size(0, memoryview(value).nbytes))
                return self._text(base64.b64encode(bytes(value)).decode())
            case Mapping():
                return self._object(value, levels)
            case (
                tuple() | set() | frozenset() | deque() | range() | KeysView() | ValuesView() | ItemsView() | Iterator()
            ):
                return self._array(value, levels)
            case Message():
                self._require_room(Size(0, value.ByteSize()))
                pool = cast(DescriptorPool, value.DESCRIPTOR.file.pool)  # of the messages in an Any
                return self._json(message_dict(value, preserving_proto_field_name=True, descriptor_pool=pool), levels)
            case BaseModel():
                self._require_room(size_of(value))
                return self._json(_fields(value), levels)
            case BaseException():
                return self._text(_made_text(repr, value))
        if isinstance(value, type):
            return self._text(_str(value))
        if (names := _field_names(value)) is not None:
            return self._object({name: getattr(value, name) for name in names}, levels)
        if (listed := _listing(value)) is not None:
            self._require_room(Size(int(getattr(value, "size", 0)), 0))
            return self._json(listed(), levels)
        return self._json(_jsonable(value), levels)

    def _object(self, value: Mapping[Any, Any], levels: int) -> dict[str, Any]:
        require_levels(levels, MAX_LEVELS)
        found: dict[str, Any] = {}
        members, name = self._bounded(value.items()), ""
        try:
            for key, element in members:
                name = self._text(key if type(key) is str else _str(key.value if isinstance(key, Enum) else key))
                if name in found:
                    raise NotJsonError("is the name of two members")
                found[name] = self._json(element, levels - 1)
        except NotJsonError as error:
            raise error.within(name) from None
        return found

    def _array(self, value: Iterable[Any], levels: int) -> list[Any]:
        require_levels(levels, MAX_LEVELS)
        found: list[Any] = []
        elements = self._bounded(value)
        try:
            for element in elements:
                found.append(self._json(element, levels - 1))
        except NotJsonError as error:
            raise error.within(len(found)) from None
        return found

    def _bounded(self, elements: Iterable[Any]) -> list[Any]:
        """Return the elements, which code of the graph may change meanwhile, and count them."""
        listed = list(islice(elements, self._elements + 1))
        self._elements -= len(listed)
        if self._elements < 0:
            raise NotJsonError(f"has more than {MAX_ELEMENTS} members and elements")
        return listed

    def _text(self, text: str) -> str:
        if "\0" in text:
            raise NotJsonError("has a NUL character, which databases do not store")
        size = len(text)
        if not text.isascii():
            try:
                size = len(text.encode())
            except UnicodeEncodeError:
                raise NotJsonError(f"has a lone surrogate: {printable(text)}") from None
        self._bytes -= size
        if self._bytes < 0:
            raise NotJsonError(f"has more than {MAX_BYTES} bytes of text")
        return text

    def _require_room(self, size: Size) -> None:
        """Refuse a value whose JSON form is made in one step, where it would exceed the bounds."""
        if size.elements > self._elements:
            raise NotJsonError(f"has more than {MAX_ELEMENTS} members and elements")
        if size.bytes > self._bytes:
            raise NotJsonError(f"has more than {MAX_BYTES} bytes")


def _field_names(value: Any) -> list[str] | None:
    """Return the names of the fields of an object that has declared ones."""
    if isinstance(value, Send):
        return ["node", "arg"]
    if dataclasses.is_dataclass(value):
        return [field.name for field in dataclasses.fields(value)]
    declared = getattr(type(value), "__attrs_attrs__", None)
    return None if declared is None else [field.name for field in declared]


def _listing(value: Any) -> Callable[[], Any] | None:
    """Return what makes a list of an array, or of the rows of a table; None for other values."""
    if hasattr(value, "to_dicts"):
        return cast(Callable[[], Any], value.to_dicts)
    if hasattr(value, "iterrows"):
        return partial(value.to_dict, orient="records")
    return getattr(value, "tolist", None)


def _jsonable(value: Any) -> Any:
    """Return a value in pydantic's form; where it has none, its `str`."""
    try:
        return to_jsonable_python(value, fallback=_str)
    except (PydanticSerializationError, ValueError):
        return _str(value)


def _type_name(value: Any) -> str:
    return printable(type(value).__name__)


def _str(value: Any) -> str:
    return _made_text(str, value)


def _made_text(make: Callable[[Any], str], value: Any) -> str:
    try:
        return make(value)
    except BaseException as error:  # of the value's own code, which may exit
        raise NotJsonError(f"is a {_type_name(value)}, whose text cannot be made") from error


def _fields(model: BaseModel) -> dict[str, Any]:
    """Return the fields of a model in its own JSON form; where that fails, as for bytes, its own Python form."""
    try:
        return model.model_dump(mode="json")
    except (PydanticSerializationError, UnicodeError, ValueError):
        return model.model_dump()


def _number(number: float) -> float | str:
    """Return a number as JSON, whose numbers are doubles; one that no double holds exactly as ProtoJSON has it."""
    if -EXACT <= number <= EXACT:
        return number
    if isinstance(number, int):
        return _made_text(str, number)
    return number if math.isfinite(number) else NOT_FINITE[str(number)]
