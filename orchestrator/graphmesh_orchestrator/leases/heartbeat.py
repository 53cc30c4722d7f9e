"""The heartbeat: a thread that renews the leases of a worker."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from uuid import uuid4

import structlog
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import DependencyError

from graphmesh_orchestrator.leases.leases_sql import SqlLeases

log = structlog.get_logger("graphmesh.leases")

HEARTBEAT_SECONDS = 1.0


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
