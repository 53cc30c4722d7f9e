"""Schedules as values, and the transitions at their ticks."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Self

from graphmesh_orchestrator.schedules.timing import Timing

GRACE_SECONDS = 60
"""The delay up to which a tick is on time: workers poll, are busy, and are replaced by releases."""
MAX_FAILURES = 10
"""The failures in a row after which a schedule has no more ticks."""
JUMP_SECONDS = 1.0
"""A schedule that was moved later than so far ahead of the clock shows that the clock was set back."""


class ScheduleStatus(StrEnum):
    """The values are stored."""

    ACTIVE = "active"
    PAUSED = "paused"
    FAILED = "failed"
    ENDED = "ended"


class CatchUp(StrEnum):
    """The treatment of ticks that are late."""

    SKIP = "skip"
    LAST = "last"
    ALL = "all"


@dataclass(frozen=True)
class Spec:
    """The run of each tick, and its times."""

    run: bytes
    """A serialized CreateRunRequest."""
    graph: str
    """The graph of the run, or of its assistant when the schedule was created or updated."""
    thread_id: str
    """Empty: each tick has a new thread."""
    timing: Timing
    catch_up: CatchUp = CatchUp.SKIP
    window: int = GRACE_SECONDS
    """With `CatchUp.ALL`, how many seconds late a tick may be."""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Progress:
    """The results of the ticks of a schedule."""

    next_tick: float = 0
    """0: there is none."""
    last_tick: float = 0
    last_run_id: str = ""
    last_error: bytes | None = None
    """A serialized google.rpc.Status."""
    run_count: int = 0
    failures: int = 0
    """Failed ticks in a row."""
    missed: float = 0
    """The first of the ticks that were left out last; 0: none was."""


@dataclass(frozen=True)
class Due:
    """The tick that is to be run now, and where the schedule is then."""

    tick: int | None
    """None: each tick that is due is too late."""
    following: int | None
    missed: int = 0
    """The first tick that is left out; 0: none is."""


@dataclass(frozen=True)
class Schedule:
    """A schedule."""

    tenant: str
    schedule_id: str
    uid: str
    """Unique also after a deletion: the request ids of its runs begin with it, and the id may be used again."""
    subject: str
    """The caller that has specified it last, whose runs its runs are."""
    spec: Spec
    created: datetime
    updated: datetime
    roles: list[str] | None = None
    """The roles of that caller, by which its runs are checked; None: the local developer's."""
    client: str = ""
    """The program of that caller; empty where its token states none."""
    status: ScheduleStatus = ScheduleStatus.ACTIVE
    revision: int = 1
    """Incremented with each change by a client: a worker that has read an earlier one changes nothing."""
    progress: Progress = field(default_factory=Progress)

    def due(self, now: float) -> Due:
        """Return what is to be done at `now`, by the database's clock."""
        timing, first = self.spec.timing, int(self.progress.next_tick)
        if first > now:  # the clock was set back after the last tick
            following = timing.after(now)
            return Due(None, first if following is None else min(first, following))
        if self.spec.catch_up is CatchUp.LAST:
            last = timing.last(now, first)
            return Due(last, timing.after(last), first if last > first else 0)
        window = self.spec.window if self.spec.catch_up is CatchUp.ALL else GRACE_SECONDS
        tick = first if first >= now - window else timing.after(now - window)
        missed = 0 if tick == first else first
        if tick is None or tick > now:
            return Due(None, tick, missed)
        return Due(tick, timing.after(tick), missed)

    def ran(self, due: Due, run_id: str) -> Self:
        """Return the schedule after the run of a tick is stored."""
        count = self.progress.run_count + 1
        run = {"last_run_id": run_id, "run_count": count, "last_error": None, "failures": 0}
        return self._moved(due, last_tick=due.tick, **run)

    def left_out(self, due: Due) -> Self:
        """Return the schedule after ticks that create no run, since they are too late."""
        return self._moved(due)

    def refused(self, due: Due, error: bytes, *, is_failure: bool) -> Self:
        """Return the schedule after a tick that could create no run."""
        failures = self.progress.failures + is_failure
        moved = self._moved(due, last_tick=due.tick, last_error=error, failures=failures)
        return moved._without_ticks(ScheduleStatus.FAILED) if failures >= MAX_FAILURES else moved

    def paused(self) -> Self:
        return self if self.status is ScheduleStatus.ENDED else self._without_ticks(ScheduleStatus.PAUSED)

    def resumed(self, now: float) -> Self:
        """Return the schedule with the first tick after `now`."""
        return self if self.status in (ScheduleStatus.ACTIVE, ScheduleStatus.ENDED) else self.begun(now)

    def broken(self, error: bytes) -> Self:
        """Return the schedule after its ticks could not be computed, as its time zone is no longer known."""
        changed = replace(self, progress=replace(self.progress, last_error=error))
        return changed._without_ticks(ScheduleStatus.FAILED)

    def respecified(self, spec: Spec, subject: str, roles: list[str] | None, client: str, now: float) -> Self:
        """Return the schedule with another specification and caller, and its first tick after `now` unless it is
        paused."""
        changed = replace(self, spec=spec, subject=subject, roles=roles, client=client)
        return changed if self.status is ScheduleStatus.PAUSED else changed.begun(now)

    def begun(self, now: float) -> Self:
        """Return the schedule as an active one, with the first tick after `now`."""
        progress = replace(self.progress, failures=0)
        return replace(self, status=ScheduleStatus.ACTIVE, progress=progress)._at(self.spec.timing.after(now))

    def _moved(self, due: Due, **changes: object) -> Self:
        missed = due.missed or self.progress.missed
        progress = replace(self.progress, missed=missed, **changes)  # type: ignore[arg-type]
        return replace(self, progress=progress)._at(due.following)

    def _at(self, tick: int | None) -> Self:
        if tick is None:
            return self._without_ticks(ScheduleStatus.ENDED)
        return replace(self, progress=replace(self.progress, next_tick=tick))

    def _without_ticks(self, status: ScheduleStatus) -> Self:
        return replace(self, status=status, progress=replace(self.progress, next_tick=0))
