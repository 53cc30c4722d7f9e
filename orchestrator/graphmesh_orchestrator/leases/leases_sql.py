"""Leases in SQL, on SQLite and PostgreSQL."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

import sqlalchemy as sa
from graphmesh_chassis.database import Database, UtcDateTime

from graphmesh_orchestrator.db.clock import FRESH_SECONDS, LEASE_SECONDS, seconds_now
from graphmesh_orchestrator.db.tables import ACTIVE, CLAIMABLE, HELD, runs
from graphmesh_orchestrator.runs.run import Run, RunStatus
from graphmesh_orchestrator.runs.runs_sql import run_of

SPARE = 50
"""More runs than are wanted have their turn: other workers are taking some of them at this moment."""
NEVER = sa.literal(datetime.max.replace(tzinfo=UTC), UtcDateTime)


class SqlLeases:
    """The leases of one worker."""

    def __init__(self, database: Database, worker: str) -> None:
        self._database, self._worker = database, worker

    async def claim(self, served: Sequence[tuple[str, int]], limit: int, dead: Collection[str] = ()) -> list[Run]:
        """Take runs of these graphs and versions that nobody holds, or a `dead` worker; each begins a new epoch.

        Tenants take turns: the oldest run of each, then the second of each, and what they have under way counts.
        Workers that claim at once get different runs: PostgreSQL skips the rows that another one is taking, SQLite has
        one writer.
        """
        ours = sa.and_(CLAIMABLE, sa.tuple_(runs.c.graph, runs.c.graph_version).in_(served))
        free = sa.and_(ours, _held_by_none(dead))
        turns = _turns(ours, free, 3 * limit + SPARE)
        chosen = (
            sa.select(runs.c.run_id)
            .join(turns, turns.c.run_id == runs.c.run_id)
            .where(free)
            .order_by(turns.c.turn, runs.c.created)
            .limit(limit)
            .with_for_update(of=runs, skip_locked=True)
            .cte("chosen")
        )
        taken = (
            sa.update(runs)
            .where(runs.c.run_id.in_(sa.select(chosen.c.run_id)))
            .values(
                status=RunStatus.RUNNING,
                epoch=runs.c.epoch + 1,
                lease_owner=self._worker,
                lease_expires=seconds_now() + LEASE_SECONDS,
            )
            .returning(runs)
        )
        async with self._database.transaction() as connection:
            return [run_of(row) for row in await connection.execute(taken)]

    async def renew(self, held: Mapping[str, int]) -> dict[str, str]:
        """Renew the leases of these runs, by their epochs; one that was renewed just now is left as it is.

        Returns those that nobody else has taken, with the reason why they are to be ended, which is mostly empty. One
        that has just ended or parked is among them: there is nothing to be ended, and nothing lost.
        """
        if not held:
            return {}
        aging = sa.and_(ACTIVE, runs.c.lease_expires < seconds_now() + LEASE_SECONDS - FRESH_SECONDS).label("aging")
        reason = sa.case((ACTIVE, runs.c.cancel_reason), else_="").label("cancel_reason")
        kept = await self._database.rows(sa.select(runs.c.run_id, reason, aging).where(_mine(held)))
        if due := {row.run_id: held[row.run_id] for row in kept if row.aging}:
            await self._expire(due, seconds_now() + LEASE_SECONDS)
        return {row.run_id: row.cancel_reason for row in kept}

    async def release(self, held: Mapping[str, int]) -> None:
        """Give runs back, for any worker to take at once."""
        if held:
            await self._expire(held, sa.literal(0.0))

    async def inherit(self) -> None:
        """Free all runs, where the database is one process's own (SQLite): whoever held one has ended.

        Nothing is lost if it has not: the next claim begins a new epoch.
        """
        if self._database.is_sqlite:
            async with self._database.transaction() as connection:
                await connection.execute(sa.update(runs).where(HELD).values(lease_expires=0))

    async def _expire(self, held: Mapping[str, int], when: sa.ColumnElement[float]) -> None:
        """Let these leases end then. The rows are locked in the order in which the group commit locks them."""
        locked = sa.select(runs.c.run_id).where(_mine(held)).order_by(runs.c.run_id).with_for_update(key_share=True)
        mine = runs.c.run_id.in_(sa.select(locked.cte("locked").c.run_id))
        async with self._database.transaction() as connection:
            await connection.execute(sa.update(runs).where(ACTIVE, mine).values(lease_expires=when))


def _mine(held: Mapping[str, int]) -> sa.ColumnElement[bool]:
    """The runs whose epochs these are."""
    return sa.tuple_(runs.c.run_id, runs.c.epoch).in_(list(held.items()))


def _held_by_none(dead: Collection[str]) -> sa.ColumnElement[bool]:
    over = runs.c.lease_expires < seconds_now()
    return sa.or_(over, runs.c.lease_owner.in_(list(dead))) if dead else over


def _turns(ours: sa.ColumnElement[bool], free: sa.ColumnElement[bool], ahead: int) -> sa.Subquery:
    """The runs of each tenant, numbered from the oldest on, up to the one with which `ahead` are free.

    However many runs of a tenant wait, no more of them are read.
    """
    tenants = distinct(runs.c.tenant, CLAIMABLE)
    of_tenant = runs.c.tenant == tenants.c.tenant
    oldest = sa.select(runs.c.created).where(of_tenant, free).order_by(runs.c.created).limit(1).offset(ahead - 1)
    last = sa.func.coalesce(oldest.correlate(tenants).scalar_subquery(), NEVER)
    turn = sa.func.row_number().over(partition_by=runs.c.tenant, order_by=runs.c.created)
    numbered = sa.select(runs.c.run_id, turn.label("turn")).select_from(tenants.join(runs, of_tenant))
    return numbered.where(ours, runs.c.created <= last).subquery("turns")


def distinct(column: sa.Column[str], where: sa.ColumnElement[bool]) -> sa.CTE:
    """The different values of a column of `runs`, and NULL after them: one step through an index for each."""
    first = sa.select(sa.func.min(column).label(column.name)).where(where).cte(f"each_{column.name}", recursive=True)
    following = sa.select(sa.func.min(column)).where(where, column > first.c[column.name])
    step = sa.select(following.correlate(first).scalar_subquery()).select_from(first)
    return first.union_all(step.where(first.c[column.name].is_not(None)))
