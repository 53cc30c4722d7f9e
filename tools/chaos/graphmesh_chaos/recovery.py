"""How long runs stood still after the death of their orchestrator."""

from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from graphmesh_chaos.checker import grouped
from graphmesh_chaos.facts import Event

BEGINS = "running"
"""The status that each execution of a run tells first."""
PARKED = "interrupted"
"""The status of a run that nobody executes until it is answered."""


@dataclass(frozen=True)
class Death:
    """The death of an orchestrator."""

    time: datetime
    runs: Collection[str]
    """That it executed."""


def recovery_seconds(deaths: Sequence[Death], events: Sequence[Event]) -> list[float]:
    """For each death and each run that it has stopped, the seconds until the run goes on; shortest first.

    A run that has ended or parked in the meantime was not stopped. `events` are in the order of run and seq.
    """
    journals = grouped(events, lambda event: event.run_id)
    waits = (_wait(death, journals.get(run_id, [])) for death in deaths for run_id in death.runs)
    return sorted(wait for wait in waits if wait is not None)


def _wait(death: Death, events: Sequence[Event]) -> float | None:
    after = bisect_right([event.time for event in events], death.time)
    stopped = after > 0 and events[after - 1].status != PARKED
    if not stopped or after == len(events) or events[after].status != BEGINS:
        return None
    return (events[after].time - death.time).total_seconds()


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value that `share` of the `ordered` values do not exceed."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
