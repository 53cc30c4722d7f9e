"""The gate in front of one alias: its rate, its breaker and its limit of concurrent calls, fair between tenants."""

import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
from graphmesh_contracts import Rate

from graphmesh_model.circuit import DEFAULT_BREAKER, Breaker, BreakerLimits
from graphmesh_model.errors import OutputInvalid
from graphmesh_model.faults import Fault

if TYPE_CHECKING:
    from graphmesh_chassis.rates import RateLimit, Rates

MAX_TENANTS = 10_000
"""The most tenants whose pauses an alias remembers; the one that called longest ago is forgotten first."""


@dataclass(frozen=True)
class GateLimits:
    """The limits of one alias: its rates over all processes, the others in one."""

    max_concurrency: int = 32
    max_queue: int = 256
    """Further calls that wait for their turn."""
    rate: Rate | None = None
    """Of all tenants together."""
    tenant_rate: Rate | None = None
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

    @property
    def has_rates(self) -> bool:
        return bool(self.rate or self.tenant_rate)


DEFAULT_LIMITS = GateLimits()


class Gate:
    """The gate of one alias. What one tenant causes there, or a vendor, does not concern other aliases."""

    def __init__(
        self,
        alias: str,
        vendor: str,
        limits: GateLimits,
        rates: "Rates | None" = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`rates` counts the calls; required where the limits have a rate."""
        assert rates or not limits.has_rates
        self.limits, self._rates = limits, rates
        self._alias, self._vendor = alias, vendor
        self._clock = clock
        self._paused: OrderedDict[str, float] = OrderedDict()
        """The time until which a tenant's calls are kept from a vendor that accepts no more of them."""
        self._misconfigured: ProviderMisconfigured | None = None
        """The error of the last call, if it is of the configuration: callers get it while the breaker is open."""
        self._admission = Admission(limits.max_concurrency, limits.max_queue)
        self._breaker = Breaker(limits.breaker, clock)

    async def check(self, tenant: str) -> None:
        """Count a call that is to be made.

        Raises:
            RateLimited: the rate of the alias, or of the tenant there, is used up; or its vendor accepts no calls.
            ProviderUnavailable: the breaker is open.
        """
        self._require_open(tenant)
        if self._rates and self.limits.has_rates:
            await self._rates.admit(list(self._limited(tenant)))

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

    def _limited(self, tenant: str) -> Iterator["RateLimit"]:
        """Yield the rates that count a call of a tenant."""
        from graphmesh_chassis.rates import RateLimit

        alias, limits = self._alias, self.limits
        if limits.tenant_rate:
            key = ("model", alias, tenant)
            yield RateLimit("tenant", key, limits.tenant_rate, f"tenant for the alias {alias}", {"alias": alias})
        if limits.rate:
            yield RateLimit("alias", ("model", alias), limits.rate, f"alias {alias}", {"alias": alias})

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
