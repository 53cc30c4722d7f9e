"""LangGraph's serializer, but what cannot be read is an error: LangGraph returns the fields of such an object, or None.

It reads what LangGraph's savers have written: MessagePack of present versions, JSON of older ones. JSON makes objects
of LangGraph's list of harmless types only, and calls no method that it names: in a state of those versions a client's
own text may name any class or function (LangGraph's advisory GHSA-fjqc-hq36-qh5p).
"""

import importlib
import json
from typing import Any

import ormsgpack
from graphmesh_contracts.structs import printable
from langchain_core.load.load import Reviver
from langgraph.checkpoint.serde import _msgpack, jsonplus
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.store.base import Item, SearchItem

from graphmesh_orchestrator.checkpoints.stored_objects import FROM_TEXT, UnreadableObject, made, model

LOCAL = "<locals>"
"""In the full name of a class that a function has made, by which it is not found."""
PLAIN = frozenset(("null", "bytes", "bytearray"))
CORE = Reviver(allowed_objects="core")
"""Reads objects of LangChain in JSON: its messages, documents and prompts."""


_langgraph_default = jsonplus._msgpack_default


def _default(value: Any) -> Any:
    """Return what to write for a value that MessagePack lacks, at any depth.

    That is what LangGraph writes, but for what it refuses or could not read again: a scalar of numpy, such as the score
    of a document, is its number; a class within a class has its full name; a search result of the store all its fields.
    """
    kind = type(value)
    if kind is SearchItem:
        fields = {name: getattr(value, name) for name in (*Item.__slots__, *SearchItem.__slots__)}
        return ormsgpack.Ext(
            jsonplus.EXT_CONSTRUCTOR_KW_ARGS, jsonplus._msgpack_enc((kind.__module__, kind.__name__, fields))
        )
    if kind.__module__ == "numpy" and kind.__name__ != "ndarray" and hasattr(value, "item"):
        is_time = value.dtype.kind in "mM"  # of nanoseconds it would be an integer
        return value.astype(f"{value.dtype.kind}8[us]").item() if is_time else value.item()
    written = _langgraph_default(value)
    if kind.__qualname__ != kind.__name__ and isinstance(written, ormsgpack.Ext):
        return _with_name(written, kind)
    return written


def _with_name(written: ormsgpack.Ext, kind: type) -> ormsgpack.Ext:
    """Return an object as it was written, with the name by which its class is found in the module."""
    if LOCAL in kind.__qualname__:
        return written
    code, packed = ormsgpack.unpackb(ormsgpack.packb(written), ext_hook=lambda *parts: parts)
    module, _, *content = ormsgpack.unpackb(packed, ext_hook=ormsgpack.Ext, option=ormsgpack.OPT_NON_STR_KEYS)
    return ormsgpack.Ext(code, jsonplus._msgpack_enc((module, kind.__qualname__, *content)))


jsonplus._msgpack_default = _default  # type: ignore[assignment]  # it is called for the parts of objects too


class StateSerializer(JsonPlusSerializer):
    """Writes what LangGraph writes. `loads_typed` raises UnreadableObject for an object that it cannot make again."""

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        kind, packed = data
        if kind == "msgpack":
            return _Reader(self._allowed_msgpack_modules is True).unpack(packed)
        if kind == "json":
            return json.loads(packed, object_hook=_of_json)
        if kind in PLAIN:
            return super().loads_typed(data)
        raise UnreadableObject(f"it is stored as {kind}, and only MessagePack and JSON are read")


class _Reader:
    """Reads one packed value. What the hook of an extension raises is lost in ormsgpack, so it is kept here."""

    def __init__(self, allows_all: bool) -> None:
        self._allows_all = allows_all
        self._failure: Exception | None = None

    def unpack(self, packed: bytes) -> Any:
        try:
            return self._unpack(packed)
        except ValueError as error:
            raise self._failure or UnreadableObject(f"it is no MessagePack: {error}") from error

    def _unpack(self, packed: bytes) -> Any:
        return ormsgpack.unpackb(packed, ext_hook=self._extension, option=ormsgpack.OPT_NON_STR_KEYS)

    def _extension(self, code: int, packed: bytes) -> Any:
        try:
            return self._object(code, self._unpack(packed))
        except Exception as error:
            self._failure = self._failure or error
            raise

    def _object(self, code: int, stored: Any) -> Any:
        if code == jsonplus.EXT_DELTA_SNAPSHOT:
            return _DeltaSnapshot(stored)
        if code == jsonplus.EXT_NUMPY_ARRAY:
            return _array(*stored)
        module, name, content, *method = stored
        self._require_allowed(module, name)
        match code:
            case jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG:
                return made(module, name, [content], {})
            case jsonplus.EXT_CONSTRUCTOR_POS_ARGS:
                return made(module, name, content, {})
            case jsonplus.EXT_CONSTRUCTOR_KW_ARGS:
                return made(module, name, [], content)
            case jsonplus.EXT_METHOD_SINGLE_ARG:
                return made(module, name, [content], {}, *method)
            case jsonplus.EXT_PYDANTIC_V1 | jsonplus.EXT_PYDANTIC_V2:
                return model(module, name, content)
        raise UnreadableObject(f"it has an object of the unknown kind {code}")

    def _require_allowed(self, module: str, name: str) -> None:
        """LangGraph's own setting. Raises UnreadableObject."""
        if not self._allows_all and (module, name) not in _msgpack.SAFE_MSGPACK_TYPES:
            raise UnreadableObject(f"the class {module}.{name} is not allowed by LANGGRAPH_STRICT_MSGPACK")


def _array(dtype: str, shape: Any, order: Any, data: bytes) -> Any:
    try:
        numpy = importlib.import_module("numpy")  # of the graph's own requirements
    except ModuleNotFoundError as error:
        raise UnreadableObject("the class numpy.ndarray cannot be read: there is no module numpy") from error
    return numpy.frombuffer(data, dtype=numpy.dtype(dtype)).reshape(shape, order=order)


def _of_json(value: dict[str, Any]) -> Any:
    """Return what LangGraph and LangChain have written as an object with the key `lc`."""
    match value:
        case {"lc": 2, "type": "constructor", "id": [*modules, str(name)]}:
            return _constructed(".".join(modules), name, value)
        case {"lc": 1 | 2, "type": str(), "id": [*names]}:
            try:
                return CORE(value)
            except Exception as error:
                raise UnreadableObject(f"the class {'.'.join(map(str, names))} cannot be read: {error}") from error
    return value


def _constructed(module: str, name: str, value: dict[str, Any]) -> Any:
    if (module, name) not in _msgpack.SAFE_MSGPACK_TYPES:
        rule = "cannot be read: in JSON only objects of LangGraph, LangChain and Python's own values are"
        raise UnreadableObject(f"the class {printable(f'{module}.{name}')} {rule}")
    method = FROM_TEXT if value.get("method") == FROM_TEXT else None
    return made(module, name, value.get("args") or [], value.get("kwargs") or {}, method)
