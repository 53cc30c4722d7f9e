"""Renews the leases of a worker from a thread of its own: a blocked event loop does not lose them."""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import structlog
from graphmesh_chassis.errors import DependencyError

from graphmesh_orchestrator.db.clock import LEASE_SECONDS
from graphmesh_orchestrator.leases.in_flight import InFlight
from graphmesh_orchestrator.leases.leases import Leases

log = structlog.get_logger("graphmesh.leases")

HEARTBEAT_SECONDS = 1.0
BLOCKED_SECONDS = 2.0
"""The delay of a heartbeat from which on something blocks the process, such as a node that keeps Python's lock."""


class Heartbeat:
    """Renews leases while the body of `async with` runs, and stops the executions whose leases are lost.

    It also cancels runs whose cancellation other processes have requested.
    """

    def __init__(
        self,
        open_leases: Callable[[], AbstractAsyncContextManager[Leases]],
        in_flight: InFlight,
        interval: float = HEARTBEAT_SECONDS,
    ) -> None:
        """
        Args:
            open_leases: opens leases with a connection of the thread's own.
            in_flight: the runs that hold the leases; its callbacks are called in the event loop of the `async with`.
            interval: seconds between two heartbeats.
        """
        self._open, self._in_flight, self._interval = open_leases, in_flight, interval
        self._is_stopping, self._awake = False, threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    async def __aenter__(self) -> "Heartbeat":
        self._loop = asyncio.get_running_loop()
        self._thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_stopping = True
        self._awake.set()
        await asyncio.to_thread(self._thread.join)

    def poll(self, run_id: str) -> None:
        """Check at once whether a run is to be ended, if it is active here."""
        if run_id in self._in_flight.held:
            self._awake.set()

    def _run(self) -> None:
        asyncio.run(self._beat())

    async def _beat(self) -> None:
        async with self._open() as leases:
            while not self._is_stopping:
                await self._renew(leases)
                since = time.monotonic()
                await asyncio.to_thread(self._awake.wait, self._interval)
                self._awake.clear()
                if time.monotonic() - since > self._interval + BLOCKED_SECONDS:
                    self._in_flight.blocked()

    async def _renew(self, leases: Leases) -> None:
        held, begun = dict(self._in_flight.held), time.monotonic()
        try:
            async with asyncio.timeout(LEASE_SECONDS):
                kept = await leases.renew(held)
        except Exception as error:  # whatever it is: without a further heartbeat all leases would be lost
            cause = None if isinstance(error, DependencyError | TimeoutError) else error
            log.warning("leases not renewed", runs=len(held), error=type(error).__name__, exc_info=cause)
            return
        self._in_flight.renewed(kept, begun)
        for run_id in held.keys() - kept.keys():
            self._loop.call_soon_threadsafe(self._in_flight.lost, run_id, held[run_id])
        for run_id, reason in kept.items():
            if reason:
                self._loop.call_soon_threadsafe(self._in_flight.cancel, run_id, reason)
