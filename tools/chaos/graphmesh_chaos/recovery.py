"""The time that runs made no progress after their orchestrator has died or was cut off."""

from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from graphmesh_orchestrator.run_status import RunStatus

from graphmesh_chaos.grouping import group_by
from graphmesh_chaos.history import Event


@dataclass(frozen=True)
class Interruption:
    """The death of an orchestrator, or the moment at which it was cut off from its database."""

    time: datetime
    run_ids: Collection[str]
    """The runs that it executed."""


def recovery_seconds(interruptions: Sequence[Interruption], events: Sequence[Event]) -> list[float]:
    """For each interruption and each of its runs, the seconds until the run is executed again; shortest first.

    A run that ended or parked just before was not interrupted. `events` are ordered by run and seq.
    """
    events_by_run = group_by(events, lambda event: event.run_id)
    waits = (_recovery(one.time, events_by_run.get(run_id, [])) for one in interruptions for run_id in one.run_ids)
    return sorted(wait for wait in waits if wait is not None)


def _recovery(since: datetime, events: Sequence[Event]) -> float | None:
    """Each execution of a run begins with an event of the status `running`."""
    following = bisect_right([event.time for event in events], since)
    interrupted = following > 0 and events[following - 1].status is not RunStatus.INTERRUPTED
    if not interrupted or following == len(events) or events[following].status is not RunStatus.RUNNING:
        return None
    return (events[following].time - since).total_seconds()


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the `values` do not exceed; infinite without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("inf")
