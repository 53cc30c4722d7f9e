"""The background task that deletes what is kept no longer: threads past their time to live, runs of long ago."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import structlog
from graphmesh_chassis.errors import DependencyError

from graphmesh_orchestrator.threads.deletion_sql import SqlRemoval

log = structlog.get_logger("graphmesh.retention")

LOOK_SECONDS = 60.0
"""Between two looks, so threads and runs may outlive their time by so much."""


class Retention:
    """Every orchestrator has one; they share the work."""

    def __init__(self, removal: SqlRemoval, run_seconds: float = 0) -> None:
        """`run_seconds` is how long ended runs are kept on a thread that stays; 0: as long as the thread."""
        self._removal, self._run_seconds = removal, run_seconds

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                await self.look()
            except DependencyError as error:
                log.warning("nothing deleted", reason=error.reason)
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Delete all that is kept no longer, some at a time."""
        threads = await _until_none(self._removal.expire)
        runs = await _until_none(self._forget_runs)
        if threads or runs:
            log.info("deleted", threads=threads, runs=runs)

    async def _forget_runs(self) -> int:
        if not self._run_seconds:
            return 0
        return await self._removal.forget_runs(datetime.now(UTC) - timedelta(seconds=self._run_seconds))


async def _until_none(some: Callable[[], Awaitable[int]]) -> int:
    total = 0
    while count := await some():
        total += count
    return total
