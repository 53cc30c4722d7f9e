"""Threads in SQL, on SQLite and PostgreSQL, and the lock under which they change.

Adding a run writes the thread's row. So a transaction that locks the row, and then finds no run on the thread, has the
thread to itself until it ends.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast

import sqlalchemy as sa
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import AlreadyExists, NotFound
from graphmesh_chassis.keyset import keyset_page
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.db.clock import read_clock
from graphmesh_orchestrator.db.id_prefixes import begins_with
from graphmesh_orchestrator.db.rows import ThreadRow
from graphmesh_orchestrator.db.tables import WAITING, runs, threads
from graphmesh_orchestrator.errors import ThreadBusy
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.threads.thread import Thread, ThreadStatus
from graphmesh_orchestrator.threads.threads import merged_labels, thread_of

ON_THREAD = sa.and_(runs.c.tenant == threads.c.tenant, runs.c.thread_id == threads.c.thread_id)
_HOLDER = sa.select(runs.c.status).where(ON_THREAD, runs.c.holds_thread).correlate(threads).scalar_subquery()
"""The status of the run that holds the thread."""
_RUN_USED = sa.select(sa.func.max(sa.func.coalesce(runs.c.ended, runs.c.started))).where(ON_THREAD).correlate(threads)
_THREADS = sa.select(threads, _HOLDER.label("holder"), _RUN_USED.scalar_subquery().label("run_used"))
_HAS_STATUS = {
    ThreadStatus.IDLE: _HOLDER.is_(None),
    ThreadStatus.BUSY: _HOLDER != RunStatus.INTERRUPTED,
    ThreadStatus.INTERRUPTED: _HOLDER == RunStatus.INTERRUPTED,
}


class SqlThreads:
    """Threads in SQL. Every method also raises DatabaseUnavailable."""

    def __init__(self, database: Database, default_ttl: float = 0) -> None:
        """`default_ttl`, in seconds, is that of threads that state none; 0: they do not expire."""
        self._database, self._default_ttl = database, default_ttl

    async def create(
        self, tenant: str, thread_id: str, graph: str, labels: Mapping[str, str], ttl_seconds: float
    ) -> Thread:
        async with self._database.transaction() as connection:
            values = {"graph": graph, "labels": dict(labels), "ttl_seconds": ttl_seconds}
            await insert_thread(connection, self._database, tenant, thread_id, **values)
            return await self.read(connection, tenant, thread_id)

    async def get(self, tenant: str, thread_id: str) -> Thread:
        async with self._database.read() as connection:
            return await self.read(connection, tenant, thread_id)

    async def find(
        self,
        tenant: str,
        graph: str,
        status: ThreadStatus | None,
        before: tuple[datetime, str] | None,
        limit: int,
        id_prefix: str = "",
    ) -> Sequence[Thread]:
        query = _THREADS.where(threads.c.tenant == tenant, *begins_with(threads.c.thread_id, id_prefix))
        if graph:
            query = query.where(threads.c.graph == graph)
        if status is not None:
            query = query.where(_HAS_STATUS[status])
        query = keyset_page(query, (threads.c.created, threads.c.thread_id), before, limit, descending=True)
        async with self._database.read() as connection:
            return [self._thread(row) for row in await connection.execute(query)]

    async def update(self, tenant: str, thread_id: str, labels: Mapping[str, str], ttl_seconds: float | None) -> Thread:
        async with self._database.transaction() as connection:
            row = await lock(connection, tenant, thread_id)
            ttl = row.ttl_seconds if ttl_seconds is None else ttl_seconds
            changed = sa.update(threads).where(*is_thread(tenant, thread_id))
            await connection.execute(changed.values(labels=merged_labels(row.labels, labels), ttl_seconds=ttl))
            return await self.read(connection, tenant, thread_id)

    async def read(self, connection: AsyncConnection, tenant: str, thread_id: str) -> Thread:
        """Return a thread within a transaction. Raises NotFound."""
        row = (await connection.execute(_THREADS.where(*is_thread(tenant, thread_id)))).one_or_none()
        if row is None:
            raise NotFound(resource="thread", id=thread_id)
        return self._thread(row)

    def _thread(self, row: sa.Row[Any]) -> Thread:
        return thread_of(cast(ThreadRow, row._mapping), row.run_used, row.holder, self._default_ttl)


def is_thread(tenant: str, thread_id: str) -> tuple[sa.ColumnElement[bool], ...]:
    return threads.c.tenant == tenant, threads.c.thread_id == thread_id


async def insert_thread(
    connection: AsyncConnection, database: Database, tenant: str, thread_id: str, **values: Any
) -> None:
    """Raises AlreadyExists."""
    now = await read_clock(connection)
    row = {"tenant": tenant, "thread_id": thread_id, "created": now, "used": now, **values}
    insert = database.insert(threads).values(**row).on_conflict_do_nothing().returning(threads.c.thread_id)
    if (await connection.execute(insert)).first() is None:
        raise AlreadyExists(resource="thread", id=thread_id)


async def lock(connection: AsyncConnection, tenant: str, thread_id: str) -> sa.Row[Any]:
    """Lock a thread's row and return it. Until the transaction ends no run is added to the thread. Raises NotFound."""
    query = sa.select(threads).where(*is_thread(tenant, thread_id)).with_for_update()
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise NotFound(resource="thread", id=thread_id)
    return row


async def lock_idle(connection: AsyncConnection, tenant: str, thread_id: str) -> sa.Row[Any]:
    """Lock a thread that no run holds or waits for, and return its row.

    Raises:
        NotFound: there is no such thread.
        ThreadBusy: a run holds it, or waits for it.
    """
    row = await lock(connection, tenant, thread_id)
    if run_id := await occupant(connection, tenant, thread_id):
        raise ThreadBusy(thread=thread_id, run=run_id)
    return row


async def occupant(connection: AsyncConnection, tenant: str, thread_id: str) -> str | None:
    """Return the run that holds a locked thread, or the first that waits for it."""
    query = sa.select(runs.c.run_id).where(runs.c.tenant == tenant, runs.c.thread_id == thread_id)
    query = query.where(sa.or_(runs.c.holds_thread, WAITING)).order_by(runs.c.holds_thread.desc(), runs.c.created)
    return (await connection.execute(query.limit(1))).scalar()
