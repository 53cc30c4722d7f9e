"""Leases: which worker executes a run, and until when.

A run's lease has an epoch that grows with each takeover. Whoever writes for the run proves the epoch in the same
transaction (`checkpoints/commit.py`); services refuse effects of an epoch that is over. So a worker that was paused or
cut off can change nothing when it comes back, and learns so (design invariant 4; C2). That a worker is dead is known
sooner than by its leases: `liveness.py`.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from uuid import uuid4

import structlog
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import DependencyError

from graphmesh_orchestrator.leases_sql import SqlLeases
from graphmesh_orchestrator.runs import Run

log = structlog.get_logger("graphmesh.leases")

HEARTBEAT_SECONDS = 1.0
CLAIM_SECONDS = 0.5
"""Between two looks for runs that nobody holds, where nobody says that there are some."""


@dataclass(frozen=True)
class Worker:
    """One process that executes runs."""

    name: str = field(default_factory=lambda: f"worker_{uuid4().hex}")
    capacity: int = 200
    """Runs at a time."""


class Heartbeat:
    """Renews the leases of a worker from a thread of its own: an event loop that is busy must not lose them."""

    def __init__(
        self,
        database: Callable[[], AbstractAsyncContextManager[Database]],
        worker: Worker,
        held: Callable[[], Mapping[str, int]],
        lost: Callable[[str, int], None],
        cancelled: Callable[[str, str], None],
    ) -> None:
        """
        Args:
            database: opens a database for the thread.
            held: the epochs of the runs that the worker holds; called in the thread.
            lost: told of each run and epoch that is over; called in the event loop of the `async with`.
            cancelled: told of each run that is to be ended, and why; called there too, until the run is no more held.
        """
        self._open, self._worker, self._held, self._lost, self._cancelled = database, worker, held, lost, cancelled
        self._stop, self._awake = False, threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    async def __aenter__(self) -> "Heartbeat":
        self._loop = asyncio.get_running_loop()
        self._thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop = True
        self._awake.set()
        await asyncio.to_thread(self._thread.join)

    def look(self, run_id: str) -> None:
        """Look at once whether a run is to be ended, if it is held."""
        if run_id in self._held():
            self._awake.set()

    def _run(self) -> None:
        asyncio.run(self._beat())

    async def _beat(self) -> None:
        async with self._open() as database:
            leases = SqlLeases(database, self._worker.name)
            while not self._stop:
                await self._renew(leases, dict(self._held()))
                await asyncio.to_thread(self._awake.wait, HEARTBEAT_SECONDS)
                self._awake.clear()

    async def _renew(self, leases: SqlLeases, held: Mapping[str, int]) -> None:
        try:
            kept = await leases.renew(held)
        except DependencyError as error:
            log.warning("leases not renewed", runs=len(held), reason=error.reason)
            return
        for run_id in held.keys() - kept.keys():
            self._loop.call_soon_threadsafe(self._lost, run_id, held[run_id])
        for run_id, reason in kept.items():
            if reason:
                self._loop.call_soon_threadsafe(self._cancelled, run_id, reason)


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
