"""How often a task looks into the database for what is to be done at some time."""

import asyncio
import contextlib
from collections.abc import Callable

BUSY_SECONDS = 0.5
"""Between two looks, where something is due, or may be without anybody saying so."""
IDLE_SECONDS = 5.0
"""The same where nothing is due and all is heard: what is said may get lost."""


class Pace:
    """Says when it is time for the next look: when something was said, when something is due, and now and then."""

    def __init__(self, hears_all: Callable[[], bool]) -> None:
        """`hears_all`: whether what other processes on the database say is heard here, if there are any."""
        self._hears_all = hears_all
        self._now = asyncio.Event()
        self._soon: asyncio.TimerHandle | None = None
        self._looked = 0.0

    def at_once(self) -> None:
        """There is something to be done now."""
        self._now.set()

    def soon(self, run_id: str = "") -> None:
        """There may be something to be done, of whichever run. However often this is said, it is no hurry."""
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_at(self._looked + BUSY_SECONDS, self._now.set)

    async def next(self, due: float | None) -> None:
        """Wait until it is time for another look, where something is due in so many seconds, or nothing at all."""
        idle = IDLE_SECONDS if self._hears_all() else BUSY_SECONDS
        wait = idle if due is None else min(idle, max(due, BUSY_SECONDS))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._now.wait()
        self._now.clear()
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        self._looked = asyncio.get_running_loop().time()
