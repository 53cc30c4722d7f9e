"""Admission: an exact concurrency limit, a bounded queue, equal parts of tenants, no slot lost or granted twice."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress

import pytest
from graphmesh_chassis.admission import Admission, Waits
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import ConcurrencyLimit
from hypothesis import given, settings
from hypothesis import strategies as st

LONG = 30.0


class Work:
    """Calls through one admission, each of which lasts until `end`."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.active: list[int] = []
        self.calls: list[asyncio.Task[None]] = []
        self._ends: list[asyncio.Event] = []

    async def begin(self, seconds: float = LONG, tenant: str = "default") -> int:
        """Start a call, and return its number once it holds a slot, waits or is refused."""
        number = len(self.calls)
        self._ends.append(asyncio.Event())
        self.calls.append(asyncio.create_task(self._call(number, Deadline.after(seconds), tenant)))
        await run_tasks()
        return number

    async def end(self, number: int) -> None:
        self._ends[number].set()
        await run_tasks()

    async def cancel(self, number: int) -> None:
        self.calls[number].cancel()
        await run_tasks()

    def refused(self, number: int) -> bool:
        call = self.calls[number]
        return call.done() and not call.cancelled() and isinstance(call.exception(), ConcurrencyLimit)

    @property
    def queued(self) -> list[int]:
        return [number for number, call in enumerate(self.calls) if not call.done() and number not in self.active]

    async def _call(self, number: int, deadline: Deadline, tenant: str) -> None:
        async with self.admission.slot(deadline, tenant):
            self.active.append(number)
            try:
                await self._ends[number].wait()
            finally:
                self.active.remove(number)


@asynccontextmanager
async def working(limit: int, queue: int) -> AsyncIterator[Work]:
    """Calls through an admission. At the end all are cancelled, and every slot has to be free."""
    work = Work(Admission(limit, queue))
    try:
        yield work
    finally:
        for call in work.calls:
            call.cancel()
        await asyncio.gather(*work.calls, return_exceptions=True)
        assert (work.admission.active, work.admission.queued) == (0, 0)


