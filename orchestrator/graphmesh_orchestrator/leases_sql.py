"""Leases in SQL, on SQLite and PostgreSQL."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from graphmesh_chassis.database import Database

from graphmesh_orchestrator.lease_time import LEASE_SECONDS, seconds_now
from graphmesh_orchestrator.runs import Run, RunStatus
from graphmesh_orchestrator.runs_sql import ACTIVE, CLAIMABLE, run_of, runs


class SqlLeases:
    """The leases of one worker."""

    def __init__(self, database: Database, worker: str) -> None:
        self._database, self._worker = database, worker

    async def claim(self, graphs: Sequence[str], limit: int) -> list[Run]:
        """Take runs of `graphs` that nobody holds, the oldest first; each begins a new epoch.

        Workers that claim at once get different runs: PostgreSQL skips the rows that another one is taking, SQLite has
        one writer.
        """
        free = (
            sa.select(runs.c.run_id)
            .where(CLAIMABLE, runs.c.graph.in_(graphs), runs.c.lease_expires < seconds_now())
            .order_by(runs.c.created)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .cte("free")
        )
        taken = (
            sa.update(runs)
            .where(runs.c.run_id.in_(sa.select(free.c.run_id)))
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
        """Renew the leases of these runs, by their epochs.

        Returns those that are still held, with the reason why they are to be ended, which is mostly empty.
        """
        if not held:
            return {}
        mine = _locked(held)
        renewed = sa.update(runs).where(ACTIVE, mine).values(lease_expires=seconds_now() + LEASE_SECONDS)
        async with self._database.transaction() as connection:
            kept = await connection.execute(renewed.returning(runs.c.run_id, runs.c.cancel_reason))
            return {row.run_id: row.cancel_reason for row in kept}

    async def release(self, held: Mapping[str, int]) -> None:
        """Give runs back, for any worker to take at once."""
        if not held:
            return
        async with self._database.transaction() as connection:
            await connection.execute(sa.update(runs).where(ACTIVE, _locked(held)).values(lease_expires=0))

    async def inherit(self) -> None:
        """Free all runs, where the database is one process's own (SQLite): whoever held one has ended.

        Nothing is lost if it has not: the next claim begins a new epoch.
        """
        if self._database.is_sqlite:
            async with self._database.transaction() as connection:
                await connection.execute(sa.update(runs).where(ACTIVE).values(lease_expires=0))


def _locked(held: Mapping[str, int]) -> sa.ColumnElement[bool]:
    """Those of the runs whose epochs these are, locked in the order in which the group commit locks them."""
    mine = sa.tuple_(runs.c.run_id, runs.c.epoch).in_(list(held.items()))
    locked = sa.select(runs.c.run_id).where(mine).order_by(runs.c.run_id).with_for_update(key_share=True).cte("locked")
    return runs.c.run_id.in_(sa.select(locked.c.run_id))
