"""Leases: which worker executes a run, and until when.

A run's lease has an epoch that grows with each takeover. Whoever writes for the run proves the epoch in the same
transaction (`checkpoints/commit.py`); services refuse effects of an epoch that is over. So a worker that was paused or
cut off can change nothing when it comes back, and learns so (design invariant 4; C2). That a worker is dead is known
sooner than by its leases: `liveness.py`.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Sequence

import structlog
from graphmesh_chassis.errors import DependencyError

from graphmesh_orchestrator.leases.leases_sql import SqlLeases
from graphmesh_orchestrator.runs.run import Run

log = structlog.get_logger("graphmesh.leases")

CLAIM_SECONDS = 0.5
"""Between two looks for runs that nobody holds, where nobody says that there are some."""


class Claiming:
    """Claims runs that nobody holds, as long as there is room for them: those that another worker left (C1), and those
    for which there was no room when they came.

    Else a run that is submitted here does not pass through here: it is claimed in the transaction that stores it.
    """

    def __init__(
        self,
        leases: SqlLeases,
        served: Sequence[tuple[str, int]],
        room: Callable[[], int],
        dead: Callable[[], Collection[str]] = tuple,
    ) -> None:
        """
        Args:
            served: the graphs and the versions of them that this process goes on with.
            room: how many runs may be claimed now.
            dead: the workers whose runs are free although their leases are not over.
        """
        self._leases, self._served, self._room, self._dead = leases, served, room, dead
        self._awake = asyncio.Event()

    def look(self, run_id: str = "") -> None:
        """Look at once: there may be a run to claim, whichever it is."""
        self._awake.set()

    async def run(self, begin: Callable[[Run], None]) -> None:
        """Hand every claimed run to `begin`, for ever."""
        while True:
            self._awake.clear()
            try:
                for run in await self._claim():
                    log.info("claimed", run=run.run_id, epoch=run.epoch)
                    begin(run)
            except DependencyError as error:
                log.warning("no runs claimed", reason=error.reason)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLAIM_SECONDS):
                    await self._awake.wait()

    async def _claim(self) -> list[Run]:
        room = self._room()
        return await self._leases.claim(self._served, room, self._dead()) if room > 0 else []
