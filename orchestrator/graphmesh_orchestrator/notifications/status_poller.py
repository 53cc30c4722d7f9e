"""Polls for run changes that no notification announced: one query for all waiters of the process."""

import asyncio
import time
from collections.abc import Collection, Mapping
from typing import Protocol

import structlog
from graphmesh_chassis.epoch import Epoch
from graphmesh_chassis.errors import DependencyError

from graphmesh_orchestrator.notifications.notifier import Notifier, Topic
from graphmesh_orchestrator.runs.run import RunProgress

log = structlog.get_logger("graphmesh.notifications")


class ProgressReader(Protocol):
    """Where the progress of runs is read."""

    async def progress(self, run_ids: Collection[str]) -> Mapping[str, RunProgress]:
        """Return the progress of runs by id; runs that do not exist are missing."""


class LocalRuns(Protocol):
    """The runs that this process executes, whose waiters it notifies itself."""

    @property
    def held(self) -> Mapping[str, Epoch]:
        """Epochs by run."""


class StatusPoller:
    """A background task that polls the awaited runs of other processes and notifies their waiters of changes."""

    def __init__(
        self,
        runs: ProgressReader,
        notifier: Notifier,
        local: LocalRuns,
        interval: float = 1.0,
        connected_interval: float = 5.0,
    ) -> None:
        """
        Args:
            interval: seconds between two polls while notifications of other processes do not arrive.
            connected_interval: the same while they do: one may be lost.
        """
        self._runs, self._notifier, self._local = runs, notifier, local
        self._interval, self._connected_interval = interval, connected_interval
        self._seen: Mapping[str, RunProgress | None] = {}

    async def run(self) -> None:
        """Poll until cancelled."""
        polled = time.monotonic()
        while True:
            await asyncio.sleep(self._interval)
            if self._notifier.bus.is_connected and time.monotonic() - polled < self._connected_interval:
                continue
            polled = time.monotonic()
            try:
                await self.poll()
            except DependencyError as error:
                log.warning("run status not polled", reason=error.reason)

    async def poll(self) -> None:
        """Notify the waiters of runs that have changed since the last poll, or were not polled then."""
        awaited = self._notifier.awaited_runs.difference(self._local.held)
        found = await self._runs.progress(awaited) if awaited else {}
        seen, self._seen = self._seen, {run_id: found.get(run_id) for run_id in awaited}
        for run_id, progress in self._seen.items():
            if run_id not in seen or seen[run_id] != progress:
                self._notifier.receive(Topic.EVENTS, run_id)
            if progress is None or not progress.status.is_active:
                self._notifier.receive(Topic.STOPPED, run_id)
