"""Rates: how many calls of a tenant, of a client or to a method are admitted in any window of a period.

They are counted exactly over all processes that share a Redis, and by the process alone without one. While Redis does
not answer, calls that are under way wait for two seconds at most. Until it answers again, no call waits for it, and the
failure mode of each rate states whether they are admitted as far as the process itself counts, or refused.
"""

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from graphmesh_contracts import Rate

from graphmesh_chassis.errors import RateLimited
from graphmesh_chassis.rate_windows import MAX_KEYS, MemoryWindows, NoAnswer, RedisWindows, Windows, cancel

log = structlog.get_logger("graphmesh.rates")

PROBE_SECONDS = 0.5
"""The pause between two attempts to reach a Redis that is unavailable."""
REPORT_SECONDS = 60.0
"""The pause between two lines of the log while Redis is unavailable."""
RECHECK_SECONDS = 10.0
"""The longest time for which a window is known to be full without a query: an operator may have deleted it."""


@dataclass(frozen=True)
class RateLimit:
    """A rate, and whose calls share it."""

    name: str
    """`tenant`, `client`, `method`, `graph` or `alias`, as callers see it."""
    key: tuple[str, ...]
    rate: Rate
    title: str = ""
    """Its name in messages; empty: `name`."""
    detail: Mapping[str, Any] = field(default_factory=dict)
    """What a refusal states besides its rate."""

    def __str__(self) -> str:
        return self.title or self.name


@dataclass(frozen=True)
class _Full:
    """A window that was full at a time, until its oldest call leaves it."""

    found: float
    until: float

    def is_certain(self, now: float) -> bool:
        return now < min(self.until, self.found + RECHECK_SECONDS)


class Rates:
    """The rates of one server."""

    def __init__(self, redis: RedisWindows | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._alone = MemoryWindows(clock)
        self._redis = redis
        self._full: OrderedDict[tuple[str, ...], _Full] = OrderedDict()
        """The windows that were full last, by the keys of their rates."""
        self._recovery: asyncio.Task[None] | None = None
        self.without_redis: Counter[str] = Counter()
        """Calls that were decided while Redis did not answer, by the failure mode of their rate: `open`, `closed`."""

    @property
    def is_shared(self) -> bool:
        """Whether calls are counted with other processes now."""
        return self._redis is not None and self._recovery is None

    async def admit(self, limits: Sequence[RateLimit]) -> None:
        """Count a call.

        A call that one rate refuses should use up no other one. So the rate that was full last is counted first.

        Raises:
            RateLimited: a rate is used up, or fails closed while Redis does not answer.
        """
        now = self._clock()
        for limit in limits:
            full = self._full.get(limit.key)
            if full and full.is_certain(now):
                raise _refusal(limit, full.until - now)
        for limit in sorted(limits, key=self._opened, reverse=True) if len(limits) > 1 else limits:
            await self._count(limit)

    async def close(self) -> None:
        if self._recovery:
            await cancel(self._recovery)
        if self._redis:
            await self._redis.close()

    def _opened(self, limit: RateLimit) -> float:
        full = self._full.get(limit.key)
        return full.until if full else 0.0

    async def _count(self, limit: RateLimit) -> None:
        """Count a call for one rate. Raises RateLimited."""
        if self._redis is None:
            await self._hit(self._alone, limit)
            return
        if self._recovery is None:
            try:
                await self._hit(self._redis, limit)
            except NoAnswer as error:
                self._lose_redis(error)
            else:
                return
        self.without_redis["closed" if limit.rate.fails_closed else "open"] += 1
        if limit.rate.fails_closed:
            message = f"The rate of the {limit} cannot be counted at the moment"
            raise RateLimited(message, retry_after=PROBE_SECONDS, rate=limit.name, **limit.detail)
        await self._hit(self._alone, limit)

    async def _hit(self, windows: Windows, limit: RateLimit) -> None:
        """Raises RateLimited, and NoAnswer."""
        key, calls, period = "/".join(limit.key), limit.rate.calls, limit.rate.period
        if await windows.admits(f"{key}/{calls}/{period}", calls, period):
            return
        seconds = max(0.001, await windows.seconds_full(f"{key}/{calls}/{period}", calls, period))
        now = self._clock()
        self._full[limit.key] = _Full(now, now + seconds)
        self._full.move_to_end(limit.key)
        if len(self._full) > MAX_KEYS:
            self._full.popitem(last=False)
        raise _refusal(limit, seconds)

    def _lose_redis(self, error: Exception) -> None:
        if self._recovery is None:
            log.warning("rates are not shared: redis unavailable", cause=str(error)[:200])
            self._recovery = asyncio.create_task(self._recover(), name="rates recovery")

    async def _recover(self) -> None:
        assert self._redis
        await asyncio.sleep(PROBE_SECONDS)
        reported = self._clock()
        while not await self._redis.check():
            if self._clock() - reported >= REPORT_SECONDS:
                reported = self._clock()
                log.warning("rates are still not shared", decided_without=dict(self.without_redis))
            await asyncio.sleep(PROBE_SECONDS)
        self._recovery = None
        log.info("rates are shared: redis answers", decided_without=dict(self.without_redis))


def _refusal(limit: RateLimit, seconds: float) -> RateLimited:
    calls, period = limit.rate.calls, limit.rate.period
    message = f"The rate of the {limit}, {calls} calls in {period} s, is used up; retry in {seconds:.1f} s"
    return RateLimited(
        message, retry_after=seconds, rate=limit.name, calls=calls, period_seconds=period, **limit.detail
    )
