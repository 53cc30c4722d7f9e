"""Bounds the time in which a graph stops: one whose nodes ignore the cancellation is left behind."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from graphmesh_orchestrator.leases.in_flight import InFlight


class TooManyAbandoned(Exception):
    """Executions that have not stopped take half of the capacity: the process is to be restarted."""


async def run_stoppable(
    work: Coroutine[Any, Any, None], seconds: float, abandoned: Callable[["asyncio.Task[None]"], None]
) -> None:
    """Await `work` in a task of its own. When this task is cancelled, `work` is, and has `seconds` to stop.

    Args:
        abandoned: called with the task of `work` if it has not stopped by then.
    """
    task = asyncio.create_task(work)
    task.add_done_callback(_retrieve)
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        task.cancel()
        try:
            await asyncio.wait({task}, timeout=seconds)
        finally:
            if not task.done():
                abandoned(task)
        raise
    task.result()


def ping_of(in_flight: InFlight) -> Callable[[], Awaitable[None]]:
    """Return a ping that fails while abandoned executions take half of the capacity.

    Raises:
        TooManyAbandoned: by the ping.
    """

    async def ping() -> None:
        capacity, abandoned = in_flight.worker.capacity, in_flight.abandoned
        if 0 < capacity <= 2 * abandoned:
            raise TooManyAbandoned(f"{abandoned} executions have not stopped, the capacity is {capacity}")

    return ping


def _retrieve(task: "asyncio.Task[None]") -> None:
    """Retrieve the exception of a task that is not awaited any more, so that it is not logged as lost."""
    if not task.cancelled():
        task.exception()
