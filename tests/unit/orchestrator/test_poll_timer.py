"""How often the database is polled: seldom while nothing is due, and at once where something is."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from graphmesh_orchestrator.notifications.poll_timer import BUSY_SECONDS, IDLE_SECONDS, PollTimer

MINUTE = 60.0

Prepare = Callable[[PollTimer], None]


class SkippingLoop(asyncio.SelectorEventLoop):
    """An event loop in which waiting takes no time: its clock skips to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self._seconds = 0.0
        selector: Any = self._selector  # type: ignore[attr-defined]
        self._select = selector.select
        selector.select = self._skip

    def time(self) -> float:
        return self._seconds

    def _skip(self, timeout: float | None) -> Any:
        self._seconds += timeout or 0.0
        return self._select(0)


@dataclass(frozen=True)
class Notifications:
    """Whether the notifications of all processes arrive."""

    is_complete: bool = True


def polls(due: float | None = None, is_complete: bool = True, prepare: Prepare = lambda timer: None) -> list[float]:
    """Return when a task polls within a minute, while something is due at `due` seconds from the beginning."""

    async def poll() -> list[float]:
        timer, loop, times = PollTimer(Notifications(is_complete)), asyncio.get_running_loop(), list[float]()
        prepare(timer)
        while (now := loop.time()) < MINUTE:
            times.append(now)
            await timer.wait(None if due is None else due - now)
        return times

    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        return runner.run(poll())


def at(seconds: float, notify: Callable[[PollTimer], Callable[[], None]]) -> Prepare:
    """Notify the timer at that time."""

    def prepare(timer: PollTimer) -> None:
        asyncio.get_running_loop().call_at(seconds, notify(timer))

    return prepare


def test_polls_seldom_while_nothing_is_due() -> None:
    assert len(polls()) == MINUTE / IDLE_SECONDS


def test_polls_often_while_notifications_may_be_missed() -> None:
    assert len(polls(is_complete=False)) == MINUTE / BUSY_SECONDS


def test_polls_when_something_is_due() -> None:
    """And repeatedly until it is done."""
    assert polls(due=3)[:3] == [0, 3, 3.5]


@pytest.mark.parametrize("is_complete", [True, False])
def test_polls_at_once_when_notified(is_complete: bool) -> None:
    """However long the last notification is ago."""
    assert 42.1 in polls(is_complete=is_complete, prepare=at(42.1, lambda timer: timer.now))
    assert 42.1 in polls(prepare=at(42.1, lambda timer: timer.soon))


def test_burst_of_notifications_is_one_poll() -> None:
    """A thousand runs that end within a second."""

    def burst(timer: PollTimer) -> None:
        for number in range(1000):
            at(20 + number / 1000, lambda timer: timer.soon)(timer)

    assert [time for time in polls(prepare=burst) if 20 < time < 21] == [20.5]
    assert len(polls(prepare=burst)) <= MINUTE / IDLE_SECONDS + 3
