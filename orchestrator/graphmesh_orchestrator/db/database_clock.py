"""The database's clock as a process knows it: the same in all processes, whatever their own clocks show."""

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import sqlalchemy as sa
import structlog
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import DependencyError
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.db.clock import LEASE_SECONDS, seconds_now

log = structlog.get_logger("graphmesh.clock")

POLL_SECONDS = 1.0
TOLERANCE_SECONDS = 0.1
"""A smaller step than this is no jump: `LEASE_MARGIN_SECONDS` covers it."""
MAX_DRIFT = 0.001
"""The most by which two clocks differ for each second that passes; NTP corrects a clock by half of it."""

Now = Callable[[], datetime]
"""Returns the time."""


def system_time() -> datetime:
    """The time of this machine's clock."""
    return datetime.now(UTC)


class DatabaseClock:
    """The database's clock, advanced by this process' monotonic clock between two readings, and its jumps.

    A wall clock jumps when it is set, when a virtual machine is resumed, and when a standby is promoted. Moments that
    are stored are then wrong by the jump. Those of leases become right within a heartbeat, by the renewals of their
    holders; so a worker waits for that before it considers a lease expired.
    """

    def __init__(self, database: Database, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._database, self._monotonic = database, monotonic
        self._read_at, self._jumped_at = monotonic(), -math.inf
        self._ahead = (time.time() - self._read_at,) * 2
        """The bounds of the difference between the database's clock and the monotonic clock, at `_read_at`."""
        self._is_read = False

    @property
    def is_steady(self) -> bool:
        """Whether the clock has not jumped for the length of a lease."""
        return self._monotonic() - self._jumped_at >= LEASE_SECONDS

    def now(self) -> datetime:
        """The time of the database's clock, as far as it is known: within half a round trip."""
        return datetime.fromtimestamp(self._monotonic() + sum(self._ahead) / 2, UTC)

    async def run(self) -> None:
        """Read the clock every `POLL_SECONDS`, until cancelled."""
        while True:
            with suppress(DependencyError):
                await self.poll()
            await asyncio.sleep(POLL_SECONDS)

    async def poll(self) -> None:
        """Read the clock. Raises DatabaseUnavailable."""
        async with self._database.read() as connection:
            await self.read(connection)

    async def read(self, connection: AsyncConnection) -> float:
        """Read the clock, and return its time in seconds since 1970."""
        begun = self._monotonic()
        now = float((await connection.execute(sa.select(seconds_now()))).scalar_one())
        self._compare(now, begun, self._monotonic())
        return now

    def _compare(self, now: float, begun: float, ended: float) -> None:
        """Take a reading between these times of the monotonic clock. It narrows the bounds, or shows a jump."""
        drift = (ended - self._read_at) * MAX_DRIFT
        low, high = max(self._ahead[0] - drift, now - ended), min(self._ahead[1] + drift, now - begun)
        if low <= high and self._is_read:
            self._ahead = (low, high)
        else:
            if self._is_read and low - high > TOLERANCE_SECONDS:
                log.warning("clock of the database jumped", seconds=round(now - begun - self._ahead[1], 1))
                self._jumped_at = ended
            self._ahead = (now - ended, now - begun)
        self._read_at, self._is_read = ended, True
