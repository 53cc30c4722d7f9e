"""Deletion of threads and runs in SQL, on SQLite and PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from graphmesh_chassis import audit_log
from graphmesh_chassis.database import Database, UtcDateTime
from graphmesh_contracts.keys import checkpoint_thread
from langgraph.checkpoint.serde.base import SerializerProtocol
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.checkpoints import pruning
from graphmesh_orchestrator.checkpoints.tables import checkpoints
from graphmesh_orchestrator.db.clock import NOW, read_clock
from graphmesh_orchestrator.db.tables import HAS_TTL, deliveries, events, feedback, interrupts, runs, threads
from graphmesh_orchestrator.runs.outputs_sql import blocks_of, delete_unreferenced
from graphmesh_orchestrator.threads.thread import Deleted
from graphmesh_orchestrator.threads.threads_sql import ON_THREAD, is_thread, lock_idle, occupant
from graphmesh_orchestrator.webhooks.delivery import DeliveryStatus

BATCH_THREADS = 20
"""Threads that one transaction deletes or prunes."""
BATCH_RUNS = 200
OF_RUNS = (events, interrupts, deliveries, feedback)
"""The tables whose rows belong to a run, by `run_id`."""


class SqlDeletion:
    """Deletes threads and runs in SQL. Every method also raises DatabaseUnavailable."""

    def __init__(self, database: Database, serde: SerializerProtocol, default_ttl: float = 0) -> None:
        """`default_ttl`, in seconds, is that of threads that state none; 0: they do not expire."""
        self._database, self._serde, self._default_ttl = database, serde, default_ttl

    async def delete(self, tenant: str, thread_id: str) -> Deleted:
        async with self._database.transaction() as connection:
            await lock_idle(connection, tenant, thread_id)
            await audit_log.record_current(connection, thread=thread_id)
            return await self._delete(connection, tenant, thread_id)

    async def prune(self, tenant: str, unused_for: timedelta, delete: bool, dry_run: bool) -> Deleted:
        async with self._database.read() as connection:
            unused = _unused_since(await read_clock(connection) - unused_for)
        total, last = Deleted(), ""
        while True:
            async with self._database.transaction() as connection, connection.begin_nested() as changes:
                rest = (threads.c.tenant == tenant, threads.c.thread_id > last)
                found = await _lock_idle_threads(connection, sa.and_(unused, *rest))
                for key in await _without_occupant(connection, found):
                    deleted = await (self._delete if delete else self._keep_latest)(connection, *key)
                    if deleted.threads:
                        await audit_log.record_current(connection, thread=key[1])
                    total += deleted
                if dry_run:
                    await changes.rollback()
            if len(found) < BATCH_THREADS:
                return total
            last = found[-1][1]

    async def expire(self) -> int:
        async with self._database.transaction() as connection:
            locked = await _lock_idle_threads(connection, _is_expired(self._default_ttl))
            expired = await _without_occupant(connection, locked)
            for key in expired:
                await self._delete(connection, *key)
            return len(expired)

    async def delete_runs(self, ended_before: datetime) -> int:
        is_pending = deliveries.c.status == DeliveryStatus.PENDING
        undelivered = sa.exists().where(deliveries.c.run_id == runs.c.run_id, is_pending)
        old = runs.c.ended < sa.literal(ended_before, UtcDateTime)
        query = sa.select(runs.c.run_id).where(old, sa.not_(undelivered)).order_by(runs.c.ended).limit(BATCH_RUNS)
        async with self._database.transaction() as connection:
            ids = list((await connection.execute(query.with_for_update(skip_locked=True))).scalars())
            blocks = await blocks_of(connection, runs.c.run_id.in_(ids))
            for table in (*OF_RUNS, runs):
                await connection.execute(sa.delete(table).where(table.c.run_id.in_(ids)))
            await delete_unreferenced(connection, blocks)
        return len(ids)

    async def _delete(self, connection: AsyncConnection, tenant: str, thread_id: str) -> Deleted:
        """Delete a thread that is locked and has no occupant."""
        name = checkpoint_thread(tenant, thread_id)
        checkpoint_count = await _count_checkpoints(connection, name)
        on_thread = sa.and_(runs.c.tenant == tenant, runs.c.thread_id == thread_id)
        ids = sa.select(runs.c.run_id).where(on_thread)
        run_count = len((await connection.execute(ids.order_by(runs.c.run_id).with_for_update())).all())
        for table in OF_RUNS:
            await connection.execute(sa.delete(table).where(table.c.run_id.in_(ids)))
        await connection.execute(sa.delete(runs).where(on_thread))
        await pruning.delete_threads(connection, [name])
        await connection.execute(sa.delete(threads).where(*is_thread(tenant, thread_id)))
        return Deleted(1, run_count, checkpoint_count)

    async def _keep_latest(self, connection: AsyncConnection, tenant: str, thread_id: str) -> Deleted:
        name = checkpoint_thread(tenant, thread_id)
        before = await _count_checkpoints(connection, name)
        await pruning.keep_latest(connection, self._serde, [name])
        deleted = before - await _count_checkpoints(connection, name)
        return Deleted(1 if deleted else 0, 0, deleted)


async def _lock_idle_threads(connection: AsyncConnection, where: sa.ColumnElement[bool]) -> Sequence[tuple[str, str]]:
    """Lock some threads all of whose runs have ended. Threads that another transaction has locked are skipped."""
    unended = sa.exists().where(ON_THREAD, runs.c.ended.is_(None)).correlate(threads)
    query = sa.select(threads.c.tenant, threads.c.thread_id).where(where, sa.not_(unended))
    query = query.order_by(threads.c.tenant, threads.c.thread_id).limit(BATCH_THREADS)
    return [(row.tenant, row.thread_id) for row in await connection.execute(query.with_for_update(skip_locked=True))]


async def _without_occupant(
    connection: AsyncConnection, locked: Sequence[tuple[str, str]]
) -> Sequence[tuple[str, str]]:
    """Return the locked threads without a run: only a new statement reads one that was added before the lock."""
    return [key for key in locked if await occupant(connection, *key) is None]


def _unused_since(moment: datetime) -> sa.ColumnElement[bool]:
    since = sa.literal(moment, UtcDateTime)
    ended_later = sa.exists().where(ON_THREAD, runs.c.ended > since).correlate(threads)
    return sa.and_(threads.c.used <= since, sa.not_(ended_later))


def _is_expired(default_ttl: float) -> sa.ColumnElement[bool]:
    ttl = sa.case((threads.c.ttl_seconds == 0, default_ttl), else_=threads.c.ttl_seconds)
    last_use = NOW - ttl
    ended_later = sa.exists().where(ON_THREAD, sa.extract("epoch", runs.c.ended) > last_use).correlate(threads)
    has_ttl = ttl > 0 if default_ttl else HAS_TTL
    return sa.and_(has_ttl, sa.extract("epoch", threads.c.used) <= last_use, sa.not_(ended_later))


async def _count_checkpoints(connection: AsyncConnection, name: str) -> int:
    query = sa.select(sa.func.count()).where(checkpoints.c.thread_id == name, checkpoints.c.head.is_not(None))
    return int((await connection.execute(query)).scalar_one())
