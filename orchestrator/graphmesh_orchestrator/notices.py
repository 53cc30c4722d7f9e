"""Waking those who wait for a run: they read the database when something is new there, and do not poll it."""

import asyncio
import contextlib
from weakref import WeakValueDictionary

from graphmesh_chassis.errors import ShuttingDown

ELSEWHERE_SECONDS = 1.0
"""How long a waiter trusts that a run's events would be announced: those of another process are not."""


class Notices:
    """Tells waiters in this process that a run has new events. What was missed is in the database."""

    def __init__(self) -> None:
        self._events: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()
        self._closed = False

    def ring(self, run_id: str) -> None:
        if waiting := self._events.pop(run_id, None):
            waiting.set()

    def next(self, run_id: str) -> asyncio.Event:
        """Set at the next ring. Take it before reading, so that nothing falls in between."""
        return self._events.setdefault(run_id, asyncio.Event())

    async def wait(self, notice: asyncio.Event) -> None:
        """Wait for a ring, or for long enough that another process may have written something.

        Raises:
            ShuttingDown: this process stops; another one can be asked.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ELSEWHERE_SECONDS):
                await notice.wait()
        if self._closed:
            raise ShuttingDown()

    def close(self) -> None:
        """Send all waiters away."""
        self._closed = True
        for waiting in list(self._events.values()):
            waiting.set()
