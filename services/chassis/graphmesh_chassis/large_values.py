"""Conversion of large JSON values in threads, so that the event loop serves other calls meanwhile."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

SWITCH_SECONDS = 0.001
"""Time after which a thread that computes yields to the event loop. Python's 5 ms add up over the steps of a call."""

_thread = ThreadPoolExecutor(1, thread_name_prefix="large values")
"""One: a second one would compete with the event loop, and convert nothing sooner."""

INLINE_ELEMENTS = 4_000
"""Members and elements up to which a value is converted on the event loop: some milliseconds."""


def is_large(*values: Any) -> bool:
    """Report whether JSON values have more than `INLINE_ELEMENTS` together. It visits at most so many."""
    left, unvisited = INLINE_ELEMENTS, list(values)
    while unvisited:
        value = unvisited.pop()
        if isinstance(value, dict):
            left -= len(value)
            unvisited.extend(value.values() if left >= 0 else ())
        elif isinstance(value, list):
            left -= len(value)
            unvisited.extend(value if left >= 0 else ())
        if left < 0:
            return True
    return False


async def convert_aside(is_large: bool, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function that converts a value: in the thread of large values where the value is large."""
    if is_large:
        return await asyncio.get_running_loop().run_in_executor(_thread, partial(function, *args, **kwargs))
    return function(*args, **kwargs)
