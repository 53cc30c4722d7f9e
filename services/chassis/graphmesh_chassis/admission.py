"""Admission control: the limits of concurrent and of queued calls of a replica.

The concurrency limit is exact, since the process that does the work counts. Envoy's circuit breaker in front has a
higher limit, so that refusals come from here, with the time after which to retry.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import ConcurrencyLimit

SMOOTHING = 0.2
"""The weight of the newest call in the moving average of call durations."""


class Admission:
    """A concurrency limit with a bounded first-in-first-out queue that respects deadlines."""

    def __init__(self, max_concurrency: int, max_queue: int) -> None:
        self.max_concurrency = max_concurrency
        self.max_queue = max_queue
        self.active = 0
        """The number of calls that hold a slot."""
        self._queue: deque[asyncio.Future[None]] = deque()
        self._mean_seconds = 0.0

    @property
    def queued(self) -> int:
        """The number of calls that wait for a slot."""
        return len(self._queue)

    @property
    def expected_wait(self) -> float:
        """Seconds until a call that arrives now would get a slot, estimated by past calls."""
        return self._mean_seconds * (self.queued + 1) / self.max_concurrency

    @asynccontextmanager
    async def slot(self, deadline: Deadline) -> AsyncIterator[None]:
        """Hold a slot while the body runs.

        Raises:
            ConcurrencyLimit: the queue is full, or no slot became free in time before `deadline`.
        """
        await self._acquire(deadline)
        began = time.monotonic()
        try:
            yield
        finally:
            self._mean_seconds += SMOOTHING * (time.monotonic() - began - self._mean_seconds)
            self._release()

    async def _acquire(self, deadline: Deadline) -> None:
        if self.active < self.max_concurrency:
            self.active += 1
            return
        if self.queued >= self.max_queue:
            raise self._refusal()
        granted = asyncio.get_running_loop().create_future()
        self._queue.append(granted)
        try:
            async with asyncio.timeout(self._max_wait(deadline)):
                await granted
        except TimeoutError:
            self._abandon(granted)
            raise self._refusal() from None
        except asyncio.CancelledError:
            self._abandon(granted)
            raise

    def _max_wait(self, deadline: Deadline) -> float:
        """Seconds to wait in the queue. The rest has to suffice for a call of mean duration, or for the refusal."""
        remaining = deadline.remaining
        return remaining - min(max(self._mean_seconds, remaining / 10), remaining / 4)

    def _release(self) -> None:
        """Pass the slot to the first call in the queue that still waits; it is never free in between."""
        while self._queue:
            granted = self._queue.popleft()
            if not granted.done():
                granted.set_result(None)
                return
        self.active -= 1

    def _abandon(self, granted: asyncio.Future[None]) -> None:
        """Leave the queue, or pass on a slot that was granted at the same moment."""
        if granted.done() and not granted.cancelled():
            self._release()
        elif granted in self._queue:
            self._queue.remove(granted)

    def _refusal(self) -> ConcurrencyLimit:
        return ConcurrencyLimit(
            retry_after=max(0.05, self.expected_wait),
            max_concurrency=self.max_concurrency,
            max_queue=self.max_queue,
        )
