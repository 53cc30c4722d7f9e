"""A clock that does not run by itself."""

import asyncio
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
IDLE_TURNS = 20
"""Event-loop iterations that other tasks get before a sleep advances the clock, so that they can begin theirs."""


class FakeClock:
    """A clock that tests advance, and that a sleep advances at once to its end. Parallel sleeps overlap."""

    def __init__(self, start: datetime = START) -> None:
        self._start, self._elapsed = start, 0.0
        self._ends: list[float] = []

    def monotonic(self) -> float:
        return self._elapsed

    def time(self) -> float:
        return self._start.timestamp() + self._elapsed

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed)

    def advance(self, by: timedelta) -> None:
        self._elapsed += by.total_seconds()

    async def sleep(self, seconds: float) -> None:
        end = self._elapsed + seconds
        self._ends.append(end)
        try:
            while self._elapsed < end:
                for _ in range(IDLE_TURNS):
                    await asyncio.sleep(0)
                if end == min(self._ends):
                    self._elapsed = max(self._elapsed, end)
        finally:
            self._ends.remove(end)
