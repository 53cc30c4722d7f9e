"""The port of schedules, and its memory twin."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from graphmesh_chassis.errors import AlreadyExists, NotFound

from graphmesh_orchestrator.db.memory_tables import MemoryTables
from graphmesh_orchestrator.errors import ResourceLimit
from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.runs.runs import Runs
from graphmesh_orchestrator.schedules.rows import columns_of
from graphmesh_orchestrator.schedules.schedule import JUMP_SECONDS, Due, Schedule, ScheduleStatus

MAX_SCHEDULES = 1000
"""The default for the schedules of a tenant."""
CLAIM_SECONDS = 10.0
"""The time that a worker has for the ticks that it has claimed; then another one creates their runs."""

UNKNOWN_GRAPH_SECONDS = 30.0
"""The delay up to which the ticks of a graph are left to the workers that have it: less than `GRACE_SECONDS`, so that a
tick of a graph that no worker has fails, and is not left out."""

Change = Callable[[Schedule], Schedule]


@dataclass(frozen=True)
class Claimed:
    """Schedules that are due, one tick of each of which a worker is to run, and the time of the database's clock."""

    now: float
    schedules: Sequence[Schedule]


@dataclass(frozen=True)
class Tick:
    """A tick of a schedule."""

    read: Schedule
    """The schedule as it was read."""
    moved: Schedule
    """The schedule after the tick."""
    run: Run | None = None
    """None where the tick creates no run."""
    due: Due | None = None
    """Given with a run."""


class Schedules(Protocol):
    """The schedules of all tenants."""

    async def create(self, schedule: Schedule) -> None:
        """Store a new schedule.

        Raises:
            AlreadyExists: the tenant has one of this id.
            ResourceLimit: the tenant has as many as it may have. Some that are added at the same instant may exceed it.
        """

    async def get(self, tenant: str, schedule_id: str) -> Schedule:
        """Raises NotFound, also for another tenant's."""

    async def find(
        self,
        tenant: str,
        columns: Mapping[str, str],
        before: tuple[datetime, str] | None,
        limit: int,
        id_prefix: str = "",
    ) -> Sequence[Schedule]:
        """Return schedules whose columns have these values, the newest first, from behind (created, schedule_id).

        Their ids begin with `id_prefix`.
        """

    async def change(self, tenant: str, schedule_id: str, change: Change) -> Schedule:
        """Replace a schedule by what `change` returns of it, and fence the workers that have claimed it.

        Raises:
            NotFound: there is no such schedule.
        """

    async def delete(self, tenant: str, schedule_id: str) -> None:
        """Raises NotFound."""

    async def next_due(self) -> float | None:
        """Return the seconds until the first tick, negative where it is due; None where there is none."""

    async def claim(self, graphs: Collection[str], limit: int) -> Claimed:
        """Claim schedules that are due, in turn of the tenants.

        Other workers claim others, and these too if they are not moved within `CLAIM_SECONDS`. A schedule of none of
        `graphs` is left to the workers that have its graph, until it is `UNKNOWN_GRAPH_SECONDS` late.
        """

    async def fire_all(self, ticks: Sequence[Tick]) -> Sequence[Tick]:
        """Store the runs of ticks, and move their schedules, in one transaction.

        It does nothing for a schedule that is no longer as it was read. Returns the other ticks of which nothing is
        stored: `fire` finds the reason, such as a thread that is busy.
        """

    async def fire(self, read: Schedule, moved: Schedule, run: Run) -> Run | None:
        """Store the run of a tick, and move its schedule, in one transaction.

        Returns None, and does nothing, where the schedule is no longer as it was read. Raises as `Runs.add`, and then
        does nothing.
        """

    async def move(self, read: Schedule, moved: Schedule) -> bool:
        """Move a schedule without a run. Returns False, and does nothing, where it is no longer as it was read."""


@dataclass
class _Stored:
    schedule: Schedule
    moved: float
    claimed_until: float = 0.0


