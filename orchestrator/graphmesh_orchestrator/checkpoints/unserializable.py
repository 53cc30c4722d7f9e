"""Finds the part of a value that LangGraph's serializer refuses, so that an error can name it."""

import dataclasses
import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from graphmesh_contracts.structs import NotJsonError, printable
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.types import Interrupt, Send

MAX_PARTS = 1_000
"""Parts that are serialized by themselves before the search ends at the value that has them."""
MAX_LEVELS = 64


def refusal(serde: SerializerProtocol, value: Any, error: Exception) -> NotJsonError:
    """Return the path to the innermost part that cannot be serialized, and the rule, for a value with that error."""
    return _Search(serde).refusal(value, error, MAX_LEVELS)


class _Search:
    def __init__(self, serde: SerializerProtocol) -> None:
        self._serde, self._left = serde, MAX_PARTS

    def refusal(self, value: Any, error: Exception, levels: int) -> NotJsonError:
        for key, part in self._parts(value) if levels else ():
            if failure := self._failure(part):
                return self.refusal(part, failure, levels - 1).within(key)
        return NotJsonError(_rule(value, error))

    def _parts(self, value: Any) -> list[tuple[Any, Any]]:
        """Return as many parts as are left to be serialized; none of an object whose own code raises errors."""
        try:
            parts = list(islice(_parts(value), self._left))
        except Exception:
            return []
        self._left -= len(parts)
        return parts

    def _failure(self, part: Any) -> Exception | None:
        try:
            self._serde.dumps_typed(part)
        except Exception as error:
            return error
        return None


def _parts(value: Any) -> Iterator[tuple[Any, Any]]:
    match value:
        case Mapping():
            yield from list(value.items())
        case list() | tuple() | set() | frozenset():
            yield from enumerate(list(value))
        case Send():
            yield "arg", value.arg
        case Interrupt():
            yield "value", value.value
        case _ if isinstance(value, type):
            return
        case _ if hasattr(value, "__pydantic_fields__"):
            yield from list(vars(value).items())
        case _ if dataclasses.is_dataclass(value):
            yield from ((field.name, getattr(value, field.name, None)) for field in dataclasses.fields(value))


def _rule(value: Any, error: Exception) -> str:
    kind = printable(type(value).__qualname__)
    match str(error):
        case "Recursion limit reached":
            return "is nested too deeply, or contains itself"
        case "Integer exceeds 64-bit range":
            return "is an integer of more than 64 bits"
    hint = "; a dataclass or a pydantic model can" if type(value).__module__ not in sys.stdlib_module_names else ""
    return f"is a {kind}, which cannot be serialized{hint}: {printable(str(error))}"
