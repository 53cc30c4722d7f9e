"""Schedules in SQL, on SQLite and PostgreSQL."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol, cast

import sqlalchemy as sa
from graphmesh_chassis import audit_log
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import AlreadyExists, NotFound
from graphmesh_chassis.keyset import keyset_page
from sqlalchemy.exc import IntegrityError, StatementError
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.db.clock import NOW, seconds_now
from graphmesh_orchestrator.db.id_prefixes import begins_with
from graphmesh_orchestrator.db.tables import literal
from graphmesh_orchestrator.errors import ResourceLimit
from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.schedules.rows import columns_of, progress_columns, schedule_of
from graphmesh_orchestrator.schedules.schedule import JUMP_SECONDS, Schedule, ScheduleStatus
from graphmesh_orchestrator.schedules.schedules import (
    CLAIM_SECONDS,
    MAX_SCHEDULES,
    UNKNOWN_GRAPH_SECONDS,
    Change,
    Claimed,
    Tick,
)
from graphmesh_orchestrator.schedules.tables import schedules

MAX_CONFLICTS = 3
"""Attempts to store the run of a tick while other runs are added to its thread."""
_ACTIVE = schedules.c.status == literal(ScheduleStatus.ACTIVE)
_IS_SET_BACK = schedules.c.moved > NOW + JUMP_SECONDS
"""The clock was set back after the schedule was moved: its next tick may be much too late."""
_IS_FREE = sa.not_(sa.and_(schedules.c.claimed_until > NOW, schedules.c.claimed_until <= NOW + CLAIM_SECONDS))
_DUE = sa.and_(_ACTIVE, sa.or_(schedules.c.next_tick <= NOW, _IS_SET_BACK), _IS_FREE)


class InsertsRuns(Protocol):
    """Where the runs of ticks are stored."""

    async def insert(self, connection: AsyncConnection, run: Run, worker: str) -> Run:
        """Store a run within a transaction; see `SqlRuns.insert`."""

    async def insert_free(self, connection: AsyncConnection, new: Sequence[Run]) -> Collection[str]:
        """Store runs within a transaction; see `SqlRuns.insert_free`."""


class SqlSchedules:
    """Schedules in SQL. Every method also raises DatabaseUnavailable."""

    def __init__(self, database: Database, runs: InsertsRuns, max_schedules: int = MAX_SCHEDULES) -> None:
        self._database, self._runs, self._max = database, runs, max_schedules

    async def create(self, schedule: Schedule) -> None:
        row = {**columns_of(schedule), "moved": seconds_now(), "claimed_until": 0}
        try:
            async with self._database.transaction() as connection:
                await self._require_capacity(connection, schedule.tenant)
                await connection.execute(sa.insert(schedules).values(**row))
                await audit_log.record_current(connection, detail=schedule.schedule_id)
        except IntegrityError as error:
            raise AlreadyExists(resource="schedule", id=schedule.schedule_id) from error

    async def get(self, tenant: str, schedule_id: str) -> Schedule:
        found = await self._database.rows(sa.select(schedules).where(*_is(tenant, schedule_id)))
        if not found:
            raise NotFound(resource="schedule", id=schedule_id)
        return schedule_of(found[0]._mapping)

    async def find(
        self,
        tenant: str,
        columns: Mapping[str, str],
        before: tuple[datetime, str] | None,
        limit: int,
        id_prefix: str = "",
    ) -> Sequence[Schedule]:
        matching = (schedules.c[name] == value for name, value in columns.items())
        query = sa.select(schedules).where(schedules.c.tenant == tenant, *matching)
        query = query.where(*begins_with(schedules.c.schedule_id, id_prefix))
        query = keyset_page(query, (schedules.c.created, schedules.c.schedule_id), before, limit, descending=True)
        return [schedule_of(row._mapping) for row in await self._database.rows(query)]

    async def change(self, tenant: str, schedule_id: str, change: Change) -> Schedule:
        async with self._database.transaction() as connection:
            query = sa.select(schedules).where(*_is(tenant, schedule_id)).with_for_update()
            row = (await connection.execute(query)).one_or_none()
            if row is None:
                raise NotFound(resource="schedule", id=schedule_id)
            changed = replace(change(schedule_of(row._mapping)), revision=row.revision + 1)
            values = {**columns_of(changed), "moved": seconds_now(), "claimed_until": 0}
            await connection.execute(sa.update(schedules).where(*_is(tenant, schedule_id)).values(**values))
            await audit_log.record_current(connection, detail=schedule_id)
            return changed

    async def delete(self, tenant: str, schedule_id: str) -> None:
        deleted = sa.delete(schedules).where(*_is(tenant, schedule_id)).returning(schedules.c.uid)
        async with self._database.transaction() as connection:
            if (await connection.execute(deleted)).first() is None:
                raise NotFound(resource="schedule", id=schedule_id)
            await audit_log.record_current(connection, detail=schedule_id)

    async def next_due(self) -> float | None:
        first = sa.select(sa.func.min(schedules.c.next_tick)).where(_ACTIVE).scalar_subquery()
        set_back = sa.exists().where(_ACTIVE, _IS_SET_BACK)
        [(due,)] = await self._database.rows(sa.select(sa.case((set_back, 0.0), else_=first - NOW)))
        return cast(float | None, due)

    async def claim(self, graphs: Collection[str], limit: int) -> Claimed:
        is_known = sa.or_(schedules.c.graph.in_(list(graphs)), schedules.c.next_tick <= NOW - UNKNOWN_GRAPH_SECONDS)
        turn = sa.func.row_number().over(partition_by=schedules.c.tenant, order_by=schedules.c.next_tick)
        ranked = sa.select(schedules.c.uid, schedules.c.next_tick, turn.label("turn")).where(_DUE, is_known).subquery()
        first = sa.select(ranked.c.uid).order_by(ranked.c.turn, ranked.c.next_tick).limit(limit)
        free = sa.select(schedules.c.uid).where(schedules.c.uid.in_(first), _DUE)
        chosen = free.with_for_update(skip_locked=True).cte("chosen")
        claimed = sa.update(schedules).where(schedules.c.uid.in_(sa.select(chosen.c.uid)))
        claimed = claimed.values(claimed_until=seconds_now() + CLAIM_SECONDS)
        async with self._database.transaction() as connection:
            rows = (await connection.execute(claimed.returning(schedules))).all()
            now = (await connection.execute(sa.select(seconds_now()))).scalar_one()
        return Claimed(float(now), [schedule_of(row._mapping) for row in rows])

    async def fire_all(self, ticks: Sequence[Tick]) -> Sequence[Tick]:
        try:
            async with self._database.transaction() as connection:
                current = await _lock_unchanged(connection, ticks)
                stored = await self._runs.insert_free(connection, [tick.run for tick in current if tick.run])
                done = [tick for tick in current if tick.run is None or tick.run.run_id in stored]
                if done:
                    await connection.execute(_MOVE, [_moved(tick) for tick in done])
        except StatementError:  # of one of them, or another run got its thread at the same instant
            return ticks
        return [tick for tick in current if tick.run and tick.run.run_id not in stored]

    async def fire(self, read: Schedule, moved: Schedule, run: Run) -> Run | None:
        for _ in range(MAX_CONFLICTS - 1):
            try:
                return await self._fire(read, moved, run)
            except IntegrityError:  # another run got the thread at the same instant
                continue
        return await self._fire(read, moved, run)

    async def move(self, read: Schedule, moved: Schedule) -> bool:
        async with self._database.transaction() as connection:
            return await _move(connection, read, moved)

    async def _fire(self, read: Schedule, moved: Schedule, run: Run) -> Run | None:
        async with self._database.transaction() as connection:
            if not await _move(connection, read, moved):
                return None
            stored = await self._runs.insert(connection, run, "")
            if stored.run_id != moved.progress.last_run_id:  # the tick had its run before
                renamed = sa.update(schedules).where(*_is(read.tenant, read.schedule_id))
                await connection.execute(renamed.values(last_run_id=stored.run_id))
            return stored

    async def _require_capacity(self, connection: AsyncConnection, tenant: str) -> None:
        """Raises ResourceLimit."""
        query = sa.select(sa.func.count()).select_from(schedules).where(schedules.c.tenant == tenant)
        if (await connection.execute(query)).scalar_one() >= self._max:
            raise ResourceLimit(resource="schedules", limit=self._max)


def _is(tenant: str, schedule_id: str) -> tuple[sa.ColumnElement[bool], ...]:
    return schedules.c.tenant == tenant, schedules.c.schedule_id == schedule_id


async def _lock_unchanged(connection: AsyncConnection, ticks: Sequence[Tick]) -> Sequence[Tick]:
    """Return the ticks of the schedules that are as they were read, and lock these until the commit."""
    query = sa.select(schedules.c.uid, schedules.c.revision, schedules.c.next_tick)
    chosen = query.where(schedules.c.uid.in_([tick.read.uid for tick in ticks])).order_by(schedules.c.uid)
    rows = {row.uid: (row.revision, row.next_tick) for row in await connection.execute(chosen.with_for_update())}
    return [tick for tick in ticks if rows.get(tick.read.uid) == (tick.read.revision, tick.read.progress.next_tick)]


_MOVE = (
    sa.update(schedules)
    .where(schedules.c.uid == sa.bindparam("moved_uid"))
    .values(moved=seconds_now(), claimed_until=0)
)
"""The further columns are those of the rows that it is executed with."""


def _moved(tick: Tick) -> dict[str, Any]:
    return {"moved_uid": tick.read.uid, **progress_columns(tick.moved)}


async def _move(connection: AsyncConnection, read: Schedule, moved: Schedule) -> bool:
    """Move a schedule that is as it was read; a worker that waits here for another one finds it moved."""
    is_unchanged = (
        *_is(read.tenant, read.schedule_id),
        schedules.c.uid == read.uid,
        schedules.c.revision == read.revision,
        schedules.c.next_tick == read.progress.next_tick,
    )
    values: dict[str, Any] = {**progress_columns(moved), "moved": seconds_now(), "claimed_until": 0}
    update = sa.update(schedules).where(*is_unchanged).values(**values)
    return (await connection.execute(update.returning(schedules.c.uid))).first() is not None
