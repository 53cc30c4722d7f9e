"""Rates that one process counts in its memory, with a clock of the test."""

import random

import pytest
from graphmesh_chassis.errors import RateLimited
from graphmesh_chassis.rate_windows import MemoryWindows
from graphmesh_chassis.rates import RateLimit, Rates
from graphmesh_contracts import Rate


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def of_tenant(calls: int, period: int, tenant: str = "acme") -> RateLimit:
    return RateLimit("tenant", ("tenant", "shop", tenant), Rate(calls, period))


def of_client(calls: int, period: int, client: str) -> RateLimit:
    return RateLimit("client", ("client", "shop", "acme", client), Rate(calls, period))


async def is_admitted(rates: Rates, *limits: RateLimit) -> bool:
    try:
        await rates.admit(limits)
    except RateLimited:
        return False
    return True


@pytest.mark.parametrize("seed", range(5))
async def test_no_window_has_more_calls_and_a_busy_one_has_all(seed: int) -> None:
    """Wherever a window begins. Offered are about three times as many calls as are admitted."""
    clock, chance = Clock(), random.Random(seed)
    rates, admitted = Rates(clock=clock), list[float]()
    while clock.now < 1060:
        clock.now += chance.expovariate(30)
        if await is_admitted(rates, of_tenant(50, 5)):
            admitted.append(clock.now)
    for first in admitted:
        assert sum(first <= other < first + 5 for other in admitted) <= 50
    assert len(admitted) >= 0.95 * 50 * 60 / 5


async def test_refusal_names_the_rate_and_when_to_retry() -> None:
    clock = Clock()
    rates = Rates(clock=clock)
    await rates.admit([of_tenant(2, 60)])
    clock.now += 20
    await rates.admit([of_tenant(2, 60)])
    for _ in range(2):
        with pytest.raises(RateLimited) as refusal:
            await rates.admit([of_tenant(2, 60)])
        assert refusal.value.data == {"rate": "tenant", "calls": "2", "period_seconds": "60"}
        assert refusal.value.retry_after == pytest.approx(40, abs=10)
    clock.now += 40.001
    assert await is_admitted(rates, of_tenant(2, 60))


async def test_tenants_do_not_share_a_rate() -> None:
    rates = Rates(clock=Clock())
    assert [await is_admitted(rates, of_tenant(1, 60)) for _ in range(3)] == [True, False, False]
    assert await is_admitted(rates, of_tenant(1, 60, tenant="other"))


async def test_refused_calls_use_up_no_other_rate() -> None:
    """A client that floods is held to its own rate, and the rest of its tenant's is left to other clients."""
    rates = Rates(clock=Clock())
    flood = [await is_admitted(rates, of_tenant(10, 60), of_client(3, 60, "loud")) for _ in range(100)]
    others = [await is_admitted(rates, of_tenant(10, 60), of_client(30, 60, "quiet")) for _ in range(100)]
    assert flood.count(True) == 3
    assert others.count(True) >= 6


async def test_calls_that_a_tenant_may_not_make_use_up_no_long_quota() -> None:
    """A hundred thousand calls in a minute are refused by a short rate; the quota of the day counts those admitted."""
    clock = Clock()
    rates, quota = Rates(clock=clock), of_client(1000, 86_400, "loud")
    admitted = 0
    for _ in range(60):
        admitted += sum([await is_admitted(rates, quota, of_tenant(10, 1)) for _ in range(200)])
        clock.now += 1.001
    assert admitted == 600
    rest = 0
    for _ in range(40):
        rest += sum([await is_admitted(rates, quota) for _ in range(50)])
    assert 380 <= rest <= 400


async def test_memory_holds_the_tenants_of_the_last_window_only() -> None:
    clock = Clock()
    windows = MemoryWindows(clock)
    for number in range(20_000):
        clock.now += 0.001
        assert await windows.admits(f"tenant-{number}", 5, 1)
    assert windows.keys <= 1001


async def test_memory_is_bounded_where_windows_are_long() -> None:
    """The tenants that have made no call for the longest time are dropped."""
    windows = MemoryWindows(Clock(), max_keys=100)
    for number in range(1000):
        assert await windows.admits(f"tenant-{number}", 1, 86_400)
    assert windows.keys == 100
    assert not await windows.admits("tenant-999", 1, 86_400)


async def test_a_window_keeps_no_more_calls_than_it_admits() -> None:
    clock = Clock()
    windows = MemoryWindows(clock)
    for _ in range(10_000):
        clock.now += 0.1
        assert await windows.admits("acme", 50, 1)
    [kept] = windows._windows[1].values()  # pyright: ignore[reportPrivateUsage]
    assert len(kept) < 200
