"""Reading that outlasts a database that is away."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import structlog
from graphmesh_chassis.errors import DatabaseUnavailable

P = ParamSpec("P")
T = TypeVar("T")

log = structlog.get_logger("graphmesh.checkpoints")

RETRY_SECONDS = 0.5
"""Between two tries to reach the database."""


def patient(read: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Read however long the database needs to come back, as the group commit writes: no run ends for that."""

    @wraps(read)
    async def reading(*args: P.args, **options: P.kwargs) -> T:
        while True:
            try:
                return await read(*args, **options)
            except DatabaseUnavailable as error:
                log.warning("a checkpoint waits to be read", reason=error.reason)
                await asyncio.sleep(RETRY_SECONDS)

    return reading
