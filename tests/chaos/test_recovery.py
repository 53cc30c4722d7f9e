"""How long runs stand still after a death."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from graphmesh_chaos.facts import Event
from graphmesh_chaos.recovery import Death, percentile, recovery_seconds

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


def events(run_id: str, *seconds: float, begins: Sequence[float] = ()) -> list[Event]:
    """Events at these seconds; executions begin at some of them."""
    return [
        Event(run_id, seq, at(second), "running" if second in begins else "")
        for seq, second in enumerate(seconds, start=1)
    ]


def death(second: float, *runs: str) -> Death:
    return Death(at(second), runs)


def test_from_the_death_to_the_next_execution_of_each_run_that_it_stopped() -> None:
    """A run of another orchestrator, or one that has said something since, did not stand still."""
    slow, quick = events("slow", 0, 1, 9, begins=[0, 9]), events("quick", 1, 5, 6, begins=[1, 5])
    ended, others = events("ended", 0, 3, begins=[0]), events("another's", 0, 1, 8, begins=[0, 8])
    stopped = death(2, "slow", "quick", "ended", "lost")
    assert recovery_seconds([stopped], [*slow, *quick, *ended, *others]) == [3, 7]


def test_a_run_that_waited_for_an_answer_was_not_stopped() -> None:
    """Nobody executed it when the orchestrator died."""
    [begun, parked, resumed] = events("run", 0, 1, 9, begins=[0, 9])
    parked = replace(parked, status="interrupted")
    assert recovery_seconds([death(2, "run")], [begun, parked, resumed]) == []


def test_each_death_counts() -> None:
    """A run that two deaths have stopped stood still twice."""
    deaths = [death(1, "run"), death(5, "run")]
    assert recovery_seconds(deaths, events("run", 0, 4, 7, begins=[0, 4, 7])) == [2, 3]


def test_percentiles_are_values_that_were_measured() -> None:
    """The longest is the last one."""
    ordered = [float(value) for value in range(1, 101)]
    assert [percentile(ordered, share) for share in (0.5, 0.99, 1)] == [51, 100, 100]
    assert percentile([4.0], 0.5) == 4.0
