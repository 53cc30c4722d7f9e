"""Concurrent calls above the limits, counted inside the service."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import ConcurrencyLimit
from graphmesh_chassis.settings import ServerSettings
from graphmesh_contracts import Overrides

from tests.integration.chassis.probe import NAME, Answer, Probe, Question, probing


class Counter:
    """An implementation that counts concurrent calls."""

    def __init__(self, until_set: asyncio.Event | None = None) -> None:
        self.until_set, self.active, self.most, self.served = until_set, 0, 0, 0

    async def __call__(self, question: Any, context: Any) -> Any:
        self.active += 1
        self.most = max(self.most, self.active)
        await (self.until_set.wait() if self.until_set else asyncio.sleep(0.01))
        self.active -= 1
        self.served += 1
        return Answer(number=question.number)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.01)


def limits(concurrency: int, queue: int) -> ServerSettings:
    service = {"max_concurrency": concurrency, "max_queue": queue}
    return ServerSettings(policy=Overrides(service=service, methods={"Ask": {"timeout": "60s"}}))


async def test_fifty_calls_share_two_slots() -> None:
    """Never more than two are active, and with room in the queue all are served."""
    counter = Counter()
    async with probing({"Ask": counter}, limits(concurrency=2, queue=48)) as served:
        calls = [served.channel.unary(Probe.Ask, Question(number=n), deadline=Deadline.after(60)) for n in range(50)]
        answers = await asyncio.gather(*calls)
    assert (counter.most, counter.served) == (2, 50)
    assert sorted(answer.number for answer in answers) == list(range(50))


async def test_calls_above_the_queue_limit_are_refused() -> None:
    """Two are active, eight wait; the other forty are refused with a retry time, without having begun."""
    counter = Counter(until_set=(go := asyncio.Event()))
    async with probing({"Ask": counter}, limits(concurrency=2, queue=8)) as served:
        calls = [
            asyncio.create_task(served.channel.unary(Probe.Ask, Question(), deadline=Deadline.after(60)))
            for _ in range(50)
        ]
        await until(lambda: sum(call.done() for call in calls) == 40)
        go.set()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    refusals = [outcome for outcome in outcomes if isinstance(outcome, ConcurrencyLimit)]
    assert (len(refusals), counter.served, counter.most) == (40, 10, 2)
    for refusal in refusals:
        assert refusal.data == {"max_concurrency": "2", "max_queue": "8"}
        assert refusal.retry_after
        assert not refusal.may_have_happened


async def test_call_without_a_slot_in_time_is_refused_as_not_begun() -> None:
    """With CONCURRENCY_LIMIT and not DEADLINE_EXCEEDED, which would leave open whether it happened."""
    begun, go = list[Any](), asyncio.Event()

    async def held(question: Any, context: Any) -> Any:
        begun.append(question)
        await go.wait()
        return Answer()

    async with probing({"Ask": held}, limits(concurrency=1, queue=8)) as served:
        long = asyncio.create_task(served.channel.unary(Probe.Ask, Question(), deadline=Deadline.after(60)))
        await until(lambda: len(begun) == 1)
        served.running.admissions[NAME]._mean_seconds = 60  # the refusal comes after three quarters of the time
        with pytest.raises(ConcurrencyLimit):
            await served.channel.unary(Probe.Ask, Question(), deadline=Deadline.after(12))
        go.set()
        await long
    assert len(begun) == 1


async def test_stream_holds_its_slot_until_the_client_cancels() -> None:
    """A stream that is read slowly still counts."""

    async def endless(question: Any, context: Any) -> AsyncIterator[Any]:
        while True:
            yield Answer()
            await asyncio.sleep(0.01)

    async with probing({"Count": endless}, limits(concurrency=1, queue=0)) as served:
        admission = served.running.admissions[NAME]
        stream = served.channel.stream(Probe.Count, Question(), deadline=Deadline.after(60))
        await anext(stream)
        assert admission.active == 1
        with pytest.raises(ConcurrencyLimit):
            await anext(served.channel.stream(Probe.Count, Question(), deadline=Deadline.after(60)))
        await stream.aclose()
        await until_idle(admission)


async def test_cancelled_call_frees_its_slot() -> None:
    """Cancellation reaches the implementation."""
    began, stopped = asyncio.Event(), asyncio.Event()

    async def never(question: Any, context: Any) -> Any:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async with probing({"Ask": never}, limits(concurrency=1, queue=0)) as served:
        call = asyncio.create_task(served.channel.unary(Probe.Ask, Question(), deadline=Deadline.after(60)))
        await began.wait()
        call.cancel()
        await asyncio.wait_for(stopped.wait(), 60)
        await until_idle(served.running.admissions[NAME])


async def until_idle(admission: Any) -> None:
    await until(lambda: not admission.active)
