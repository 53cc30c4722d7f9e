"""Moving windows: the times of the last calls of each key, in the memory of one process and in Redis."""

import asyncio
import time
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

T = TypeVar("T")

MAX_KEYS = 100_000
"""The most windows of one length in memory; the one that is unused for the longest time is dropped."""
TRIM_EVERY = 64
"""Calls after which those that have left a window are removed from its memory."""
PREFIX = "graphmesh:rates/"
MAX_BATCH = 1000
"""The most queries that are sent together."""
MAX_WAITING = 10_000
"""The most queries that wait for others; further ones have no answer."""
ANSWER_SECONDS = 1.0
"""How long Redis may take to answer before it counts as unavailable."""
ANSWER_POLLS = 10
"""Turns of the event loop that Redis has at least for its answer, however late each of them is."""

ACQUIRE = """
local clock = redis.call('TIME')
local now, limit, period = clock[1] + clock[2] / 1000000, tonumber(ARGV[1]), tonumber(ARGV[2])
local oldest = redis.call('LINDEX', KEYS[1], limit - 1)
if oldest and oldest + period > now then return 0 end
redis.call('LPUSH', KEYS[1], string.format('%.6f', now))
redis.call('LTRIM', KEYS[1], 0, limit - 1)
redis.call('EXPIRE', KEYS[1], period)
return 1
"""
AGE = """
local clock = redis.call('TIME')
local oldest = redis.call('LINDEX', KEYS[1], ARGV[1] - 1)
return oldest and tostring(clock[1] + clock[2] / 1000000 - oldest)
"""
"""The age of the call that has to leave a full window before the next one."""


Times: TypeAlias = "OrderedDict[str, array[float]]"
"""The times of the calls in each window, the oldest first. The key that was used last is the last one."""


class Windows(Protocol):
    """A moving window of each key, in which `calls` are admitted within `period` seconds."""

    async def admits(self, key: str, calls: int, period: int) -> bool:
        """Count a call, and return whether the window has room for it. One without room is not counted."""

    async def seconds_full(self, key: str, calls: int, period: int) -> float:
        """Return the seconds until the oldest call leaves a full window; 0 where it is not full."""


class MemoryWindows:
    """Windows of one process. A key is removed when its window is empty."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, max_keys: int = MAX_KEYS) -> None:
        self._clock, self._max_keys = clock, max_keys
        self._windows: dict[int, Times] = {}
        """By their length."""

    @property
    def keys(self) -> int:
        """How many windows there are."""
        return sum(map(len, self._windows.values()))

    async def admits(self, key: str, calls: int, period: int) -> bool:
        now = self._clock()
        windows = self._windows.setdefault(period, OrderedDict())
        times = windows.get(key)
        if times is None:
            times = windows[key] = array("d")
        windows.move_to_end(key)
        is_open = len(times) < calls or times[-calls] + period <= now
        if is_open:
            times.append(now)
            if len(times) % TRIM_EVERY == 0:
                del times[: max(len(times) - calls, bisect_right(times, now - period))]
        _drop_unused(windows, now - period, self._max_keys)
        return is_open

    async def seconds_full(self, key: str, calls: int, period: int) -> float:
        windows = self._windows.get(period)
        times = windows.get(key) if windows else None
        return max(0.0, times[-calls] + period - self._clock()) if times and len(times) >= calls else 0.0


def _drop_unused(windows: Times, before: float, max_keys: int) -> None:
    """Drop at most two windows that are empty since `before`, or more than there may be: calls add one at most."""
    for _ in range(2):
        key, times = next(iter(windows.items()))
        if len(windows) > max_keys or (times and times[-1] <= before):
            del windows[key]
        if not windows:
            return


class NoAnswer(Exception):
    """Redis does not answer in time."""


@dataclass(frozen=True)
class _Query:
    script: str
    key: str
    arguments: Sequence[int]
    answer: "asyncio.Future[Any]"


class RedisWindows:
    """Windows of all processes that share a Redis, by its clock. They expire with their last call.

    Queries that arrive while Redis is at work on others are sent together, so that each waits for two answers at most.
    """

    def __init__(self, url: str, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._answer_seconds = answer_seconds
        self._redis: Redis = Redis.from_url(
            url,
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=2 * answer_seconds,
            socket_timeout=2 * answer_seconds,
        )
        self._waiting: list[_Query] = []
        self._sending: asyncio.Task[None] | None = None
        self._asking: set[asyncio.Future[Any]] = set()
        """Includes those for which nothing waits any more."""

    async def admits(self, key: str, calls: int, period: int) -> bool:
        """Raises NoAnswer."""
        return bool(await self._query(ACQUIRE, key, calls, period))

    async def seconds_full(self, key: str, calls: int, period: int) -> float:
        """Raises NoAnswer."""
        age = await self._query(AGE, key, calls)
        return 0.0 if age is None else max(0.0, period - float(age))

    async def check(self) -> bool:
        """Return whether Redis answers in time."""
        try:
            return bool(await self._in_time(self._redis.ping()))
        except (RedisError, OSError):
            return False

    async def close(self) -> None:
        if self._sending:
            await asyncio.wait((self._sending,))
        for asking in tuple(self._asking):
            await cancel(asking)
        with suppress(RedisError, OSError):
            await self._redis.aclose()

    async def _in_time(self, question: Awaitable[T]) -> T:
        """Return an answer. Raises TimeoutError where it is late, unless the event loop was late itself."""
        asking = asyncio.ensure_future(question)
        self._asking.add(asking)
        try:
            for _ in range(ANSWER_POLLS):
                await asyncio.wait((asking,), timeout=self._answer_seconds / ANSWER_POLLS)
                if asking.done():
                    return asking.result()
        finally:
            asking.cancel()
            asking.add_done_callback(self._forget)
        raise TimeoutError(f"no answer in {self._answer_seconds:g} s")

    def _forget(self, ended: "asyncio.Future[Any]") -> None:
        self._asking.discard(ended)
        if not ended.cancelled():
            ended.exception()  # retrieved, so that it is not logged

    async def _query(self, script: str, key: str, *arguments: int) -> Any:
        if len(self._waiting) >= MAX_WAITING:
            raise NoAnswer("too many calls wait")
        query = _Query(script, PREFIX + key, arguments, asyncio.get_running_loop().create_future())
        self._waiting.append(query)
        if self._sending is None:
            self._sending = asyncio.create_task(self._send(), name="rate windows")
        return await query.answer

    async def _send(self) -> None:
        """Send the queries that wait. Those of callers that have left are sent too: they may be under way."""
        while self._waiting:
            queries, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
            try:
                answers = await self._in_time(self._answers(queries))
            except (RedisError, OSError) as error:
                queries, self._waiting = [*queries, *self._waiting], []
                answers = [error] * len(queries)
            for query, answer in zip(queries, answers, strict=True):
                if query.answer.done():
                    continue
                if isinstance(answer, Exception):
                    query.answer.set_exception(NoAnswer(str(answer)))
                else:
                    query.answer.set_result(answer)
        self._sending = None

    async def _answers(self, queries: Sequence[_Query]) -> list[Any]:
        pipeline = self._redis.pipeline(transaction=False)
        for query in queries:
            pipeline.eval(query.script, 1, query.key, *query.arguments)
        return await pipeline.execute(raise_on_error=False)


async def cancel(task: "asyncio.Future[Any]") -> None:
    """Cancel a task until it is done: redis-py swallows a cancellation that arrives while it connects."""
    while not task.done():
        task.cancel()
        await asyncio.wait((task,), timeout=0.1)
    if not task.cancelled():
        task.exception()  # retrieved, so that it is not logged
