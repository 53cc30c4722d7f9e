"""Taking threads and runs away, with everything that is theirs (B7)."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from graphmesh_chassis.database import Database, UtcDateTime
from langgraph.checkpoint.serde.base import SerializerProtocol
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.checkpoints import pruning as upkeep
from graphmesh_orchestrator.checkpoints.config_keys import saver_thread
from graphmesh_orchestrator.checkpoints.tables import checkpoints
from graphmesh_orchestrator.db.tables import STATES_TTL, events, runs, threads
from graphmesh_orchestrator.interrupts.interrupts_sql import interrupts
from graphmesh_orchestrator.threads.thread import Removed
from graphmesh_orchestrator.threads.threads_sql import ON_THREAD, is_thread, lock_free, occupant
from graphmesh_orchestrator.webhooks.deliveries_sql import deliveries

AT_ONCE = 20
"""Threads that one transaction takes away or prunes."""
RUNS_AT_ONCE = 200
OF_RUNS = (events, interrupts, deliveries)
"""The tables whose rows belong to a run, by `run_id`."""


class SqlRemoval:
    """Deletes and prunes threads, of which each goes altogether or not at all, and runs that ended long ago."""

    def __init__(self, database: Database, serde: SerializerProtocol, default_ttl: float = 0) -> None:
        """`default_ttl`, in seconds, is that of threads that state none; 0: for ever."""
        self._database, self._serde, self._default_ttl = database, serde, default_ttl

    async def delete(self, tenant: str, thread_id: str) -> Removed:
        """Delete a thread, in one transaction.

        Raises:
            NotFound: there is no such thread.
            ThreadBusy: a run has it, or waits for it.
        """
        async with self._database.transaction() as connection:
            await lock_free(connection, tenant, thread_id)
            return await self._delete(connection, tenant, thread_id)

    async def prune(self, tenant: str, unused_for: timedelta, delete: bool, dry_run: bool) -> Removed:
        """Delete the tenant's threads that nobody has used for so long and no run has, or all but their newest state.

        Some threads are done in one transaction, then the next. A dry run does the same and undoes it.
        """
        unused = _unused_since(datetime.now(UTC) - unused_for)
        total, last = Removed(), ""
        while True:
            async with self._database.transaction() as connection, connection.begin_nested() as changes:
                here = (threads.c.tenant == tenant, threads.c.thread_id > last)
                found = await _locked(connection, sa.and_(unused, *here))
                for key in await _free(connection, found):
                    total += await (self._delete if delete else self._keep_latest)(connection, *key)
                if dry_run:
                    await changes.rollback()
            if len(found) < AT_ONCE:
                return total
            last = found[-1][1]

    async def expire(self) -> int:
        """Delete some of the threads, of all tenants, whose time to live is over. Returns how many.

        Any number of processes may do this at a time: each takes others.
        """
        async with self._database.transaction() as connection:
            found = await _free(connection, await _locked(connection, _expired(self._default_ttl)))
            for key in found:
                await self._delete(connection, *key)
            return len(found)

    async def forget_runs(self, ended_before: datetime) -> int:
        """Delete some of the runs, of all tenants, that ended before, with their events. Returns how many.

        A run whose end is still to be delivered somewhere stays until it is, or is given up.
        """
        awaited = sa.exists().where(deliveries.c.run_id == runs.c.run_id, deliveries.c.status == "pending")
        since = sa.literal(ended_before, UtcDateTime)
        old = sa.select(runs.c.run_id).where(runs.c.ended < since, sa.not_(awaited))
        locked = old.order_by(runs.c.ended).limit(RUNS_AT_ONCE).with_for_update(skip_locked=True)
        async with self._database.transaction() as connection:
            ids = list((await connection.execute(locked)).scalars())
            for table in (*OF_RUNS, runs):
                await connection.execute(sa.delete(table).where(table.c.run_id.in_(ids)))
        return len(ids)

    async def _delete(self, connection: AsyncConnection, tenant: str, thread_id: str) -> Removed:
        """Delete a thread that is locked and free. A process that still writes for one of its runs is fenced."""
        name = saver_thread(tenant, thread_id)
        gone = await _checkpoints(connection, name)
        on_thread = sa.and_(runs.c.tenant == tenant, runs.c.thread_id == thread_id)
        theirs = sa.select(runs.c.run_id).where(on_thread)
        count = len((await connection.execute(theirs.order_by(runs.c.run_id).with_for_update())).all())
        for table in OF_RUNS:
            await connection.execute(sa.delete(table).where(table.c.run_id.in_(theirs)))
        await connection.execute(sa.delete(runs).where(on_thread))
        await upkeep.delete_threads(connection, [name])
        await connection.execute(sa.delete(threads).where(*is_thread(tenant, thread_id)))
        return Removed(1, count, gone)

    async def _keep_latest(self, connection: AsyncConnection, tenant: str, thread_id: str) -> Removed:
        name = saver_thread(tenant, thread_id)
        before = await _checkpoints(connection, name)
        await upkeep.keep_latest(connection, self._serde, [name])
        gone = before - await _checkpoints(connection, name)
        return Removed(1 if gone else 0, 0, gone)


async def _locked(connection: AsyncConnection, where: sa.ColumnElement[bool]) -> Sequence[tuple[str, str]]:
    """Some threads without a run that goes on or waits, locked. Those that somebody else has locked are passed over."""
    going = sa.exists().where(ON_THREAD, runs.c.ended.is_(None)).correlate(threads)
    query = sa.select(threads.c.tenant, threads.c.thread_id).where(where, sa.not_(going))
    query = query.order_by(threads.c.tenant, threads.c.thread_id).limit(AT_ONCE)
    return [(row.tenant, row.thread_id) for row in await connection.execute(query.with_for_update(skip_locked=True))]


async def _free(connection: AsyncConnection, found: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]]:
    """Those of locked threads that no run has: one that was added while the lock was got, only this statement sees."""
    return [key for key in found if await occupant(connection, *key) is None]


def _unused_since(moment: datetime) -> sa.ColumnElement[bool]:
    since = sa.literal(moment, UtcDateTime)
    ended_later = sa.exists().where(ON_THREAD, runs.c.ended > since).correlate(threads)
    return sa.and_(threads.c.used <= since, sa.not_(ended_later))


def _expired(default_ttl: float) -> sa.ColumnElement[bool]:
    ttl = sa.case((threads.c.ttl_seconds == 0, default_ttl), else_=threads.c.ttl_seconds)
    last_since = datetime.now(UTC).timestamp() - ttl
    ended_later = sa.exists().where(ON_THREAD, sa.extract("epoch", runs.c.ended) > last_since).correlate(threads)
    has_one = ttl > 0 if default_ttl else STATES_TTL
    return sa.and_(has_one, sa.extract("epoch", threads.c.used) <= last_since, sa.not_(ended_later))


async def _checkpoints(connection: AsyncConnection, name: str) -> int:
    query = sa.select(sa.func.count()).where(checkpoints.c.thread_id == name, checkpoints.c.head.is_not(None))
    return int((await connection.execute(query)).scalar_one())
