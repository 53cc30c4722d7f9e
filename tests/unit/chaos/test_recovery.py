"""The time that runs make no progress after a death."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from graphmesh_chaos.history import Event
from graphmesh_chaos.recovery import Interruption, percentile, recovery_seconds
from graphmesh_orchestrator.run_status import RunStatus

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


def events(run_id: str, *seconds: float, begins: Sequence[float] = ()) -> list[Event]:
    """Events at these seconds; executions begin at some of them."""
    return [
        Event(run_id, seq, at(second), RunStatus.RUNNING if second in begins else None)
        for seq, second in enumerate(seconds, start=1)
    ]


def death(second: float, *run_ids: str) -> Interruption:
    return Interruption(at(second), run_ids)


def test_measures_from_the_death_to_the_next_execution_of_each_interrupted_run() -> None:
    """A run of another orchestrator, or one with a later event of the same execution, was not interrupted."""
    slow, quick = events("slow", 0, 1, 9, begins=[0, 9]), events("quick", 1, 5, 6, begins=[1, 5])
    ended, others = events("ended", 0, 3, begins=[0]), events("another's", 0, 1, 8, begins=[0, 8])
    killed = death(2, "slow", "quick", "ended", "lost")
    assert recovery_seconds([killed], [*slow, *quick, *ended, *others]) == [3, 7]


def test_does_not_count_a_parked_run() -> None:
    """No worker executed it when the orchestrator died."""
    [begun, parked, resumed] = events("run", 0, 1, 9, begins=[0, 9])
    parked = replace(parked, status=RunStatus.INTERRUPTED)
    assert recovery_seconds([death(2, "run")], [begun, parked, resumed]) == []


def test_counts_a_run_once_for_each_death() -> None:
    deaths = [death(1, "run"), death(5, "run")]
    assert recovery_seconds(deaths, events("run", 0, 4, 7, begins=[0, 4, 7])) == [2, 3]


def test_percentiles_are_measured_values() -> None:
    """The longest is the last one."""
    ordered = [float(value) for value in range(1, 101)]
    assert [percentile(ordered, share) for share in (0.5, 0.99, 1)] == [51, 100, 100]
    assert percentile([4.0], 0.5) == 4.0
