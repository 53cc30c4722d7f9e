"""The lag of the event loop is measured, and logged where it is long."""

import asyncio
import time
from collections.abc import Callable

from graphmesh_chassis.loop_lag import INTERVAL_SECONDS, LOG_SECONDS, LoopLag
from graphmesh_chassis.telemetry import names
from structlog.testing import capture_logs


async def measured(*lags: float) -> tuple[LoopLag, list[float]]:
    """Measure timers that are called that much later than due; returns the logged lags, in milliseconds."""
    now, left = [0.0], list(lags)

    async def sleep(seconds: float) -> None:
        if not left:
            raise asyncio.CancelledError
        now[0] += seconds + left.pop(0)

    clock: Callable[[], float] = lambda: now[0]  # noqa: E731 - typed, for the argument
    lag = LoopLag(clock, sleep)
    with capture_logs() as logs:
        await asyncio.gather(lag.measure(), return_exceptions=True)
    return lag, [entry[names.LAG_MS] for entry in logs]


async def test_longest_lag_is_kept() -> None:
    lag, _ = await measured(0.001, 0.03, 0.002)

    assert round(lag.longest, 6) == 0.03


async def test_a_long_lag_is_logged() -> None:
    assert (await measured(0.001, 0.2))[1] == [200]
    assert (await measured(0.04, 0.01))[1] == []


async def test_lags_are_logged_once_in_a_while_with_the_longest() -> None:
    quiet = [0.0] * int(LOG_SECONDS / INTERVAL_SECONDS)

    assert (await measured(0.1, 0.3, 0.2, *quiet, 0.0))[1] == [100, 300]


async def test_a_blocked_loop_lags() -> None:
    lag = LoopLag()
    task = asyncio.create_task(lag.measure())
    await asyncio.sleep(0)
    time.sleep(INTERVAL_SECONDS + 0.1)  # noqa: ASYNC251 - it blocks the loop
    await asyncio.sleep(0.01)
    task.cancel()

    assert lag.longest >= 0.1
