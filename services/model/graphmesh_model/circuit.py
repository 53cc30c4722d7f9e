"""Circuit breakers of one alias: a vendor that fails is not called for a while, and then by one call at first."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

MAX_TENANTS = 1000
"""The most tenants whose failures an alias remembers; the one that failed longest ago is forgotten first."""


@dataclass(frozen=True)
class BreakerLimits:
    """When a breaker opens, and for how long."""

    failures: int = 5
    """Consecutive failures that open it; a stall opens it at once, since each further one would cost as much time."""
    cooling_seconds: float = 2.0
    """The time that it is open at first; it doubles with each further time in a row."""
    max_cooling_seconds: float = 30.0


DEFAULT_BREAKER = BreakerLimits()


class Circuit:
    """A breaker over consecutive failures. When its cooling period is over, one call at a time tries the vendor."""

    def __init__(self, limits: BreakerLimits, clock: Callable[[], float]) -> None:
        self._limits, self._clock = limits, clock
        self._failures = self._openings = 0
        self._open_until = 0.0
        self._is_trying = False

    @property
    def wait_seconds(self) -> float:
        """Seconds until the next call may be made; 0: now."""
        if not self._openings:
            return 0.0
        return max(0.0, self._open_until - self._clock()) or (1.0 if self._is_trying else 0.0)

    def begin(self) -> None:
        """Note that a call is made."""
        self._is_trying = True

    def end(self) -> None:
        """Note that a call has ended without a statement about the vendor, for example by its caller's cancellation."""
        self._is_trying = False

    def succeed(self) -> None:
        self._failures = self._openings = 0
        self._is_trying = False

    def fail(self, *, opens: bool) -> None:
        """Note a failure. With `opens` it opens the breaker at once."""
        self._is_trying = False
        self._failures += 1
        if opens or self._openings or self._failures >= self._limits.failures:
            cooling = self._limits.cooling_seconds * 2**self._openings
            self._openings = min(self._openings + 1, 16)
            self._open_until = self._clock() + min(cooling, self._limits.max_cooling_seconds)


class Breaker:
    """The breakers of one alias: one for each tenant, and one for all.

    The prompts of one tenant may be the cause of a vendor's failures. So a tenant's own failures close the way to that
    tenant alone, and the common breaker counts only runs of failures that several tenants share. It opens at once when
    the vendor has stalled for two tenants without an answer to anyone in between: no third one waits for it.
    """

    def __init__(self, limits: BreakerLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._common = Circuit(limits, clock)
        self._failing: set[str] = set()
        """The tenants of the failures since the last success; at most as many as the limit of failures."""
        self._stalling: set[str] = set()
        """Those for which the vendor has stalled since then. Two different ones state that it does so for all."""
        self._tenants: OrderedDict[str, Circuit] = OrderedDict()

    def wait_seconds(self, tenant: str) -> float:
        """Seconds until a call of `tenant` may be made; 0: now."""
        own = self._tenants.get(tenant)
        return max(self._common.wait_seconds, own.wait_seconds if own else 0.0)

    def begin(self, tenant: str) -> None:
        for circuit in self._circuits(tenant):
            circuit.begin()

    def end(self, tenant: str) -> None:
        for circuit in self._circuits(tenant):
            circuit.end()

    def succeed(self, tenant: str) -> None:
        self._common.succeed()
        self._failing.clear()
        self._stalling.clear()
        self._tenants.pop(tenant, None)

    def fail(self, tenant: str, *, opens: bool = False) -> None:
        """Note a failure of the vendor; with `opens`, one that costs its callers much time."""
        own = self._tenants.setdefault(tenant, Circuit(self._limits, self._clock))
        self._tenants.move_to_end(tenant)
        own.fail(opens=opens)
        if len(self._tenants) > MAX_TENANTS:
            self._tenants.popitem(last=False)
        if len(self._failing) < self._limits.failures:
            self._failing.add(tenant)
        if opens and len(self._stalling) < 2:
            self._stalling.add(tenant)
        if len(self._failing) > 1:
            self._common.fail(opens=len(self._stalling) > 1)
        else:
            self._common.end()

    def _circuits(self, tenant: str) -> list[Circuit]:
        own = self._tenants.get(tenant)
        return [self._common, own] if own else [self._common]
