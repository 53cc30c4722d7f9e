"""How long runs stood still after the death of their orchestrator."""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime

from graphmesh_cli.chaos.checker import grouped
from graphmesh_cli.chaos.facts import Event

BEGINS = "running"
"""The status that each execution of a run tells first."""
PARKED = "interrupted"
"""The status of a run that nobody executes until it is answered."""


def recovery_seconds(deaths: Sequence[datetime], events: Sequence[Event]) -> list[float]:
    """For each death and each run that it has stopped, the seconds until the run goes on; shortest first.

    A death has stopped the runs whose next event is that of a new execution. `events` are in the order of run and seq.
    """
    waits = []
    for of_run in grouped(events, lambda event: event.run_id).values():
        times = [event.time for event in of_run]
        for death in deaths:
            after = bisect_right(times, death)
            if 0 < after < len(of_run) and of_run[after].status == BEGINS and of_run[after - 1].status != PARKED:
                waits.append((times[after] - death).total_seconds())
    return sorted(waits)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value that `share` of the `ordered` values do not exceed."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
