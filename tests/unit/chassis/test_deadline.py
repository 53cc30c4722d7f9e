"""Deadlines on a clock of the caller's choice."""

import asyncio

import pytest
from graphmesh_chassis.deadline import Deadline


class Clock:
    """A clock that tests advance."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_remaining_follows_the_clock_and_never_turns_negative() -> None:
    clock = Clock()
    deadline = Deadline.after(5, clock)
    clock.now += 3
    assert (deadline.at, deadline.remaining) == (105, 2)
    clock.now += 3
    assert deadline.remaining == 0


@pytest.mark.parametrize(("seconds", "at"), [(2, 103), (10, 105)])
def test_capped_returns_the_earlier_deadline_on_the_same_clock(seconds: float, at: float) -> None:
    clock = Clock()
    deadline = Deadline.after(5, clock)
    clock.now += 1
    capped = deadline.capped(seconds)
    assert (capped.at, capped.clock) == (at, clock)


async def test_timeout_of_a_passed_deadline_cancels_its_body_at_once() -> None:
    clock = Clock()
    deadline = Deadline.after(5, clock)
    clock.now += 5
    with pytest.raises(TimeoutError):
        async with deadline.timeout():
            await asyncio.Event().wait()
