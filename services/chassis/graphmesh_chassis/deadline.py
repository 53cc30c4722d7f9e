"""Deadlines as values (the idea is grpclib's)."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Deadline:
    """An instant on a monotonic clock."""

    at: float
    """Seconds of `clock`."""
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    """Returns the present instant. Tests pass one that they advance."""

    @classmethod
    def after(cls, seconds: float, clock: Callable[[], float] = time.monotonic) -> "Deadline":
        return cls(clock() + seconds, clock)

    @property
    def remaining(self) -> float:
        """Seconds that are left; never negative."""
        return max(0.0, self.at - self.clock())

    def capped(self, seconds: float) -> "Deadline":
        """The earlier of this deadline and `seconds` from now."""
        return Deadline(min(self.at, self.clock() + seconds), self.clock)

    def timeout(self) -> asyncio.Timeout:
        """A context manager that cancels its body after the remaining seconds and then raises TimeoutError.

        The event loop's clock measures them.
        """
        return asyncio.timeout(self.remaining)
