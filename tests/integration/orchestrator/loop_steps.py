"""Measures the longest step of an event loop, in CPU time of its thread, which other processes do not lengthen."""

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass
class Steps:
    longest: float = 0.0
    """Seconds of CPU time."""
    callback: str = ""
    """The longest one."""


@contextmanager
def measured_steps() -> Iterator[Steps]:
    """Measure each callback that event loops execute in this thread while the body runs, without garbage collection."""
    steps, run = Steps(), asyncio.Handle._run

    def measured(handle: Any) -> None:
        began = time.thread_time()
        run(handle)
        if (seconds := time.thread_time() - began) > steps.longest:
            steps.longest, steps.callback = seconds, repr(handle)[:500]

    gc.collect()
    gc.disable()
    asyncio.Handle._run = measured  # type: ignore[method-assign, assignment]
    try:
        yield steps
    finally:
        asyncio.Handle._run = run  # type: ignore[method-assign]
        gc.enable()


def cpu_seconds(function: Any, *args: Any) -> float:
    """Return the least CPU time of a call, of three."""
    return min(_once(function, *args) for _ in range(3))


def _once(function: Any, *args: Any) -> float:
    began = time.thread_time()
    function(*args)
    return time.thread_time() - began
