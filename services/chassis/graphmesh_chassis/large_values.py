"""Conversion of large values in a thread, so that the event loop serves other calls meanwhile."""

import asyncio
import dataclasses
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, TypeVar
from weakref import WeakValueDictionary

from graphmesh_chassis.tenant_turns import CURRENT_TENANT

P = ParamSpec("P")
T = TypeVar("T")

SWITCH_SECONDS = 0.0002
"""Time after which a thread that computes yields to the event loop. Python's 5 ms add up over the steps of a call."""

_thread = ThreadPoolExecutor(1, thread_name_prefix="large values")
"""One: a second one would compete with the event loop, and convert nothing sooner."""

INLINE_ELEMENTS = 4_000
"""Members and elements up to which a value is converted on the event loop: some milliseconds."""
INLINE_TEXT = 256 * 1024
"""Bytes of texts up to which a value is converted on the event loop: a millisecond."""
MAX_ELEMENTS = 100_000
"""The most members and elements of a value that a graph writes. Encoding or parsing so many as JSON is one call of C
code, during which no other thread runs: up to 40 ms."""

READS = 4
"""The calls of a tenant, or the checkpoints for its runs, that are read at the same time: each may have megabytes."""
_read_places: WeakValueDictionary[tuple[int, str, str], asyncio.Semaphore] = WeakValueDictionary()
"""By event loop, kind and tenant."""
_turns: WeakValueDictionary[tuple[int, str], asyncio.Lock] = WeakValueDictionary()
"""By event loop and tenant."""


@dataclasses.dataclass(frozen=True, slots=True)
class Size:
    """The size of a value."""

    elements: int
    """Members of objects and elements of lists, at all levels."""
    bytes: int
    """Characters of its texts, without the names of members, and bytes."""

    @property
    def is_large(self) -> bool:
        return self.elements > INLINE_ELEMENTS or self.bytes > INLINE_TEXT


def size_of(*values: Any, max_elements: int = MAX_ELEMENTS) -> Size:
    """Count what values have together, without converting them. It stops soon after `max_elements`."""
    elements = size = 0
    unvisited = list(values)
    while unvisited and elements <= max_elements:
        value = unvisited.pop()
        kind = type(value)
        if kind is str or kind is bytes or kind is bytearray:
            size += len(value)
        elif kind is dict:
            elements += len(value)
            if elements <= max_elements:
                unvisited.extend(value.values())
        elif kind is list or kind is tuple:
            elements += len(value)
            if elements <= max_elements:
                unvisited.extend(value)
        elif kind not in _SCALARS:
            count, length, parts = _parts_of(value)
            elements, size = elements + count, size + length
            if elements <= max_elements:
                unvisited.extend(parts)
    return Size(elements, size)


_SCALARS = frozenset({int, float, bool, type(None)})


def _parts_of(value: Any) -> tuple[int, int, Any]:
    """As `_parts`; nothing of an object whose own attributes raise errors."""
    try:
        return _parts(value)
    except Exception:
        return 0, 0, ()


def _parts(value: Any) -> tuple[int, int, Any]:
    """Return the elements and the bytes of another value, and what else it has."""
    match value:
        case str() | bytes():
            return 0, len(value), ()
        case dict():
            return len(value), 0, value.values()
        case list() | tuple() | set() | frozenset() | deque():
            return len(value), 0, value
    if isinstance(value, type):
        return 0, 0, ()
    if isinstance(length := getattr(value, "nbytes", None), int):  # an array
        return 0, length, ()
    if hasattr(value, "__pydantic_fields__"):
        return len(vars(value)), 0, vars(value).values()
    if dataclasses.is_dataclass(value):
        fields = [getattr(value, field.name, None) for field in dataclasses.fields(value)]
        return len(fields), 0, fields
    return 0, 0, ()


def is_large(*values: Any) -> bool:
    """Whether values are together too large to be converted on the event loop."""
    return size_of(*values, max_elements=INLINE_ELEMENTS).is_large


async def convert_aside(is_large: bool, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function that converts a value: in the thread of large values where the value is large.

    The tenants take turns there: each has one conversion at a time.
    """
    if not is_large:
        return function(*args, **kwargs)
    async with _turn():
        return await asyncio.get_running_loop().run_in_executor(_thread, partial(function, *args, **kwargs))


def read_places(kind: str) -> asyncio.Semaphore:
    """Return the places of the current tenant for reads of a kind.

    It is entered before rows are read and left when they are converted, so that no tenant takes all connections of the
    database, or memory for more than `READS` large values. A read of one kind may be part of one of another.
    """
    key = (id(asyncio.get_running_loop()), kind, CURRENT_TENANT.get())
    if (places := _read_places.get(key)) is None:
        places = _read_places[key] = asyncio.Semaphore(READS)
    return places


def _turn() -> asyncio.Lock:
    key = (id(asyncio.get_running_loop()), CURRENT_TENANT.get())
    if (lock := _turns.get(key)) is None:
        lock = _turns[key] = asyncio.Lock()
    return lock
