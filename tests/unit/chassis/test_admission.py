"""Admission: an exact concurrency limit, a bounded queue, and no slot lost or granted twice."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from graphmesh_chassis.admission import Admission
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

    async def begin(self, seconds: float = LONG) -> int:
        """Start a call, and return its number once it holds a slot, waits or is refused."""
        number = len(self.calls)
        self._ends.append(asyncio.Event())
        self.calls.append(asyncio.create_task(self._call(number, Deadline.after(seconds))))
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

    async def _call(self, number: int, deadline: Deadline) -> None:
        async with self.admission.slot(deadline):
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
        first, late, next_one = await work.begin(), await work.begin(seconds=3), await work.begin()
        began = asyncio.get_running_loop().time()
        with pytest.raises(ConcurrencyLimit):
            await work.calls[late]
        assert asyncio.get_running_loop().time() - began < 3
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


steps = st.lists(st.tuples(st.sampled_from(["begin", "end", "cancel"]), st.integers(0, 9)), max_size=40)


@settings(max_examples=150, deadline=None)
@given(limit=st.integers(1, 3), queue=st.integers(0, 3), steps=steps)
def test_limits_hold_for_any_sequence_of_calls(limit: int, queue: int, steps: list[tuple[str, int]]) -> None:
    """Neither limit is ever exceeded, and no call waits while a slot is free."""

    async def play() -> None:
        async with working(limit, queue) as work:
            for step, number in steps:
                if step == "begin":
                    await work.begin()
                elif work.calls:
                    await getattr(work, step)(number % len(work.calls))
                assert len(work.active) <= limit
                assert len(work.queued) <= queue
                assert not work.queued or len(work.active) == limit
                assert (work.admission.active, work.admission.queued) == (len(work.active), len(work.queued))

    asyncio.run(play())
