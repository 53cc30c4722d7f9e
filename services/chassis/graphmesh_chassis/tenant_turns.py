"""Divides an event loop between tenants while it has more to do than time.

asyncio calls callbacks in the order in which they were scheduled: a step of one tenant's call waits for all steps of
another's, however many those are. While a loop is overloaded and several tenants use it, the callbacks of those that
have taken the most of its time lately are queued here, and the tenant with the earliest virtual time has the next turn
(start-time fair queuing of Goyal, Vin and Cheng, 1996). Callbacks of all others are called at once. A call has many
short steps, and waits for a database or a thread between them, so the queues wait a moment for its next step
(anticipatory scheduling of Iyer and Druschel, 2001), and so for the acceptance of the next call, which gRPC does one
after the other. Otherwise nothing is queued, and the loop schedules by itself.
"""

import asyncio
import time
from asyncio import AbstractEventLoop, Handle
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar
from heapq import heappop, heappush
from typing import Any, Protocol
from weakref import WeakKeyDictionary

OVERLOAD_SECONDS = 0.004
"""The time that a callback waits from which on a loop is overloaded."""
CALM_SECONDS = 1.0
"""How long tenants take turns after the last overload, or the last work of a second tenant."""
TURN_SECONDS = 0.0002
"""The time of queued callbacks after which the loop does other things."""
NEXT_STEP_SECONDS = 0.0005
"""How long the queues wait for the next step of other work."""
LONGEST_WAIT_SECONDS = 0.002
"""The most time that they wait between two turns, so that they advance whatever other work there is."""
PERIOD_SECONDS = 0.1
DECAY = 0.8
"""The factor of each period by which the time that tenants have taken counts less."""

CURRENT_TENANT: ContextVar[str] = ContextVar("graphmesh_tenant", default="")
"""The tenant of the current call, or of the run that this task belongs to."""
_is_urgent: ContextVar[bool] = ContextVar("graphmesh_is_urgent", default=False)
"""Whether this task holds something that others wait for."""


class Held(Protocol):
    """Something of limited number that a task holds."""

    @property
    def is_awaited(self) -> bool:
        """Whether another tenant waits for it: while it does, the task's steps are urgent (priority inheritance)."""


HELD: ContextVar[Held | None] = ContextVar("graphmesh_held", default=None)
"""The last of what this task holds."""


