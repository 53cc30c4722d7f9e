"""Many callers at once, counted inside the service (D3)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import ConcurrencyLimit
from graphmesh_chassis.settings import ServerSettings
from graphmesh_contracts import Overrides

from tests.integration.chassis.probe import NAME, Answer, Probe, Question, probing


class Crowd:
    """A body that counts who is inside."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.inside, self.most, self.served = seconds, 0, 0, 0

    async def __call__(self, question: Any, context: Any) -> Any:
        self.inside += 1
        self.most = max(self.most, self.inside)
        await asyncio.sleep(self.seconds)
        self.inside -= 1
        self.served += 1
        return Answer(number=question.number)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)


def house(cap: int, queue: int) -> ServerSettings:
    service = {"max_concurrency": cap, "max_queue": queue}
    return ServerSettings(policy=Overrides(service=service, methods={"Ask": {"timeout": "60s"}}))


async def test_fifty_callers_and_two_places() -> None:
    """At no instant more than two inside; with room to wait everybody is served."""
    crowd = Crowd(seconds=0.01)
    async with probing({"Ask": crowd}, house(cap=2, queue=48)) as served:
        calls = [served.channel.unary(Probe.Ask, Question(number=n), deadline=Deadline.after(5)) for n in range(50)]
        answers = await asyncio.gather(*calls)
    assert (crowd.most, crowd.served) == (2, 50)
    assert sorted(answer.number for answer in answers) == list(range(50))


async def test_whoever_finds_the_queue_full_is_refused() -> None:
    """Two inside, eight wait, the other forty are told when to come again, and nothing was begun for them."""
    crowd = Crowd(seconds=0.3)
    async with probing({"Ask": crowd}, house(cap=2, queue=8)) as served:
        calls = [served.channel.unary(Probe.Ask, Question(), deadline=Deadline.after(30)) for _ in range(50)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    refusals = [outcome for outcome in outcomes if isinstance(outcome, ConcurrencyLimit)]
    assert (len(refusals), crowd.served, crowd.most) == (40, 10, 2)
    for refusal in refusals:
        assert refusal.data == {"max_concurrency": "2", "max_queue": "8"}
        assert refusal.retry_after
        assert not refusal.may_have_happened


async def test_who_cannot_get_a_turn_in_time_is_told_that_nothing_was_begun() -> None:
    """CONCURRENCY_LIMIT and not DEADLINE_EXCEEDED, which would leave open whether it happened."""
    begun, go = list[Any](), asyncio.Event()

    async def held(question: Any, context: Any) -> Any:
        begun.append(question)
        await go.wait()
        return Answer()

    async with probing({"Ask": held}, house(cap=1, queue=8)) as served:
        long = asyncio.create_task(served.channel.unary(Probe.Ask, Question(), deadline=Deadline.after(60)))
        await until(lambda: len(begun) == 1)
        with pytest.raises(ConcurrencyLimit):
            await served.channel.unary(Probe.Ask, Question(), deadline=Deadline.after(3))
        go.set()
        await long
    assert len(begun) == 1


async def test_a_stream_holds_its_place_until_its_caller_leaves() -> None:
    """One that is read slowly still counts; one whose caller hangs up is free again."""

    async def endless(question: Any, context: Any) -> AsyncIterator[Any]:
        while True:
            yield Answer()
            await asyncio.sleep(0.01)

    async with probing({"Count": endless}, house(cap=1, queue=0)) as served:
        admission = served.running.admissions[NAME]
        stream = served.channel.stream(Probe.Count, Question(), deadline=Deadline.after(5))
        await anext(stream)
        assert admission.inside == 1
        with pytest.raises(ConcurrencyLimit):
            await anext(served.channel.stream(Probe.Count, Question(), deadline=Deadline.after(5)))
        await stream.aclose()
        await gone(admission)


async def test_a_caller_who_hangs_up_frees_a_place() -> None:
    """Cancellation travels to the body (D7)."""
    began, stopped = asyncio.Event(), asyncio.Event()

    async def never(question: Any, context: Any) -> Any:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async with probing({"Ask": never}, house(cap=1, queue=0)) as served:
        call = asyncio.create_task(served.channel.unary(Probe.Ask, Question(), deadline=Deadline.after(30)))
        await began.wait()
        call.cancel()
        await asyncio.wait_for(stopped.wait(), 20)
        await gone(served.running.admissions[NAME])


async def gone(admission: Any) -> None:
    await until(lambda: not admission.inside)
