"""How long runs stood still after the deaths of their orchestrator."""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime

from graphmesh_cli.chaos.checker import grouped
from graphmesh_cli.chaos.facts import Event


def recovery_seconds(deaths: Sequence[datetime], events: Sequence[Event]) -> list[float]:
    """For each death and each run under way at it, the seconds until the run's next event; shortest first.

    `events` are in the order of run and seq.
    """
    times = [[event.time for event in of_run] for of_run in grouped(events, lambda event: event.run_id).values()]
    waits = []
    for death in deaths:
        for of_run in times:
            after = bisect_right(of_run, death)
            if 0 < after < len(of_run):
                waits.append((of_run[after] - death).total_seconds())
    return sorted(waits)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value that `share` of the `ordered` values do not exceed."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
