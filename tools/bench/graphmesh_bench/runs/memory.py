"""The memory that runs need while they are executed, and while they are parked."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import psutil
from graphmesh.orchestrator.v1 import Run, RunEvent, RunStatus
from graphmesh_client import Client

from graphmesh_bench.runs.local_graphs import BLOCKING, BLOCKING_NODE, INPUT, INTERRUPTING

MAX_CALLERS = 16
"""Concurrent callers: few, so that their connections need no memory that would be measured."""


@dataclass(frozen=True)
class Memory:
    """Bytes that each run adds to the process that executes it, as the mean over `runs`."""

    runs: int
    in_flight: float
    parked: float


async def measure_memory(client: Client, process: psutil.Process, runs: int) -> Memory:
    """Measure an orchestrator without other callers.

    Its caches are filled first, and runs of both graphs have been executed: memory that it keeps is not counted.
    """
    await _limited([_park(client) for _ in range(4 * runs)])
    await _cancel(client, await _limited([_block(client) for _ in range(MAX_CALLERS)]))
    before = process.memory_info().rss
    blocked = await _limited([_block(client) for _ in range(runs)])
    in_flight = process.memory_info().rss - before
    await _cancel(client, blocked)
    before = process.memory_info().rss
    await _limited([_park(client) for _ in range(runs)])
    return Memory(runs, in_flight / runs, (process.memory_info().rss - before) / runs)


async def _limited(coroutines: Sequence[Coroutine[Any, Any, Run]]) -> list[Run]:
    """Await all, `MAX_CALLERS` at a time."""
    limit = asyncio.Semaphore(MAX_CALLERS)

    async def one(coroutine: Coroutine[Any, Any, Run]) -> Run:
        async with limit:
            return await coroutine

    return await asyncio.gather(*(one(coroutine) for coroutine in coroutines))


async def _park(client: Client) -> Run:
    """Begin a run, until it is parked."""
    return await _begin(client, INTERRUPTING, _is_parked)


async def _block(client: Client) -> Run:
    """Begin a run, until it is in the middle of its graph."""
    return await _begin(client, BLOCKING, _is_blocked)


def _is_parked(event: RunEvent) -> bool:
    return event.status_changed.status == RunStatus.RUN_STATUS_INTERRUPTED


def _is_blocked(event: RunEvent) -> bool:
    return event.node == BLOCKING_NODE


async def _begin(client: Client, graph: str, is_reached: Callable[[RunEvent], bool]) -> Run:
    run = await client.create_run(graph, INPUT)
    async with aclosing(client.stream_run(run.run_id)) as events:
        async for event in events:
            if is_reached(event):
                break
    return run


async def _cancel(client: Client, runs: Sequence[Run]) -> None:
    for run in runs:
        await client.cancel_run(run.run_id, "measured")
    for run in runs:
        await client.wait_run(run.run_id)
