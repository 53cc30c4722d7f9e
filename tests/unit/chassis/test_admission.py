"""Admission: an exact cap, a bounded queue, and no place lost or given twice (D3)."""

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
    """Calls under way through one admission, each until it is told to end."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.inside: list[int] = []
        self.calls: list[asyncio.Task[None]] = []
        self._ends: list[asyncio.Event] = []

    async def begin(self, seconds: float = LONG) -> int:
        """Let a call come, and return its number once it is inside, waits or is refused."""
        number = len(self.calls)
        self._ends.append(asyncio.Event())
        self.calls.append(asyncio.create_task(self._call(number, Deadline.after(seconds))))
        await settle()
        return number

    async def end(self, number: int) -> None:
        self._ends[number].set()
        await settle()

    async def cancel(self, number: int) -> None:
        self.calls[number].cancel()
        await settle()

    def refused(self, number: int) -> bool:
        call = self.calls[number]
        return call.done() and not call.cancelled() and isinstance(call.exception(), ConcurrencyLimit)

    @property
    def waiting(self) -> list[int]:
        return [number for number, call in enumerate(self.calls) if not call.done() and number not in self.inside]

    async def _call(self, number: int, deadline: Deadline) -> None:
        async with self.admission.slot(deadline):
            self.inside.append(number)
            try:
                await self._ends[number].wait()
            finally:
                self.inside.remove(number)


@asynccontextmanager
async def working(cap: int, queue: int) -> AsyncIterator[Work]:
    """Calls through an admission; at the end all are cancelled, and every place has to be free again."""
    work = Work(Admission(cap, queue))
    try:
        yield work
    finally:
        for call in work.calls:
            call.cancel()
        await asyncio.gather(*work.calls, return_exceptions=True)
        assert (work.admission.inside, work.admission.waiting) == (0, 0)


async def settle() -> None:
    """Let every task run as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_waiters_get_their_turn_in_order() -> None:
    """First come, first served; a place goes from hand to hand."""
    async with working(cap=1, queue=3) as work:
        first, second, third = [await work.begin() for _ in range(3)]
        assert (work.inside, work.waiting) == ([first], [second, third])
        await work.end(first)
        assert (work.inside, work.waiting) == ([second], [third])


async def test_a_full_queue_refuses_and_says_so() -> None:
    """The refusal names the numbers and when to come back."""
    async with working(cap=2, queue=1) as work:
        numbers = [await work.begin() for _ in range(4)]
        assert [work.refused(number) for number in numbers] == [False, False, False, True]
        refusal = work.calls[3].exception()
        assert isinstance(refusal, ConcurrencyLimit)
        assert refusal.data == {"max_concurrency": "2", "max_queue": "1"}
        assert refusal.retry_after is not None
        assert refusal.retry_after > 0


async def test_without_a_queue_a_full_house_refuses_at_once() -> None:
    async with working(cap=1, queue=0) as work:
        await work.begin()
        assert work.refused(await work.begin())


async def test_a_waiter_is_refused_before_its_time_is_over() -> None:
    """It hears that it was not begun while it can still hear it, and leaves no hole in the queue."""
    async with working(cap=1, queue=5) as work:
        first, late, patient = await work.begin(), await work.begin(seconds=3), await work.begin()
        began = asyncio.get_running_loop().time()
        with pytest.raises(ConcurrencyLimit):
            await work.calls[late]
        assert asyncio.get_running_loop().time() - began < 3
        await work.end(first)
        assert work.inside == [patient]


async def test_a_cancelled_waiter_leaves_no_hole() -> None:
    """Its turn goes to the next, also when it is cancelled in the very moment that it gets it."""
    async with working(cap=1, queue=5) as work:
        first, second, third = [await work.begin() for _ in range(3)]
        work._ends[first].set()
        await asyncio.sleep(0)
        await work.cancel(second)
        await settle()
        assert work.inside == [third]


async def test_a_cancelled_waiter_makes_room_in_the_queue() -> None:
    async with working(cap=1, queue=1) as work:
        _, waiter = await work.begin(), await work.begin()
        await work.cancel(waiter)
        assert not work.refused(await work.begin())


async def test_a_failing_call_frees_its_place() -> None:
    admission = Admission(1, 0)
    for _ in range(3):
        with pytest.raises(ValueError):
            await failing(admission)
    assert admission.inside == 0


async def failing(admission: Admission) -> None:
    async with admission.slot(Deadline.after(1)):
        raise ValueError


async def test_the_expected_wait_grows_with_the_queue() -> None:
    """What a refusal tells its caller comes from how long calls have taken."""
    admission, began = Admission(2, 10), time.monotonic()
    async with admission.slot(Deadline.after(LONG)):
        await asyncio.sleep(0.05)
    assert 0.001 < admission.expected_wait < time.monotonic() - began


steps = st.lists(st.tuples(st.sampled_from(["begin", "end", "cancel"]), st.integers(0, 9)), max_size=40)


@settings(max_examples=150, deadline=None)
@given(cap=st.integers(1, 3), queue=st.integers(0, 3), steps=steps)
def test_the_cap_and_the_queue_hold_whatever_comes(cap: int, queue: int, steps: list[tuple[str, int]]) -> None:
    """Never more inside than the cap, never more waiting than the queue, nobody waits while a place is free."""

    async def play() -> None:
        async with working(cap, queue) as work:
            for step, number in steps:
                if step == "begin":
                    await work.begin()
                elif work.calls:
                    await getattr(work, step)(number % len(work.calls))
                assert len(work.inside) <= cap
                assert len(work.waiting) <= queue
                assert not work.waiting or len(work.inside) == cap
                assert (work.admission.inside, work.admission.waiting) == (len(work.inside), len(work.waiting))

    asyncio.run(play())
