"""Leases in SQL, on SQLite and PostgreSQL."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

import sqlalchemy as sa
from graphmesh_chassis.database import Database, UtcDateTime
from graphmesh_chassis.epoch import Epoch
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.db.clock import LEASE_MARGIN_SECONDS, LEASE_RENEWAL_SECONDS, LEASE_SECONDS, seconds_now
from graphmesh_orchestrator.db.database_clock import DatabaseClock
from graphmesh_orchestrator.db.tables import ACTIVE, CLAIMABLE, EMPTY, HELD, runs
from graphmesh_orchestrator.leases.leases import (
    JUST_EXPIRED_SECONDS,
    MAX_TAKEOVERS,
    SUSPECT_GROUP,
    SUSPECT_TAKEOVERS,
    SUSPECT_WAIT_SECONDS,
)
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.rows import run_of
from graphmesh_orchestrator.runs.run import Run

SPARE = 50
"""Runs that are considered beyond the limit: other workers are claiming some of them at this moment."""
IS_SUSPECT = sa.and_(runs.c.takeovers >= SUSPECT_TAKEOVERS, runs.c.cancel_reason == EMPTY)
IS_CUT_OFF = sa.and_(runs.c.status == RunStatus.RUNNING, runs.c.lease_expires != 0)
"""An execution of the run has neither stopped nor been released."""
NEVER = sa.literal(datetime.max.replace(tzinfo=UTC), UtcDateTime)


class SqlLeases:
    """Leases in SQL. Every method also raises DatabaseUnavailable."""

    def __init__(
        self,
        database: Database,
        worker: str,
        clock: DatabaseClock | None = None,
        max_takeovers: int = MAX_TAKEOVERS,
    ) -> None:
        self._database, self._worker, self._clock = database, worker, clock or DatabaseClock(database)
        self._is_last = runs.c.takeovers >= max_takeovers - 1

    async def claim(
        self,
        served: Sequence[tuple[str, int]],
        limit: int,
        dead: Collection[str] = (),
        without: Collection[str] = (),
    ) -> Sequence[Run]:
        """PostgreSQL skips the rows that another worker is claiming; SQLite has one writer."""
        if not (await self._database.rows(_any_unheld(served, dead, without)))[0][0]:
            return []  # mostly; the statements below cost several times as much
        async with self._database.transaction() as connection:
            unheld = _is_unheld(dead, await self._clock.read(connection), self._clock.is_steady)
            claimed = await self._claim(connection, served, without, limit, sa.and_(unheld, sa.not_(IS_SUSPECT)))
            if room := min(SUSPECT_GROUP, limit - len(claimed)):
                suspect = sa.and_(unheld, self._is_next_suspect())
                last = await self._claim(connection, served, without, 1, sa.and_(suspect, self._is_last))
                claimed += last or await self._claim(connection, served, without, room, suspect)
        return claimed

    async def _claim(
        self,
        connection: AsyncConnection,
        served: Sequence[tuple[str, int]],
        without: Collection[str],
        limit: int,
        where: sa.ColumnElement[bool],
    ) -> list[Run]:
        ours = _are_ours(served)
        free = sa.and_(ours, where)
        turns = _turns(ours, free, without, 3 * limit + SPARE)
        chosen = (
            sa.select(runs.c.run_id)
            .join(turns, turns.c.run_id == runs.c.run_id)
            .where(free)
            .order_by(turns.c.turn, runs.c.created)
            .limit(limit)
            .with_for_update(of=runs, skip_locked=True)
            .cte("chosen")
        )
        claimed = (
            sa.update(runs)
            .where(runs.c.run_id.in_(sa.select(chosen.c.run_id)))
            .values(
                status=RunStatus.RUNNING,
                epoch=runs.c.epoch + 1,
                takeovers=runs.c.takeovers + sa.case((IS_CUT_OFF, 1), else_=0),
                lease_owner=self._worker,
                lease_expires=seconds_now() + LEASE_SECONDS,
            )
            .returning(runs)
        )
        return [run_of(row._mapping) for row in await connection.execute(claimed)]

    def _is_next_suspect(self) -> sa.ColumnElement[bool]:
        """Whether a run is suspect, and this worker holds no run; or no suspect one, and the run has waited long."""
        held = runs.alias("held")
        is_mine = (held.c.lease_owner == self._worker, held.c.status == RunStatus.RUNNING)
        is_held = sa.exists().where(*is_mine, held.c.lease_expires >= seconds_now())
        has_waited = runs.c.lease_expires < seconds_now() - SUSPECT_WAIT_SECONDS
        is_beside = sa.and_(has_waited, sa.not_(is_held.where(held.c.takeovers >= SUSPECT_TAKEOVERS)))
        return sa.and_(IS_SUSPECT, sa.or_(sa.not_(is_held), is_beside))

    async def renew(self, held: Mapping[str, Epoch]) -> Mapping[str, str]:
        if not held:
            return {}
        renewable = runs.c.lease_expires < seconds_now() + LEASE_SECONDS - LEASE_RENEWAL_SECONDS
        due = sa.and_(ACTIVE, sa.or_(renewable, _is_too_long(seconds_now()))).label("due")
        reason = sa.case((ACTIVE, runs.c.cancel_reason), else_="").label("cancel_reason")
        kept = await self._database.rows(sa.select(runs.c.run_id, reason, due).where(_has_epoch(held)))
        if renewed := {row.run_id: held[row.run_id] for row in kept if row.due}:
            await self._set_lease_end(renewed, seconds_now() + LEASE_SECONDS)
        return {row.run_id: row.cancel_reason for row in kept}

    async def release(self, held: Mapping[str, Epoch]) -> None:
        if held:
            await self._set_lease_end(held, sa.literal(0.0))

    async def survive(self, lost: Mapping[str, Epoch]) -> None:
        await self.release(lost)
        later = sa.or_(*(sa.and_(runs.c.run_id == run_id, runs.c.epoch > epoch) for run_id, epoch in lost.items()))
        locked = sa.select(runs.c.run_id).where(later).order_by(runs.c.run_id).with_for_update(key_share=True)
        ids = sa.select(locked.cte("locked").c.run_id)
        counted = sa.update(runs).where(ACTIVE, runs.c.takeovers > 0, runs.c.run_id.in_(ids))
        async with self._database.transaction() as connection:
            await connection.execute(counted.values(takeovers=runs.c.takeovers - 1))

    async def release_all(self) -> None:
        """On PostgreSQL this does nothing: other processes may be alive."""
        if self._database.is_sqlite:
            async with self._database.transaction() as connection:
                held = sa.update(runs).where(HELD, runs.c.lease_expires != 0)
                await connection.execute(held.values(lease_expires=seconds_now() - JUST_EXPIRED_SECONDS))

    async def _set_lease_end(self, held: Mapping[str, Epoch], end: sa.ColumnElement[float]) -> None:
        """Lock the rows in the order in which the group commit locks them, so that the two do not deadlock."""
        locked = sa.select(runs.c.run_id).where(_has_epoch(held)).order_by(runs.c.run_id)
        ids = locked.with_for_update(key_share=True).cte("locked")
        async with self._database.transaction() as connection:
            mine = runs.c.run_id.in_(sa.select(ids.c.run_id))
            await connection.execute(sa.update(runs).where(ACTIVE, mine).values(lease_expires=end))


def _are_ours(served: Sequence[tuple[str, int]]) -> sa.ColumnElement[bool]:
    return sa.and_(CLAIMABLE, sa.tuple_(runs.c.graph, runs.c.graph_version).in_(served))


def _any_unheld(
    served: Sequence[tuple[str, int]], dead: Collection[str], without: Collection[str]
) -> sa.Select[tuple[bool]]:
    """Select whether there may be a run to claim, by the clock as it is when the statement is executed."""
    is_over = sa.or_(runs.c.lease_expires < seconds_now(), _is_too_long(seconds_now()))
    unheld = sa.select(runs.c.run_id).where(_are_ours(served), sa.or_(_is_free(dead), is_over))
    if without:
        tenants = _tenants(without)
        unheld = unheld.select_from(tenants.join(runs, runs.c.tenant == tenants.c.tenant))
    return sa.select(unheld.exists())


def _is_free(dead: Collection[str]) -> sa.ColumnElement[bool]:
    """Whether the run was released, or its holder is dead."""
    return sa.or_(runs.c.lease_expires == 0, runs.c.lease_owner.in_(list(dead)))


def _has_epoch(held: Mapping[str, Epoch]) -> sa.ColumnElement[bool]:
    return sa.tuple_(runs.c.run_id, runs.c.epoch).in_(list(held.items()))


def _is_unheld(dead: Collection[str], now: float, is_steady: bool) -> sa.ColumnElement[bool]:
    """Whether no worker holds the run. `now` was read before the statement, so that no jump comes between.

    After a jump of the clock, the ends of leases mean nothing until their holders have renewed them.
    """
    free = _is_free(dead)
    return sa.or_(free, runs.c.lease_expires < now, _is_too_long(sa.literal(now))) if is_steady else free


def _is_too_long(now: sa.ColumnElement[float]) -> sa.ColumnElement[bool]:
    """Whether a lease was renewed before the clock jumped back: it would last as long as the jump is."""
    return runs.c.lease_expires > now + (LEASE_SECONDS + LEASE_MARGIN_SECONDS)


def _turns(
    ours: sa.ColumnElement[bool], free: sa.ColumnElement[bool], without: Collection[str], ahead: int
) -> sa.Subquery:
    """Number the runs of each tenant from the oldest on, up to the one with which `ahead` are free.

    However many runs of a tenant are pending, no more of them are read.
    """
    tenants = _tenants(without)
    of_tenant = runs.c.tenant == tenants.c.tenant
    oldest = sa.select(runs.c.created).where(of_tenant, free).order_by(runs.c.created).limit(1).offset(ahead - 1)
    last = sa.func.coalesce(oldest.correlate(tenants).scalar_subquery(), NEVER)
    turn = sa.func.row_number().over(partition_by=runs.c.tenant, order_by=runs.c.created)
    numbered = sa.select(runs.c.run_id, turn.label("turn")).select_from(tenants.join(runs, of_tenant))
    return numbered.where(ours, runs.c.created <= last).subquery("turns")


def _tenants(without: Collection[str]) -> sa.CTE | sa.Subquery:
    """Select the tenants with runs to claim, but for some: however many runs these have, none of them is read."""
    tenants = distinct(runs.c.tenant, CLAIMABLE)
    if not without:
        return tenants
    return sa.select(tenants.c.tenant).where(tenants.c.tenant.not_in(list(without))).subquery("some_tenants")


def distinct(column: sa.Column[str], where: sa.ColumnElement[bool]) -> sa.CTE:
    """Select the distinct values of a column of `runs`, and NULL after them, with one index lookup for each value."""
    first = sa.select(sa.func.min(column).label(column.name)).where(where).cte(f"each_{column.name}", recursive=True)
    following = sa.select(sa.func.min(column)).where(where, column > first.c[column.name])
    step = sa.select(following.correlate(first).scalar_subquery()).select_from(first)
    return first.union_all(step.where(first.c[column.name].is_not(None)))
