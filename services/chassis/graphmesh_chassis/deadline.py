"""Deadlines as values (the idea is grpclib's)."""

import asyncio
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Deadline:
    """An instant on this process's monotonic clock."""

    at: float
    """Seconds of `time.monotonic`."""

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        return cls(time.monotonic() + seconds)

    @property
    def remaining(self) -> float:
        """Seconds that are left; never negative."""
        return max(0.0, self.at - time.monotonic())

    def capped(self, seconds: float) -> "Deadline":
        """The earlier of this deadline and `seconds` from now."""
        return min(self, Deadline.after(seconds), key=lambda deadline: deadline.at)

    def timeout(self) -> asyncio.Timeout:
        """A context manager that cancels its body at this deadline and then raises TimeoutError."""
        return asyncio.timeout(self.remaining)
