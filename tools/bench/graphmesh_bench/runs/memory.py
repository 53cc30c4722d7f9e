"""What runs hold in memory while they execute, and while they are parked."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import psutil
from graphmesh.orchestrator.v1 import Run, RunEvent, RunStatus
from graphmesh_client import Client

from graphmesh_bench.runs.graph import INPUT

INTERRUPTED = RunStatus.RUN_STATUS_INTERRUPTED
AT_ONCE = 16
"""Callers; so that what they need themselves is no part of what is measured."""


@dataclass(frozen=True)
class Memory:
    """Bytes that each run adds to the process that executes it, on the average of `runs`."""

    runs: int
    in_flight: float
    parked: float


async def memory(client: Client, process: psutil.Process, runs: int) -> Memory:
    """Measure a process that serves nobody else.

    Its caches are filled before, and every kind of run has been there: what it keeps for good is not counted.
    """
    await _in_turn([_parked(client) for _ in range(4 * runs)])
    await _cancel(client, await _in_turn([_staying(client) for _ in range(AT_ONCE)]))
    before = process.memory_info().rss
    staying = await _in_turn([_staying(client) for _ in range(runs)])
    in_flight = process.memory_info().rss - before
    await _cancel(client, staying)
    before = process.memory_info().rss
    await _in_turn([_parked(client) for _ in range(runs)])
    return Memory(runs, in_flight / runs, (process.memory_info().rss - before) / runs)


async def _in_turn(begun: Sequence[Coroutine[Any, Any, Run]]) -> list[Run]:
    """All, `AT_ONCE` at a time."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(coroutine: Coroutine[Any, Any, Run]) -> Run:
        async with turns:
            return await coroutine

    return await asyncio.gather(*(one(coroutine) for coroutine in begun))


async def _parked(client: Client) -> Run:
    """A run that waits for an answer."""
    return await _begun(client, "asking", lambda event: event.status_changed.status == INTERRUPTED)


async def _staying(client: Client) -> Run:
    """A run that is in the middle of its graph."""
    return await _begun(client, "staying", lambda event: event.node == "stay")


async def _begun(client: Client, graph: str, is_there: Callable[[RunEvent], bool]) -> Run:
    run = await client.create_run(graph, INPUT)
    async with aclosing(client.stream_run(run.run_id)) as events:
        async for event in events:
            if is_there(event):
                break
    return run


async def _cancel(client: Client, runs: Sequence[Run]) -> None:
    for run in runs:
        await client.cancel_run(run.run_id, "measured")
    for run in runs:
        await client.wait_run(run.run_id)
