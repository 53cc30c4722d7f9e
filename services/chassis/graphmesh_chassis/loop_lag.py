"""Measures how long the event loop is blocked: every call of the process waits that long."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from graphmesh_chassis.telemetry import names

log = structlog.get_logger("graphmesh.server")

INTERVAL_SECONDS = 0.1
"""Seconds between two measurements; a block that is shorter may pass between them."""
WARNING_SECONDS = 0.05
"""The lag from which on it is logged."""
LOG_SECONDS = 5.0
"""Seconds between two log lines at least; each has the longest lag since the one before."""


class LoopLag:
    """The lag of the event loop: how much later than due a timer of the loop is called."""

    def __init__(
        self,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._now, self._sleep = now, sleep
        self.longest = 0.0
        """Seconds, since the server began."""
        self._untaken = 0.0
        self._unlogged = 0.0
        self._logged_at = float("-inf")

    async def measure(self) -> None:
        """Measure the lag until cancelled."""
        while True:
            due = self._now() + INTERVAL_SECONDS
            await self._sleep(INTERVAL_SECONDS)
            self._add(self._now() - due)

    def take(self) -> float:
        """Return the longest lag since the call before, in seconds."""
        taken, self._untaken = self._untaken, 0.0
        return taken

    def _add(self, lag: float) -> None:
        self.longest, self._untaken = max(self.longest, lag), max(self._untaken, lag)
        self._unlogged = max(self._unlogged, lag)
        if self._unlogged >= WARNING_SECONDS and self._now() - self._logged_at >= LOG_SECONDS:
            log.warning("event loop blocked", **{names.LAG_MS: round(self._unlogged * 1000, 1)})
            self._unlogged, self._logged_at = 0.0, self._now()
