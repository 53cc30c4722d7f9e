"""Starts streams one after another until one of them gives its first event."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog
from graphmesh_chassis.errors import GraphmeshError

log = structlog.get_logger()

Event = TypeVar("Event")


@dataclass(frozen=True)
class Runner(Generic[Event]):
    """A stream that may be started."""

    name: str
    events: AsyncGenerator[Event, None]
    head_start: float | None
    """Seconds after its start in which the next stream is not started beside it; None: it is never."""


async def first_to_answer(
    runners: Sequence[Runner[Event]], falls_back: tuple[type[GraphmeshError], ...]
) -> tuple[Event, AsyncGenerator[Event, None]]:
    """Return the first event of the first stream that gives one, and the stream. All others are closed.

    The next stream is started when all before it have failed by an error of `falls_back`, or a head start is over.

    Raises:
        GraphmeshError: the last error, where no stream gives an event.
    """
    waiting = list(runners)
    running: dict[asyncio.Task[Event], Runner[Event]] = {}
    failure: GraphmeshError | None = None
    head_start: float | None = None
    try:
        while True:
            if not running and not waiting:
                raise failure or AssertionError("no stream was given")
            if not running:
                head_start = _start(waiting.pop(0), running)
            done, _ = await asyncio.wait(
                running, timeout=head_start if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                head_start = _start(waiting.pop(0), running)
            for task in done:
                runner = running.pop(task)
                try:
                    return task.result(), runner.events
                except falls_back as error:
                    failure = error
                    log.warning("model failed", **{**error.data, "alias": runner.name, "reason": error.reason})
                except GraphmeshError as error:
                    failure, waiting = error, []
    finally:
        await _close(running)


def _start(runner: Runner[Event], running: dict[asyncio.Task[Event], Runner[Event]]) -> float | None:
    running[asyncio.create_task(_first(runner.events), name=f"first event of {runner.name}")] = runner
    return runner.head_start


async def _first(events: AsyncGenerator[Event, None]) -> Event:
    return await anext(events)


async def _close(running: Mapping[asyncio.Task[Event], Runner[Event]]) -> None:
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    for runner in running.values():
        await runner.events.aclose()
