"""The gate in front of one alias: its rate, its breaker and its limit of concurrent calls, fair between tenants."""

import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from graphmesh_chassis.admission import Admission
from graphmesh_chassis.calls import working
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import (
    GraphmeshError,
    ProviderMisconfigured,
    ProviderUnavailable,
    RateLimited,
    RuleViolated,
)

from graphmesh_model.circuit import DEFAULT_BREAKER, Breaker, BreakerLimits
from graphmesh_model.errors import OutputInvalid
from graphmesh_model.faults import Fault

ROUNDING = 1e-6
"""Seconds by which sums of intervals may differ from the period."""
MAX_TENANTS = 10_000
"""The most tenants whose rates an alias remembers; the one that called longest ago is forgotten first."""


@dataclass(frozen=True)
class RateLimit:
    """Calls in a period: so many at once, and then so many in each period, evenly."""

    calls: int
    seconds: float


@dataclass(frozen=True)
class GateLimits:
    """The limits of one alias in one process."""

    max_concurrency: int = 32
    max_queue: int = 256
    """Further calls that wait for their turn."""
    rate: RateLimit | None = None
    """Of all tenants together."""
    tenant_rate: RateLimit | None = None
    """Of each tenant."""
    breaker: BreakerLimits = DEFAULT_BREAKER
    first_token_seconds: float = 20.0
    """The longest time to the first event of a stream."""
    between_tokens_seconds: float = 20.0
    """The longest time between two events of a stream."""
    answer_seconds: float | None = None
    """The longest time to an answer that is not streamed; None: the deadline of the call."""
    hedge_after_seconds: float | None = None
    """The time without an answer after which a fallback model is called beside it; None: never."""


DEFAULT_LIMITS = GateLimits()


class Gate:
    """The gate of one alias. What one tenant causes there, or a vendor, does not concern other aliases."""

    def __init__(
        self, alias: str, vendor: str, limits: GateLimits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limits = limits
        self._alias, self._vendor = alias, vendor
        self._clock = clock
        self._paused: OrderedDict[str, float] = OrderedDict()
        """The time until which a tenant's calls are kept from a vendor that accepts no more of them."""
        self._misconfigured: ProviderMisconfigured | None = None
        """The error of the last call, if it is of the configuration: callers get it while the breaker is open."""
        self._admission = Admission(limits.max_concurrency, limits.max_queue)
        self._breaker = Breaker(limits.breaker, clock)
        self._rate = Rate(limits.rate, clock) if limits.rate else None
        self._tenant_rate = Rate(limits.tenant_rate, clock) if limits.tenant_rate else None

    def check(self, tenant: str) -> None:
        """Count a call that is to be made.

        Raises:
            RateLimited: the rate of the alias, or of the tenant there, is used up.
            ProviderUnavailable: the breaker is open.
        """
        self._require_open(tenant)
        self._count(tenant)

    @asynccontextmanager
    async def slot(self, tenant: str, deadline: Deadline) -> AsyncIterator[None]:
        """Hold one of the alias's slots, and one of the service's, while the body calls the vendor.

        An error of the body is counted as the vendor's, where it is one.

        Raises:
            ConcurrencyLimit: the queue of the alias is full.
            ProviderUnavailable: the breaker has opened meanwhile.
        """
        async with self._admission.slot(deadline, tenant), working():
            self._require_open(tenant)
            self._breaker.begin(tenant)
            try:
                yield
            except GraphmeshError as error:
                self._note(tenant, error)
                raise
            except BaseException:
                self._breaker.end(tenant)  # the caller left
                raise
            self._breaker.succeed(tenant)
            self._misconfigured = None

    def _require_open(self, tenant: str) -> None:
        """Raises RateLimited while the vendor accepts no calls, and ProviderUnavailable while the breaker is open."""
        if (seconds := self._paused.get(tenant, 0.0) - self._clock()) > 0:
            message = f"The alias {self._alias} is not called: its vendor accepts no more calls at the moment"
            fault = Fault.RATE_LIMITED.value
            raise RateLimited(message, retry_after=seconds, provider=self._vendor, alias=self._alias, fault=fault)
        if seconds := self._breaker.wait_seconds(tenant):
            kind: type[GraphmeshError] = ProviderUnavailable
            cause = "its model has failed"
            if self._misconfigured is not None:
                kind, cause = ProviderMisconfigured, str(self._misconfigured)
            message = f"The alias {self._alias} is not called: {cause}; try again in {seconds:.1f} s"
            fault = Fault.BREAKER_OPEN.value
            raise kind(message, retry_after=seconds, provider=self._vendor, alias=self._alias, fault=fault)

    def _count(self, tenant: str) -> None:
        """Count the call. Raises RateLimited."""
        rates = [(self._tenant_rate, tenant, "of the tenant"), (self._rate, "", "of all tenants")]
        limited = [(rate, key, whose) for rate, key, whose in rates if rate is not None]
        for rate, key, whose in limited:
            if seconds := rate.wait_seconds(key):
                message = f"The rate {whose} for the alias {self._alias} is used up: {rate}"
                raise RateLimited(message, retry_after=seconds, alias=self._alias)
        for rate, key, _ in limited:
            rate.count(key)

    def _note(self, tenant: str, error: GraphmeshError) -> None:
        """Count an error. A refused prompt and an invalid answer state that the vendor responds."""
        self._misconfigured = error if isinstance(error, ProviderMisconfigured) else None
        match error:
            case RateLimited():
                self._breaker.end(tenant)
                self._pause(tenant, error.retry_after)
            case ProviderUnavailable() | ProviderMisconfigured():
                self._breaker.fail(tenant, opens=error.data.get("fault") == Fault.STALLED.value)
            case RuleViolated() | OutputInvalid():
                self._breaker.succeed(tenant)
            case _:
                self._breaker.end(tenant)

    def _pause(self, tenant: str, seconds: float | None) -> None:
        """Pause a tenant's calls for as long as the vendor requests, within the bounds of the breaker."""
        limits = self.limits.breaker
        pause = min(limits.cooling_seconds if seconds is None else seconds, limits.max_cooling_seconds)
        self._paused[tenant] = self._clock() + pause
        self._paused.move_to_end(tenant)
        if len(self._paused) > MAX_TENANTS:
            self._paused.popitem(last=False)


class Rate:
    """A rate limit for each of some keys (GCRA: one instant a key, at which its last call would be due)."""

    def __init__(self, limit: RateLimit, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._clock = limit, clock
        self._due: OrderedDict[str, float] = OrderedDict()

    def wait_seconds(self, key: str) -> float:
        """Seconds until the next call; 0: now."""
        interval = self._limit.seconds / self._limit.calls
        ahead = max(0.0, self._due.get(key, 0.0) - self._clock())
        return (
            max(0.0, ahead + interval - self._limit.seconds) if ahead + interval > self._limit.seconds + 1e-9 else 0.0
        )

    def count(self, key: str) -> None:
        now, interval = self._clock(), self._limit.seconds / self._limit.calls
        self._due[key] = max(self._due.get(key, 0.0), now) + interval
        self._due.move_to_end(key)
        if len(self._due) > MAX_TENANTS:
            self._due.popitem(last=False)

    def __str__(self) -> str:
        return f"{self._limit.calls} calls in {self._limit.seconds:g} s"
