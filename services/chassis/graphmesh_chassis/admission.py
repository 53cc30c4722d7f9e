"""Admission: how many calls a replica works on, and how many it lets wait.

The cap is exact: it is counted here, in the process that does the work. Envoy's circuit breaker in front is a guard
with more room, so that a refusal comes from here and says when to come back.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import ConcurrencyLimit

SMOOTHING = 0.2
"""The weight of the newest call in the running mean of how long calls take."""


class Admission:
    """A cap with a bounded first-in-first-out queue that knows deadlines."""

    def __init__(self, max_concurrency: int, max_queue: int) -> None:
        self.max_concurrency = max_concurrency
        self.max_queue = max_queue
        self.inside = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._typical = 0.0

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def expected_wait(self) -> float:
        """Seconds until a call that came now would get its turn, as far as past calls tell."""
        return self._typical * (self.waiting + 1) / self.max_concurrency

    @asynccontextmanager
    async def slot(self, deadline: Deadline) -> AsyncIterator[None]:
        """Hold one of the places while the body runs.

        Raises:
            ConcurrencyLimit: the queue is full, or the turn would not come before `deadline`.
        """
        await self._enter(deadline)
        began = time.monotonic()
        try:
            yield
        finally:
            self._typical += SMOOTHING * (time.monotonic() - began - self._typical)
            self._leave()

    async def _enter(self, deadline: Deadline) -> None:
        if self.inside < self.max_concurrency:
            self.inside += 1
            return
        if self.waiting >= self.max_queue:
            raise self._refusal()
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(self._patience(deadline)):
                await turn
        except TimeoutError:
            self._give_up(turn)
            raise self._refusal() from None
        except asyncio.CancelledError:
            self._give_up(turn)
            raise

    def _patience(self, deadline: Deadline) -> float:
        """Seconds to wait: what is left then has to do for a typical call, and for the refusal to arrive in time."""
        remaining = deadline.remaining
        return remaining - min(max(self._typical, remaining / 10), remaining / 4)

    def _leave(self) -> None:
        """Hand the place to the first who still waits; it never falls free in between."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.inside -= 1

    def _give_up(self, turn: asyncio.Future[None]) -> None:
        if turn.done() and not turn.cancelled():
            self._leave()
        elif turn in self._waiting:
            self._waiting.remove(turn)

    def _refusal(self) -> ConcurrencyLimit:
        return ConcurrencyLimit(
            retry_after=max(0.05, self.expected_wait),
            max_concurrency=self.max_concurrency,
            max_queue=self.max_queue,
        )
