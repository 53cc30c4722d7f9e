"""The clock of a run: nodes take time and sleep through it, so that tests advance time instead of waiting."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """`runtime.context.clock`."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary instant; never goes back."""

    def time(self) -> float:
        """Seconds since 1970-01-01 UTC. Two executions of a node read different times: store what has to be equal."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""


class SystemClock:
    """The clock of the operating system and of the event loop."""

    def monotonic(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
