"""PostgreSQL's own parser: libpg_query, from the package postgast.

Its trees are read as JSON: a message of protobuf may not be nested as deeply as an ordinary sum of fifty terms. Only
postgast's binding is loaded, since the rest of the package would take twice the memory of a worker.
"""

import ctypes
import importlib.util
import json
import sys
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
