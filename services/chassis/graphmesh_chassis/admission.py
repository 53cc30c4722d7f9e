"""Admission control: the limits of a replica's calls, divided fairly between tenants.

The concurrency limit is exact, since the process that does the work counts. Envoy's circuit breaker in front has a
higher limit, so that refusals come from here, with the time after which to retry.

Calls that wait for events, or for a client that reads slowly, have places of their own (`Waits`), and slots only for
parts of their work.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager

from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import ConcurrencyLimit
from graphmesh_chassis.tenant_turns import HELD, Held

SMOOTHING = 0.2
"""The weight of the newest call in the moving average of call durations."""
WAIT_RETRY_SECONDS = 1.0
"""The `RetryInfo` of a refused wait, whose end cannot be estimated."""
RESERVED = 8
"""One slot of this many is for calls of tenants that hold none."""
DEFAULT_TENANT = "default"


class Admission:
    """A concurrency limit with a bounded queue that respects deadlines.

    A tenant alone may use the whole queue and all slots but an eighth, which are reserved for tenants that hold none: a
    tenant's first call does not wait until long calls of others end. While calls are queued, a free slot is given to
    the tenant that holds the fewest, so that tenants have equal parts; calls of one tenant get slots in their order.
    Where the queue is full, a tenant with a smaller part of it takes the place of the newest call of the tenant with
    the largest. All tenants have the same weight.
    """

    def __init__(self, max_concurrency: int, max_queue: int, max_waits: int = 0) -> None:
        """`max_waits` limits the calls of methods that wait; 0: they take slots like any other."""
        self.max_concurrency = max_concurrency
        self.max_queue = max_queue
        self._max_shared = max_concurrency - max_concurrency // RESERVED
        """Above so many held slots, tenants that hold any get no further one."""
        self.waits = Waits(max_waits)
        self.active = 0
        """The number of calls that hold a slot."""
        self.queued = 0
        """The number of calls that wait for a slot."""
        self._tenants: dict[str, _Tenant] = {}
        """Those with calls."""
        self._slots = _Counts()
        """The slots that tenants with queued calls hold."""
        self._lengths = _Counts()
        """The queued calls of tenants that have any."""
        self._mean_seconds = 0.0

    @property
    def expected_wait(self) -> float:
        """Seconds until a call that arrives now would get a slot, estimated by past calls."""
        return self._mean_seconds * (self.queued + 1) / self.max_concurrency

    def slot(self, deadline: Deadline, tenant: str = DEFAULT_TENANT) -> "HeldSlot":
        """A context manager that holds a slot while the body runs.

        It raises ConcurrencyLimit: the queue is full, or no slot became free in time before `deadline`.
        """
        return HeldSlot(self, tenant, deadline)

    def part(self, tenant: str) -> "HeldSlot":
        """As `slot`, for a part of a call that waits. The queue has room for it: the number of such calls is limited.

        It raises ConcurrencyLimit: its place in the queue was given to another tenant.
        """
        return HeldSlot(self, tenant, None)

    async def acquire(self, tenant: str, deadline: Deadline | None) -> None:
        """Take a slot, as `slot` does; as `part` without a deadline. `release` gives it back."""
        if self._has_slot_for(tenant):
            self._grant(tenant)
            return
        if deadline is not None and self.queued >= self.max_queue:
            self._make_room(tenant)
        await self._queue(tenant, None if deadline is None else self._max_wait(deadline))

    def release(self, tenant: str, began: float) -> None:
        """Give back a slot that was taken at `began`, by the monotonic clock."""
        self._mean_seconds += SMOOTHING * (time.monotonic() - began - self._mean_seconds)
        self._release(tenant)

    def is_awaited_by_others(self, tenant: str) -> bool:
        """Whether calls of other tenants are queued."""
        return self._lengths.tenants > (1 if tenant in self._lengths else 0)

    async def _queue(self, tenant: str, max_wait: float | None) -> None:
        granted = asyncio.get_running_loop().create_future()
        self._enqueue(tenant, granted)
        try:
            async with asyncio.timeout(max_wait):
                has_slot = await granted
        except TimeoutError:
            self._abandon(tenant, granted)
            raise self._refusal() from None
        except asyncio.CancelledError:
            self._abandon(tenant, granted)
            raise
        if not has_slot:
            raise self._refusal()

    def _max_wait(self, deadline: Deadline) -> float:
        """Seconds to wait in the queue. The rest has to suffice for a call of mean duration, or for the refusal."""
        remaining = deadline.remaining
        return remaining - min(max(self._mean_seconds, remaining / 10), remaining / 4)

    def _has_slot_for(self, tenant: str) -> bool:
        state = self._tenants.get(tenant)
        return self.active < (self._max_shared if state and state.active else self.max_concurrency)

    def _grant(self, tenant: str) -> None:
        state = self._tenants.get(tenant)
        if state is None:
            state = self._tenants[tenant] = _Tenant()
        self.active += 1
        state.active += 1
        if state.queue:
            self._slots.set(tenant, state.active)

    def _release(self, tenant: str) -> None:
        """Pass the slot to the next call in the queue, unless it is reserved; it is never free in between."""
        state = self._tenants[tenant]
        self.active -= 1
        state.active -= 1
        if state.queue:
            self._slots.set(tenant, state.active)
        elif not state.active:
            del self._tenants[tenant]
        while self.queued and self._has_slot_for(chosen := self._slots.least()):
            granted = next(iter(self._tenants[chosen].queue))
            self._dequeue(chosen, granted)
            if not granted.done():
                self._grant(chosen)
                granted.set_result(True)
                return

    def _enqueue(self, tenant: str, granted: asyncio.Future[bool]) -> None:
        state = self._tenants.get(tenant)
        if state is None:
            state = self._tenants[tenant] = _Tenant()
        state.queue[granted] = None
        self.queued += 1
        self._lengths.set(tenant, len(state.queue))
        self._slots.set(tenant, state.active)

    def _dequeue(self, tenant: str, granted: asyncio.Future[bool]) -> None:
        state = self._tenants[tenant]
        del state.queue[granted]
        self.queued -= 1
        if state.queue:
            self._lengths.set(tenant, len(state.queue))
            return
        self._lengths.discard(tenant)
        self._slots.discard(tenant)
        if not state.active:
            del self._tenants[tenant]

    def _make_room(self, tenant: str) -> None:
        """Refuse the newest queued call of the tenant with the most, unless it has no more than `tenant` would have.

        Raises:
            ConcurrencyLimit: `tenant` has as large a part of the queue itself, or there is no queue.
        """
        own = self._tenants.get(tenant)
        longest = self._lengths.greatest() if self.queued else tenant
        if longest == tenant or len(self._tenants[longest].queue) <= (len(own.queue) if own else 0) + 1:
            raise self._refusal()
        newest = next(reversed(self._tenants[longest].queue))
        self._dequeue(longest, newest)
        if not newest.done():
            newest.set_result(False)

    def _abandon(self, tenant: str, granted: asyncio.Future[bool]) -> None:
        """Leave the queue, or pass on a slot that was granted at the same moment."""
        if granted.done() and not granted.cancelled():
            if granted.result():
                self._release(tenant)
        elif (state := self._tenants.get(tenant)) and granted in state.queue:
            self._dequeue(tenant, granted)

    def _refusal(self) -> ConcurrencyLimit:
        return ConcurrencyLimit(
            retry_after=max(0.05, self.expected_wait),
            max_concurrency=self.max_concurrency,
            max_queue=self.max_queue,
        )


class HeldSlot(AbstractAsyncContextManager["HeldSlot"]):
    """A slot that is held while the body runs. A class, since a generator costs a call ten times as much."""

    __slots__ = ("_admission", "_began", "_deadline", "_is_held", "_outer", "_tenant")

    def __init__(self, admission: Admission, tenant: str, deadline: Deadline | None) -> None:
        self._admission, self._tenant, self._deadline = admission, tenant, deadline
        self._is_held = False
        self._outer: Held | None = None

    async def __aenter__(self) -> "HeldSlot":
        await self._take()
        self._outer = HELD.get()
        HELD.set(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        HELD.set(self._outer)  # tasks that the body started keep this slot in their contexts
        if self._is_held:
            self._give_back()

    @asynccontextmanager
    async def given_back(self) -> AsyncIterator[None]:
        """Give the slot back while the body waits for something else, and take one again after it.

        Raises:
            ConcurrencyLimit: as `slot`.
        """
        self._give_back()
        yield
        await self._take()

    async def _take(self) -> None:
        await self._admission.acquire(self._tenant, self._deadline)
        self._began, self._is_held = time.monotonic(), True

    def _give_back(self) -> None:
        self._is_held = False
        self._admission.release(self._tenant, self._began)

    @property
    def is_awaited(self) -> bool:
        if self._is_held and self._admission.is_awaited_by_others(self._tenant):
            return True
        return self._outer is not None and self._outer.is_awaited


class Waits:
    """A limit of calls that wait, of which each tenant may hold as many as are still free.

    A tenant alone gets half, n tenants get 1/(n+1) each, and as much is left for the next one (the dynamic threshold
    of Choudhury and Hahne, 1998). No call is queued: nothing bounds how long others wait.
    """

    def __init__(self, max_waits: int) -> None:
        self.max_waits = max_waits
        self.active = 0
        self._held: dict[str, int] = {}

    @contextmanager
    def place(self, tenant: str) -> Iterator[None]:
        """Hold a place while the body runs.

        Raises:
            ConcurrencyLimit: the tenant holds as many as are free.
        """
        held = self._held.get(tenant, 0)
        if held >= self.max_waits - self.active:
            message = f"the service holds {self.max_waits} waiting calls at most, and {held} of the tenant; retry later"
            raise ConcurrencyLimit(message, retry_after=WAIT_RETRY_SECONDS, max_waits=self.max_waits, held=held)
        self._held[tenant] = held + 1
        self.active += 1
        try:
            yield
        finally:
            self.active -= 1
            self._held[tenant] -= 1
            if not self._held[tenant]:
                del self._held[tenant]


class _Tenant:
    """The calls of one tenant."""

    __slots__ = ("active", "queue")

    def __init__(self) -> None:
        self.active = 0
        self.queue: OrderedDict[asyncio.Future[bool], None] = OrderedDict()
        """The queued calls, the oldest first. A future's result is whether the call has a slot, or is refused."""


class _Counts:
    """A count for each of some tenants, and the tenant with the least and with the greatest.

    A change takes constant time; so do the extremes, but for the number of different counts: below the square root of
    twice their sum.
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._tenants: dict[int, OrderedDict[str, None]] = {}
        """By count; in each, the tenant that has had the count longest is the first."""

    def set(self, tenant: str, count: int) -> None:
        if self._counts.get(tenant) == count:
            return
        self.discard(tenant)
        self._counts[tenant] = count
        self._tenants.setdefault(count, OrderedDict())[tenant] = None

    def discard(self, tenant: str) -> None:
        count = self._counts.pop(tenant, None)
        if count is None:
            return
        del self._tenants[count][tenant]
        if not self._tenants[count]:
            del self._tenants[count]

    def __contains__(self, tenant: str) -> bool:
        return tenant in self._counts

    @property
    def tenants(self) -> int:
        """How many tenants have a count."""
        return len(self._counts)

    def least(self) -> str:
        return next(iter(self._tenants[min(self._tenants)]))

    def greatest(self) -> str:
        return next(iter(self._tenants[max(self._tenants)]))
