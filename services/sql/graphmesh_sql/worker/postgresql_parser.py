"""PostgreSQL's own parser: libpg_query, from the package postgast.

Its trees are read as JSON: a message of protobuf may not be nested as deeply as an ordinary sum of fifty terms. Only
postgast's binding is loaded, since the rest of the package would take twice the memory of a worker.
"""

import ctypes
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

MAX_DEPTH: Final = 60_000
"""Levels of JSON; a text of 20,000 characters has fewer. Too deep a tree ends the worker, not the service."""


class NotSql(ValueError):
    """The text is not SQL; the message is the parser's."""


def parse(text: str) -> list[Any]:
    """Return the statements of a text, each as `{"stmt": {NODE: {...}}, ...}`.

    Raises:
        NotSql: it cannot be parsed.
    """
    result = _BINDING.lib.pg_query_parse(text.encode())
    try:
        if result.error:
            raise NotSql(result.error.contents.message.decode(errors="replace"))
        tree = ctypes.string_at(result.parse_tree)
    finally:
        _BINDING.lib.pg_query_free_parse_result(result)
    sys.setrecursionlimit(MAX_DEPTH)
    statements: list[Any] = json.loads(tree).get("stmts", [])
    return statements


def tokens(text: str) -> Iterator[tuple[int, int, int]]:
    """Yield the tokens of a text that can be parsed: where each begins and ends, in bytes, and its kind.

    The kind of a punctuation mark is its ASCII code.
    """
    result = _BINDING.lib.pg_query_scan(text.encode())
    try:
        message = ctypes.string_at(result.pbuf.data, result.pbuf.len) if not result.error else b""
    finally:
        _BINDING.lib.pg_query_free_scan_result(result)
    for number, _, token in _fields(message):
        if number == TOKENS:
            values = {name: value for name, value, _ in _fields(token)}
            yield values.get(START, 0), values.get(END, 0), values.get(KIND, 0)


TOKENS: Final = 2
"""The number of a field of libpg_query's message ScanResult; those of a ScanToken are START, END and KIND."""
START: Final = 1
END: Final = 2
KIND: Final = 4


def _fields(message: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield the fields of a message of protobuf: the number of each, its integer, or its bytes."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        value, at = _varint(message, at)
        if tag & 7 != LENGTH_DELIMITED:
            yield tag >> 3, value, b""
            continue
        yield tag >> 3, 0, message[at : at + value]
        at += value


LENGTH_DELIMITED: Final = 2


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Return the integer at a position, and the position behind it."""
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def _load_binding() -> ModuleType:
    package = importlib.util.find_spec("postgast")
    if package is None or package.origin is None:
        raise ImportError("postgast is not installed")
    spec = importlib.util.spec_from_file_location("libpg_query", Path(package.origin).with_name("native.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_BINDING: Final = _load_binding()
