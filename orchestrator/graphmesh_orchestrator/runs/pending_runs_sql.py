"""Pending runs in SQL, on SQLite and PostgreSQL."""

import contextlib
from typing import cast

import sqlalchemy as sa
from graphmesh_chassis.database import Database
from sqlalchemy.exc import IntegrityError

from graphmesh_orchestrator.db.clock import NOW
from graphmesh_orchestrator.db.tables import WAITING, runs
from graphmesh_orchestrator.runs.runs_sql import READY, preempt

MAX_ADMITTED = 500
"""Runs that one call of `admit` admits."""


class SqlPendingRuns:
    """Pending runs in SQL. Every method also raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def next_due(self) -> float | None:
        first = sa.select(sa.func.min(runs.c.due) - NOW).where(WAITING)
        [(due,)] = await self._database.rows(first)
        return cast(float | None, due)

    async def admit(self) -> int:
        async with self._database.transaction() as connection:
            await preempt(connection, READY)
            turns = [row.run_id for row in await connection.execute(_TURNS)]
        return sum([await self._give_thread(run_id) for run_id in turns])

    async def _give_thread(self, run_id: str) -> bool:
        """Return whether the run has its thread now; another process may have given it to another run."""
        given = sa.update(runs).where(runs.c.run_id == run_id, WAITING).values(holds_thread=True, lease_expires=0)
        with contextlib.suppress(IntegrityError):
            async with self._database.transaction() as connection:
                return (await connection.execute(given.returning(runs.c.run_id))).first() is not None
        return False


def _turns() -> sa.Select[tuple[str]]:
    """Select the oldest ready run of each thread that no run holds."""
    holder = runs.alias("holder")
    held = sa.exists().where(
        holder.c.tenant == runs.c.tenant, holder.c.thread_id == runs.c.thread_id, holder.c.holds_thread
    )
    position = sa.func.row_number().over(
        partition_by=[runs.c.tenant, runs.c.thread_id], order_by=[runs.c.created, runs.c.run_id]
    )
    ranked = sa.select(runs.c.run_id, runs.c.created, position.label("position")).where(READY, sa.not_(held)).subquery()
    first = sa.select(ranked.c.run_id).where(ranked.c.position == 1)
    return first.order_by(ranked.c.created).limit(MAX_ADMITTED)


_TURNS = _turns()