async def run_tasks() -> None:
    """Let every task run until it blocks."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_queued_calls_get_slots_in_order() -> None:
    """First in, first out."""
    async with working(limit=1, queue=3) as work:
        first, second, third = [await work.begin() for _ in range(3)]
        assert (work.active, work.queued) == ([first], [second, third])
        await work.end(first)
        assert (work.active, work.queued) == ([second], [third])


async def test_a_slot_is_given_back_during_a_wait() -> None:
    """Another call has it meanwhile. It is taken again after the wait, or the call is refused and holds none."""
    async with working(limit=1, queue=1) as work:
        async with work.admission.slot(Deadline.after(LONG)) as held:
            async with held.given_back():
                other = await work.begin()
                assert work.active == [other]
                await work.end(other)
            assert work.admission.active == 1
        with pytest.raises(ConcurrencyLimit):
            async with work.admission.slot(Deadline.after(0.05)) as held, held.given_back():
                await work.begin()


async def test_a_slot_is_reserved_for_a_tenant_without_any() -> None:
    """Its first call does not wait until long calls of another one end; a free slot is reserved for the next tenant."""
    async with working(limit=8, queue=5) as work:
        busy = [await work.begin(tenant="busy") for _ in range(9)]
        assert (work.active, work.queued) == (busy[:7], busy[7:])
        new = [await work.begin(tenant="new") for _ in range(2)]
        assert new[0] in work.active
        await work.end(busy[0])
        assert work.queued == [*busy[7:], new[1]]
        assert await work.begin(tenant="third") in work.active
        await work.end(busy[1])
        await work.end(busy[2])
        assert new[1] in work.active


async def test_full_queue_refuses_with_limits_and_retry_time() -> None:
    async with working(limit=2, queue=1) as work:
        numbers = [await work.begin() for _ in range(4)]
        assert [work.refused(number) for number in numbers] == [False, False, False, True]
        refusal = work.calls[3].exception()
        assert isinstance(refusal, ConcurrencyLimit)
        assert refusal.data == {"max_concurrency": "2", "max_queue": "1"}
        assert refusal.retry_after is not None
        assert refusal.retry_after > 0


async def test_without_a_queue_calls_above_the_limit_are_refused_at_once() -> None:
    async with working(limit=1, queue=0) as work:
        await work.begin()
        assert work.refused(await work.begin())


async def test_queued_call_is_refused_before_its_deadline() -> None:
    """The refusal arrives before the deadline, and the next call in the queue gets the slot."""
    async with working(limit=1, queue=5) as work:
        first, late, next_one = await work.begin(), await work.begin(seconds=1), await work.begin()
        assert work.admission._max_wait(Deadline.after(1)) <= 0.9
        with pytest.raises(ConcurrencyLimit):
            await work.calls[late]
        await work.end(first)
        assert work.active == [next_one]


async def test_slot_granted_to_a_cancelled_call_goes_to_the_next() -> None:
    """The call is cancelled at the moment at which it gets the slot."""
    async with working(limit=1, queue=5) as work:
        first, second, third = [await work.begin() for _ in range(3)]
        work._ends[first].set()
        await asyncio.sleep(0)
        await work.cancel(second)
        await run_tasks()
        assert work.active == [third]


async def test_cancelled_call_leaves_the_queue() -> None:
    async with working(limit=1, queue=1) as work:
        _, waiter = await work.begin(), await work.begin()
        await work.cancel(waiter)
        assert not work.refused(await work.begin())


async def test_failed_call_releases_its_slot() -> None:
    admission = Admission(1, 0)
    for _ in range(3):
        with pytest.raises(ValueError):
            await failing(admission)
    assert admission.active == 0


async def failing(admission: Admission) -> None:
    async with admission.slot(Deadline.after(1)):
        raise ValueError


async def test_expected_wait_follows_the_durations_of_calls() -> None:
    admission, began = Admission(2, 10), time.monotonic()
    async with admission.slot(Deadline.after(LONG)):
        await asyncio.sleep(0.05)
    assert 0.001 < admission.expected_wait < time.monotonic() - began


async def test_a_free_slot_is_given_to_the_tenant_with_the_fewest() -> None:
    """Another tenant's call overtakes the queue of a tenant that holds all slots, until both hold as many."""
    async with working(limit=4, queue=100) as work:
        flood = [await work.begin(tenant="busy") for _ in range(20)]
        others = [await work.begin(tenant="other") for _ in range(5)]
        for number in flood[:2]:
            await work.end(number)
        assert sorted(work.active) == [*flood[2:4], *others[:2]]
        await work.end(flood[2])
        assert sorted(work.active) == [*flood[3:5], *others[:2]]
        await work.end(others[0])
        assert sorted(work.active) == [*flood[3:5], *others[1:3]]


async def test_a_full_queue_makes_room_for_a_tenant_with_a_smaller_part() -> None:
    """The newest call of the tenant with the largest part is refused, until both have as many."""
    async with working(limit=1, queue=8) as work:
        flood = [await work.begin(tenant="busy") for _ in range(9)]
        others = [await work.begin(tenant="other") for _ in range(6)]
        assert [number for number in flood if work.refused(number)] == flood[5:]
        assert [number for number in others if work.refused(number)] == others[4:]
        refusal = work.calls[flood[-1]].exception()
        assert isinstance(refusal, ConcurrencyLimit)
        assert refusal.retry_after
        assert work.admission.queued == 8


async def test_a_call_that_made_room_gets_the_next_slot() -> None:
    async with working(limit=1, queue=8) as work:
        first, *_ = [await work.begin(tenant="busy") for _ in range(50)]
        other = await work.begin(tenant="other")
        await work.end(first)
        assert work.active == [other]


