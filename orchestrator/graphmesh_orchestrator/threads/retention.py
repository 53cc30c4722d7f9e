"""Deletes threads and items of the store past their time to live, and runs that ended long ago."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog
from graphmesh_chassis.errors import DependencyError

from graphmesh_orchestrator.db.database_clock import Now, system_time
from graphmesh_orchestrator.store.items import Store
from graphmesh_orchestrator.threads.deletion import Deletion

log = structlog.get_logger("graphmesh.retention")

POLL_SECONDS = 60.0
"""The poll interval: threads, runs and items may be kept that much longer."""


class Retention:
    """A background task that every worker has; they share the work."""

    def __init__(self, deletion: Deletion, store: Store, run_seconds: float = 0, now: Now = system_time) -> None:
        """`run_seconds` is the time for which ended runs are kept on a thread that stays; 0: as long as the thread."""
        self._deletion, self._store, self._run_seconds, self._now = deletion, store, run_seconds, now

    async def run(self) -> None:
        """Delete until cancelled."""
        while True:
            try:
                await self.poll()
            except DependencyError as error:
                log.warning("nothing deleted", reason=error.reason)
            await asyncio.sleep(POLL_SECONDS)

    async def poll(self) -> None:
        """Delete all threads, runs and items whose time is over, in batches."""
        threads = await _repeat(self._deletion.expire)
        runs = await _repeat(self._delete_runs)
        items = await _repeat(self._store.delete_expired)
        if threads or runs or items:
            log.info("deleted", threads=threads, runs=runs, items=items)

    async def _delete_runs(self) -> int:
        if not self._run_seconds:
            return 0
        return await self._deletion.delete_runs(self._now() - timedelta(seconds=self._run_seconds))


async def _repeat(delete_batch: Callable[[], Awaitable[int]]) -> int:
    """Delete batches until one is empty. Returns the total."""
    total = 0
    while count := await delete_batch():
        total += count
    return total
