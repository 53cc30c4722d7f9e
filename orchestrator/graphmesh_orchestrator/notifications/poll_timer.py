"""When a background task polls the database for work that is due."""

import asyncio
import contextlib
from typing import Protocol

BUSY_SECONDS = 0.5
"""The poll interval where something is due, or notifications of other processes are missed."""
IDLE_SECONDS = 5.0
"""The poll interval where nothing is due: a notification may be lost."""


class Completeness(Protocol):
    """Where a timer reads whether notifications of other processes arrive."""

    @property
    def is_complete(self) -> bool:
        """Whether the notifications of all processes on the database are received."""


class PollTimer:
    """Waits between two polls: until a notification, until something is due, or for the poll interval."""

    def __init__(self, notifier: Completeness, idle_seconds: float = IDLE_SECONDS) -> None:
        self._notifier, self._idle_seconds = notifier, idle_seconds
        self._now = asyncio.Event()
        self._soon: asyncio.TimerHandle | None = None
        self._polled = 0.0

    def now(self) -> None:
        """Poll at once."""
        self._now.set()

    def soon(self, run_id: str = "") -> None:
        """Poll within `BUSY_SECONDS`, however often this is called: for notifications about any run."""
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_at(self._polled + BUSY_SECONDS, self._now.set)

    async def wait(self, due: float | None) -> None:
        """Wait until the next poll. `due` is the number of seconds until something is due; None: nothing is."""
        interval = self._idle_seconds if self._notifier.is_complete else BUSY_SECONDS
        timeout = interval if due is None else min(interval, max(due, BUSY_SECONDS))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._now.wait()
        self._now.clear()
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        self._polled = asyncio.get_running_loop().time()
