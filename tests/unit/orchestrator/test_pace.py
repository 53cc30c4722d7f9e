"""How often the database is asked: seldom where nothing is due and all is heard, and at once where something is."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from graphmesh_orchestrator.notifications.poll_timer import BUSY_SECONDS, IDLE_SECONDS, Pace

MINUTE = 60.0


class Jumping(asyncio.SelectorEventLoop):
    """A loop in which waiting takes no time: its clock goes on to where the next timer is."""

    def __init__(self) -> None:
        super().__init__()
        self._at = 0.0
        selector: Any = self._selector  # type: ignore[attr-defined]
        self._select = selector.select
        selector.select = self._jump

    def time(self) -> float:
        return self._at

    def _jump(self, timeout: float | None) -> Any:
        self._at += timeout or 0.0
        return self._select(0)


def looks(due: float | None = None, heard: bool = True, say: Callable[[Pace], None] = lambda pace: None) -> list[float]:
    """When somebody looked within a minute to whom something is due in so many seconds from the beginning on."""

    async def looked() -> list[float]:
        pace, loop, found = Pace(lambda: heard), asyncio.get_running_loop(), list[float]()
        say(pace)
        while (now := loop.time()) < MINUTE:
            found.append(now)
            await pace.next(None if due is None else due - now)
        return found

    with asyncio.Runner(loop_factory=Jumping) as runner:
        return runner.run(looked())


def at(seconds: float, said: Callable[[Pace], Callable[[], None]]) -> Callable[[Pace], None]:
    """Say it then."""

    def say(pace: Pace) -> None:
        asyncio.get_running_loop().call_at(seconds, said(pace))

    return say


def test_nothing_due_is_looked_for_seldom() -> None:
    assert len(looks()) == MINUTE / IDLE_SECONDS


def test_where_others_are_not_heard_nobody_relies_on_being_told() -> None:
    assert len(looks(heard=False)) == MINUTE / BUSY_SECONDS


def test_what_is_due_is_looked_for_when_it_is() -> None:
    """And again and again until it is done."""
    assert looks(due=3)[:3] == [0, 3, 3.5]


@pytest.mark.parametrize("heard", [True, False])
def test_what_is_said_is_looked_for_at_once(heard: bool) -> None:
    """However long nobody has said anything."""
    assert 42.1 in looks(heard=heard, say=at(42.1, lambda pace: pace.at_once))
    assert 42.1 in looks(say=at(42.1, lambda pace: pace.soon))


def test_a_rush_of_what_is_said_is_no_rush_of_looks() -> None:
    """A thousand runs that end within a second."""

    def rush(pace: Pace) -> None:
        for number in range(1000):
            at(20 + number / 1000, lambda pace: pace.soon)(pace)

    assert [time for time in looks(say=rush) if 20 < time < 21] == [20.5]
    assert len(looks(say=rush)) <= MINUTE / IDLE_SECONDS + 3