async def test_call_refused_and_cancelled_at_once_releases_no_slot() -> None:
    """The call that makes room cancels the refused one's task before it has run."""
    async with working(limit=1, queue=2) as work:
        _, _, newest = [await work.begin(tenant="busy") for _ in range(3)]
        other = asyncio.create_task(work.begin(tenant="other"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        work.calls[newest].cancel()
        await other
        assert (work.admission.active, work.admission.queued) == (1, 2)


async def test_an_admission_without_calls_keeps_no_tenants() -> None:
    """Clients can invent tenants."""
    async with working(limit=2, queue=30) as work:
        for number in range(40):
            await work.begin(tenant=f"tenant-{number}")
        for call in work.calls:
            call.cancel()
        await asyncio.gather(*work.calls, return_exceptions=True)
        admission = work.admission
        assert (admission._tenants, admission._slots._counts, admission._lengths._tenants) == ({}, {}, {})


@pytest.mark.parametrize(("tenants", "each"), [(1, 50), (2, 33), (4, 20)])
def test_tenants_hold_equal_parts_of_the_waits(tenants: int, each: int) -> None:
    """Each as many as are still free, so that there is always room for one more tenant."""
    waits, held = Waits(100), dict[str, int]()
    with ExitStack() as places:
        for _ in range(200):
            for tenant in (f"tenant-{number}" for number in range(tenants)):
                with suppress(ConcurrencyLimit):
                    places.enter_context(waits.place(tenant))
                    held[tenant] = held.get(tenant, 0) + 1
        assert sum(held.values()) == waits.active
        assert all(abs(count - each) <= 1 for count in held.values())
        places.enter_context(waits.place("newcomer"))
    assert (waits.active, waits._held) == (0, {})


def test_a_refused_wait_names_the_limit_and_when_to_retry() -> None:
    waits = Waits(2)
    with waits.place("busy"), pytest.raises(ConcurrencyLimit) as raised, waits.place("busy"):
        pass
    assert raised.value.data == {"max_waits": "2", "held": "1"}
    assert "2 waiting calls" in raised.value.message
    assert raised.value.retry_after


async def test_a_call_costs_the_same_whatever_waits() -> None:
    """With 32 times as many tenants and queued calls, a call costs less than three times as much."""

    async def seconds(tenants: int) -> float:
        async with working(limit=1, queue=tenants * 4) as work:
            holder = asyncio.create_task(work.admission.acquire("holder", Deadline.after(LONG)))
            await holder
            queued = [
                asyncio.create_task(work.admission.acquire(f"tenant-{number % tenants}", Deadline.after(LONG)))
                for number in range(tenants * 4)
            ]
            await run_tasks()
            gc.disable()
            began = time.thread_time()
            for number in range(2000):  # each makes room for a tenant of its own, and leaves the queue
                newcomer, granted = f"newcomer-{number}", asyncio.get_running_loop().create_future()
                work.admission._make_room(newcomer)
                work.admission._enqueue(newcomer, granted)
                work.admission._abandon(newcomer, granted)
                work.admission._enqueue(f"tenant-{number % tenants}", asyncio.get_running_loop().create_future())
            spent = time.thread_time() - began
            gc.enable()
            for call in queued:
                call.cancel()
            await asyncio.gather(*queued, return_exceptions=True)
            for tenant, state in list(work.admission._tenants.items()):
                for waiting in list(state.queue):
                    work.admission._abandon(tenant, waiting)
            work.admission._release("holder")
            return spent

    few = min([await seconds(32) for _ in range(3)])
    many = min([await seconds(1024) for _ in range(3)])
    assert many < 3 * few


steps = st.lists(
    st.tuples(st.sampled_from(["begin", "begin other", "end", "cancel"]), st.integers(0, 9)),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(limit=st.integers(1, 3), queue=st.integers(0, 3), steps=steps)
def test_limits_hold_for_any_sequence_of_calls(limit: int, queue: int, steps: list[tuple[str, int]]) -> None:
    """Neither limit is ever exceeded, and no call waits while a slot is free."""

    async def play() -> None:
        async with working(limit, queue) as work:
            for step, number in steps:
                if step.startswith("begin"):
                    await work.begin(tenant=step)
                elif work.calls:
                    await getattr(work, step)(number % len(work.calls))
                assert len(work.active) <= limit
                assert len(work.queued) <= queue
                assert not work.queued or len(work.active) == limit
                assert (work.admission.active, work.admission.queued) == (len(work.active), len(work.queued))

    asyncio.run(play())
