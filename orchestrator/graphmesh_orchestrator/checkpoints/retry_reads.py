"""Reads that wait until the database is available."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import structlog
from graphmesh_chassis.errors import DatabaseUnavailable

P = ParamSpec("P")
T = TypeVar("T")

log = structlog.get_logger("graphmesh.checkpoints")

RETRY_SECONDS = 0.5
"""The wait between two attempts to reach the database."""


class RetryingReader(Protocol):
    """An object whose reads are retried."""

    @property
    def retry_seconds(self) -> float:
        """The wait between two attempts."""


ReaderT = TypeVar("ReaderT", bound=RetryingReader)


def retry_while_unavailable(
    read: Callable[Concatenate[ReaderT, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[ReaderT, P], Coroutine[Any, Any, T]]:
    """Retry a method until the database is available, as the group commit retries its writes: no run ends for that."""

    @wraps(read)
    async def retried(reader: ReaderT, /, *args: P.args, **options: P.kwargs) -> T:
        while True:
            try:
                return await read(reader, *args, **options)
            except DatabaseUnavailable as error:
                log.warning("a checkpoint waits to be read", reason=error.reason)
                await asyncio.sleep(reader.retry_seconds)

    return retried
