"""Claims runs that no worker holds."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import structlog
from graphmesh_chassis.errors import DependencyError

from graphmesh_orchestrator.leases.in_flight import InFlight
from graphmesh_orchestrator.leases.leases import Leases
from graphmesh_orchestrator.runs.run import Run

log = structlog.get_logger("graphmesh.leases")

CLAIM_SECONDS = 0.5
"""The poll interval for runs to claim that no notification announced."""
RESERVED_SECONDS = 0.1
"""The least time between two polls for runs of some tenants only: the others notify of theirs as often as they like."""


class DeadWorkers(Protocol):
    """Where it is read which workers are dead."""

    @property
    def dead(self) -> Collection[str]:
        """Workers whose runs are free although their leases have not expired."""


class Claiming:
    """A background task that claims runs as long as there is capacity: those that another worker has left, and those
    for which there was no capacity when they were created.

    Other runs do not pass through here: they are claimed in the transaction that creates them.
    """

    def __init__(
        self,
        leases: Leases,
        served: Sequence[tuple[str, int]],
        in_flight: InFlight,
        workers: DeadWorkers,
        interval: float = CLAIM_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            served: the graphs and the versions of them that this process executes.
            interval: seconds between two polls.
        """
        self._clock = clock
        self._leases, self._served, self._in_flight = leases, served, in_flight
        self._workers, self._interval = workers, interval
        self._awake = asyncio.Event()
        self._reserved_at = 0.0

    def poll(self, run_id: str = "") -> None:
        """Poll at once: there may be a run to claim."""
        self._awake.set()

    async def run(self, begin: Callable[[Run, float], None]) -> None:
        """Pass every claimed run to `begin`, with the monotonic time when its claim was begun, until cancelled."""
        while True:
            self._awake.clear()
            try:
                await self._survive()
                begun = time.monotonic()
                for run in await self._claim():
                    log.info("claimed", run=run.run_id, epoch=run.state.epoch)
                    begin(run, begun)
            except DependencyError as error:
                log.warning("no runs claimed", reason=error.reason)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._awake.wait()

    async def _survive(self) -> None:
        """Declare lost leases before further claims: at most one of each worker is counted that was not its run's."""
        if not (lost := self._in_flight.take_survived()):
            return
        try:
            await self._leases.survive(lost)
        except DependencyError:
            self._in_flight.keep_survived(lost)
            raise

    async def _claim(self) -> Sequence[Run]:
        limit, without = self._in_flight.next_claim()
        if limit <= 0 or (without and self._clock() < self._reserved_at):
            return []
        if without:
            self._reserved_at = self._clock() + RESERVED_SECONDS
        claimed = await self._leases.claim(self._served, limit, self._workers.dead, without)
        if not without and len(claimed) < limit:
            self._in_flight.none_pending()
        return claimed