class MemorySchedules:
    """Schedules in memory."""

    def __init__(self, tables: MemoryTables, runs: Runs, max_schedules: int = MAX_SCHEDULES) -> None:
        """`runs` are those of the same tables."""
        self._tables, self._runs, self._max = tables, runs, max_schedules
        self._stored: dict[tuple[str, str], _Stored] = {}

    async def create(self, schedule: Schedule) -> None:
        if _key(schedule) in self._stored:
            raise AlreadyExists(resource="schedule", id=schedule.schedule_id)
        if sum(tenant == schedule.tenant for tenant, _ in self._stored) >= self._max:
            raise ResourceLimit(resource="schedules", limit=self._max)
        self._stored[_key(schedule)] = _Stored(schedule, self._tables.clock())

    async def get(self, tenant: str, schedule_id: str) -> Schedule:
        return self._of(tenant, schedule_id).schedule

    async def find(
        self,
        tenant: str,
        columns: Mapping[str, str],
        before: tuple[datetime, str] | None,
        limit: int,
        id_prefix: str = "",
    ) -> Sequence[Schedule]:
        found = [
            schedule
            for schedule in (stored.schedule for stored in self._stored.values())
            if schedule.tenant == tenant
            and schedule.schedule_id.startswith(id_prefix)
            and columns.items() <= _texts(columns_of(schedule)).items()
            and (before is None or (schedule.created, schedule.schedule_id) < before)
        ]
        found.sort(key=lambda schedule: (schedule.created, schedule.schedule_id), reverse=True)
        return found[:limit]

    async def change(self, tenant: str, schedule_id: str, change: Change) -> Schedule:
        stored = self._of(tenant, schedule_id)
        changed = change(stored.schedule)
        stored.schedule = replace(changed, revision=stored.schedule.revision + 1)
        stored.moved, stored.claimed_until = self._tables.clock(), 0.0
        return stored.schedule

    async def delete(self, tenant: str, schedule_id: str) -> None:
        self._of(tenant, schedule_id)
        del self._stored[tenant, schedule_id]

    async def next_due(self) -> float | None:
        now = self._tables.clock()
        due = [
            0.0 if stored.moved > now + JUMP_SECONDS else stored.schedule.progress.next_tick - now
            for stored in self._stored.values()
            if stored.schedule.status is ScheduleStatus.ACTIVE
        ]
        return min(due, default=None)

    async def claim(self, graphs: Collection[str], limit: int) -> Claimed:
        now, ranks = self._tables.clock(), dict[str, int]()
        ranked = list[tuple[int, float, _Stored]]()
        for stored in sorted(self._stored.values(), key=lambda stored: stored.schedule.progress.next_tick):
            schedule = stored.schedule
            if self._is_claimable(stored, graphs, now):
                ranks[schedule.tenant] = ranks.get(schedule.tenant, 0) + 1
                ranked.append((ranks[schedule.tenant], schedule.progress.next_tick, stored))
        ranked.sort(key=lambda one: one[:2])
        claimed = [stored for _, _, stored in ranked[:limit]]
        for stored in claimed:
            stored.claimed_until = now + CLAIM_SECONDS
        return Claimed(now, [stored.schedule for stored in claimed])

    async def fire_all(self, ticks: Sequence[Tick]) -> Sequence[Tick]:
        for tick in ticks:
            if tick.run is None:
                await self.move(tick.read, tick.moved)
        return [tick for tick in ticks if tick.run]

    async def fire(self, read: Schedule, moved: Schedule, run: Run) -> Run | None:
        if not self._is_unchanged(read):
            return None
        stored = await self._runs.add(run, "")
        await self.move(read, replace(moved, progress=replace(moved.progress, last_run_id=stored.run_id)))
        return stored

    async def move(self, read: Schedule, moved: Schedule) -> bool:
        if not self._is_unchanged(read):
            return False
        self._stored[_key(read)] = _Stored(moved, self._tables.clock())
        return True

    def _of(self, tenant: str, schedule_id: str) -> _Stored:
        if (tenant, schedule_id) not in self._stored:
            raise NotFound(resource="schedule", id=schedule_id)
        return self._stored[tenant, schedule_id]

    def _is_unchanged(self, read: Schedule) -> bool:
        stored = self._stored.get(_key(read))
        return stored is not None and _version(stored.schedule) == _version(read)

    def _is_claimable(self, stored: _Stored, graphs: Collection[str], now: float) -> bool:
        schedule, tick = stored.schedule, stored.schedule.progress.next_tick
        is_due = tick <= now or stored.moved > now + JUMP_SECONDS
        is_free = not now < stored.claimed_until <= now + CLAIM_SECONDS
        is_known = schedule.spec.graph in graphs or tick <= now - UNKNOWN_GRAPH_SECONDS
        return schedule.status is ScheduleStatus.ACTIVE and is_due and is_free and is_known


def _key(schedule: Schedule) -> tuple[str, str]:
    return schedule.tenant, schedule.schedule_id


def _version(schedule: Schedule) -> tuple[str, int, float]:
    """Return a value that is the same as long as neither a client nor a worker has changed a schedule."""
    return schedule.uid, schedule.revision, schedule.progress.next_tick


def _texts(columns: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in columns.items() if isinstance(value, str)}