class TenantTurns:
    """The turns of tenants on one event loop."""

    def __init__(self, loop: AbstractEventLoop, now: Callable[[], float] = time.perf_counter) -> None:
        self._loop, self._now, self._schedule = loop, now, loop.call_soon
        self._is_probing = False
        self._newest, self._other_seen = "", float("-inf")
        """The tenant that worked last, and when another one did."""
        self._calm_at = 0.0
        self._used: defaultdict[str, float] = defaultdict(float)
        """The time that each tenant has taken lately, in seconds."""
        self._is_much = 0.0
        """The time from which on a tenant's callbacks are queued."""
        self._period_ends = 0.0
        self._queues: dict[str, deque[Handle]] = {}
        """The queued callbacks of tenants that have any, the oldest first."""
        self._heap: list[tuple[float, int, str]] = []
        """An entry for each queue: the virtual time of its next callback, the number of the entry, and the tenant."""
        self._virtual_time, self._entries = 0.0, 0
        self._is_scheduled = False
        self._queued_since = self._turn_ended = self._next_step_until = 0.0

    @property
    def is_overloaded(self) -> bool:
        """Whether tenants take turns now."""
        return "call_soon" in vars(self._loop)

    def begin(self, tenant: str) -> None:
        """Note that there is work of a tenant, and measure how long a callback waits that is scheduled now.

        An empty `tenant` is none: that of health checks, and of a call that does not state one.
        """
        if tenant and tenant != self._newest:
            self._newest, self._other_seen = tenant, self._now()
        if not self._is_probing:
            self._is_probing = True
            self._schedule(self._measure, self._now())

    def _measure(self, scheduled: float) -> None:
        self._is_probing, now = False, self._now()
        self._check(scheduled, now)

    def _check(self, since: float, now: float) -> None:
        """Let tenants take turns if callbacks have waited for too long `since` then."""
        if now - since >= OVERLOAD_SECONDS and now - self._other_seen < CALM_SECONDS:
            self._calm_at = now + CALM_SECONDS
            vars(self._loop)["call_soon"] = self._call_soon

    def _call_soon(self, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> Handle:
        """Take the place of the loop's method while tenants take turns."""
        if context is None:
            tenant, is_urgent, held = CURRENT_TENANT.get(), _is_urgent.get(), HELD.get()
        else:
            tenant, is_urgent = context.get(CURRENT_TENANT, ""), context.get(_is_urgent, False)
            held = context.get(HELD)
        if is_urgent or not tenant or (held is not None and held.is_awaited):
            self._next_step_until = self._now() + NEXT_STEP_SECONDS
            return self._schedule(callback, *args, context=context)
        handle = Handle(callback, args, self._loop, context)
        if self._used[tenant] <= self._is_much:
            self._next_step_until = self._now() + NEXT_STEP_SECONDS
            self._schedule(self._call, handle, tenant)
        else:
            self._queue(handle, tenant)
        return handle

    def _queue(self, handle: Handle, tenant: str) -> None:
        if (queue := self._queues.get(tenant)) is None:
            queue = self._queues[tenant] = deque()
            self._push(self._virtual_time, tenant)
        queue.append(handle)
        if not self._is_scheduled:
            self._is_scheduled, self._queued_since = True, self._now()
            self._schedule(self._take_turns)

    def _push(self, virtual_time: float, tenant: str) -> None:
        self._entries += 1
        heappush(self._heap, (virtual_time, self._entries, tenant))

    def _call(self, handle: Handle, tenant: str) -> None:
        began = self._now()
        try:
            if not handle.cancelled():
                handle._run()
        finally:
            self._used[tenant] += self._now() - began

    def _take_turns(self) -> None:
        """Call some queued callbacks, unless other work is likely to have its next step at once."""
        now = self._now()
        if now < self._next_step_until and now - self._turn_ended < LONGEST_WAIT_SECONDS:
            self._schedule(self._take_turns)
            return
        until = now + TURN_SECONDS
        try:
            while self._heap and self._now() < until:
                self._take_turn()
        finally:  # an exit of a process is raised here
            self._end_turns(self._now())

    def _take_turn(self) -> None:
        self._virtual_time, _, tenant = heappop(self._heap)
        queue, began = self._queues[tenant], self._now()
        try:
            self._call(queue.popleft(), tenant)
        finally:
            if queue:
                self._push(self._virtual_time + self._now() - began, tenant)
            else:
                del self._queues[tenant]

    def _end_turns(self, now: float) -> None:
        """Schedule the next turns, if anything is queued."""
        self._turn_ended = now
        if now >= self._period_ends:
            self._begin_period(now)
        self._is_scheduled = bool(self._heap)
        if self._is_scheduled:
            self._schedule(self._take_turns)
            self._check(self._queued_since, now)
        elif now >= self._calm_at:
            del vars(self._loop)["call_soon"]
            self._used.clear()

    def _begin_period(self, now: float) -> None:
        self._period_ends = now + PERIOD_SECONDS
        used = ((tenant, DECAY * seconds) for tenant, seconds in self._used.items())
        self._used = defaultdict(float, {tenant: seconds for tenant, seconds in used if seconds > TURN_SECONDS})
        self._is_much = max(self._used.values(), default=0.0) / 2


_turns: WeakKeyDictionary[AbstractEventLoop, TenantTurns] = WeakKeyDictionary()


def turns_of(loop: AbstractEventLoop) -> TenantTurns:
    """Return the turns of a loop, which are made once."""
    if (turns := _turns.get(loop)) is None:
        turns = _turns[loop] = TenantTurns(loop)
    return turns


def work_for(tenant: str) -> None:
    """Work for a tenant from now on: this task, and those that it starts."""
    CURRENT_TENANT.set(tenant)
    turns_of(asyncio.get_running_loop()).begin(tenant)


def work_for_all() -> None:
    """Work for all tenants from now on, with priority: this task, and those that it starts."""
    CURRENT_TENANT.set("")
    _is_urgent.set(True)


@contextmanager
def urgent() -> Iterator[None]:
    """Continue this task with priority while the body holds something that others wait for."""
    before = _is_urgent.get()
    _is_urgent.set(True)
    try:
        yield
    finally:
        _is_urgent.set(before)
