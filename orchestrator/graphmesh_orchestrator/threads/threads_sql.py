"""Threads in SQL, on SQLite and PostgreSQL, and the lock under which they change (B7)."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import AlreadyExists, NotFound
from graphmesh_chassis.keyset import keyset_page
from langgraph.checkpoint.serde.base import SerializerProtocol
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.checkpoints.config_keys import saver_thread
from graphmesh_orchestrator.checkpoints.fork import fork_thread
from graphmesh_orchestrator.checkpoints.tables import artifacts
from graphmesh_orchestrator.db.tables import WAITING, runs, threads
from graphmesh_orchestrator.errors import ThreadBusy
from graphmesh_orchestrator.threads.thread import Thread, ThreadStatus

FOR_EVER = -1.0
"""As `ttl_seconds`; 0 says nothing, so that the settings hold."""

ON_THREAD = sa.and_(runs.c.tenant == threads.c.tenant, runs.c.thread_id == threads.c.thread_id)
_HOLDER = sa.select(runs.c.status).where(ON_THREAD, runs.c.holds_thread).correlate(threads).scalar_subquery()
"""Where the run stands that has the thread."""
_RUN = sa.select(sa.func.max(sa.func.coalesce(runs.c.ended, runs.c.started))).where(ON_THREAD).correlate(threads)
_THREADS = sa.select(threads, _HOLDER.label("holder"), _RUN.scalar_subquery().label("run"))
_STANDS = {
    ThreadStatus.IDLE: _HOLDER.is_(None),
    ThreadStatus.BUSY: _HOLDER != "interrupted",
    ThreadStatus.INTERRUPTED: _HOLDER == "interrupted",
}


class SqlThreads:
    """The threads of all tenants; every call is of one."""

    def __init__(self, database: Database, serde: SerializerProtocol, default_ttl: float = 0) -> None:
        """`default_ttl`, in seconds, is that of threads that state none; 0: for ever."""
        self._database, self._serde, self._default_ttl = database, serde, default_ttl

    async def create(
        self, tenant: str, thread_id: str, graph: str, labels: Mapping[str, str], ttl_seconds: float
    ) -> Thread:
        """Raises AlreadyExists."""
        async with self._database.transaction() as connection:
            new = {"graph": graph, "labels": dict(labels), "ttl_seconds": ttl_seconds}
            await insert(connection, self._database, tenant, thread_id, **new)
            return await self._read(connection, tenant, thread_id)

    async def get(self, tenant: str, thread_id: str) -> Thread:
        """Raises NotFound, also for another tenant's thread."""
        async with self._database.read() as connection:
            return await self._read(connection, tenant, thread_id)

    async def find(
        self, tenant: str, graph: str, status: ThreadStatus | None, before: tuple[datetime, str] | None, limit: int
    ) -> list[Thread]:
        """The newest threads that come after the (created, thread_id) `before`; empty and None let all through."""
        query = _THREADS.where(threads.c.tenant == tenant)
        if graph:
            query = query.where(threads.c.graph == graph)
        if status is not None:
            query = query.where(_STANDS[status])
        query = keyset_page(query, (threads.c.created, threads.c.thread_id), before, limit, descending=True)
        async with self._database.read() as connection:
            return [self._thread_of(row) for row in await connection.execute(query)]

    async def update(self, tenant: str, thread_id: str, labels: Mapping[str, str], ttl_seconds: float | None) -> Thread:
        """Set labels, of which an empty one is taken away, and the time to live, if it is stated. Raises NotFound."""
        async with self._database.transaction() as connection:
            row = await lock(connection, tenant, thread_id)
            merged = {name: value for name, value in {**row.labels, **labels}.items() if value}
            ttl = row.ttl_seconds if ttl_seconds is None else ttl_seconds
            changed = sa.update(threads).where(*is_thread(tenant, thread_id))
            await connection.execute(changed.values(labels=merged, ttl_seconds=ttl))
            return await self._read(connection, tenant, thread_id)

    async def fork(self, tenant: str, source_id: str, checkpoint_id: str, thread_id: str) -> Thread:
        """A new thread with what another one has up to a checkpoint, the newest one where none is named.

        The new one has the other's graph, labels and time to live. A run may have the other one and go on.

        Raises:
            NotFound: there is no such thread, or it has no such checkpoint.
            AlreadyExists: there is a thread `thread_id` already.
        """
        source, target = saver_thread(tenant, source_id), saver_thread(tenant, thread_id)
        async with self._database.transaction() as connection:
            row = await lock(connection, tenant, source_id)
            same = {name: row._mapping[name] for name in ("graph", "labels", "ttl_seconds")}
            await insert(connection, self._database, tenant, thread_id, **same)
            copied = await fork_thread(connection, self._serde, source, target, checkpoint_id)
            if checkpoint_id and not copied:
                raise NotFound(resource="checkpoint", id=checkpoint_id)
            return await self._read(connection, tenant, thread_id)

    async def artifact(self, tenant: str, thread_id: str, digest: str) -> tuple[str, bytes]:
        """What an artifact of a thread is, and its bytes. Raises NotFound."""
        place = (artifacts.c.thread_id == saver_thread(tenant, thread_id), artifacts.c.name == f"artifact:{digest}")
        async with self._database.read() as connection:
            await self._read(connection, tenant, thread_id)
            found = await connection.execute(sa.select(artifacts.c.media_type, artifacts.c.data).where(*place))
            row = found.one_or_none()
        if row is None:
            raise NotFound(resource="artifact", id=digest)
        return row.media_type, row.data

    async def _read(self, connection: AsyncConnection, tenant: str, thread_id: str) -> Thread:
        row = (await connection.execute(_THREADS.where(*is_thread(tenant, thread_id)))).one_or_none()
        if row is None:
            raise NotFound(resource="thread", id=thread_id)
        return self._thread_of(row)

    def _thread_of(self, row: Any) -> Thread:
        seconds = row.ttl_seconds or self._default_ttl
        return Thread(
            row.thread_id,
            row.tenant,
            row.graph,
            row.labels,
            row.created,
            max(row.used, row.run or row.used),
            _status(row.holder),
            timedelta(seconds=seconds) if seconds > 0 else None,
        )


def _status(holder: str | None) -> ThreadStatus:
    if holder is None:
        return ThreadStatus.IDLE
    return ThreadStatus.INTERRUPTED if holder == "interrupted" else ThreadStatus.BUSY


def is_thread(tenant: str, thread_id: str) -> tuple[sa.ColumnElement[bool], ...]:
    return threads.c.tenant == tenant, threads.c.thread_id == thread_id


async def insert(connection: AsyncConnection, database: Database, tenant: str, thread_id: str, **values: Any) -> None:
    """Raises AlreadyExists."""
    now = datetime.now(UTC)
    row = {"tenant": tenant, "thread_id": thread_id, "created": now, "used": now, **values}
    made = database.insert(threads).values(**row).on_conflict_do_nothing().returning(threads.c.thread_id)
    if (await connection.execute(made)).first() is None:
        raise AlreadyExists(resource="thread", id=thread_id)


async def lock(connection: AsyncConnection, tenant: str, thread_id: str) -> sa.Row[Any]:
    """The thread's row. Until the transaction ends no run is added to the thread, and nobody else changes it.

    Raises:
        NotFound: there is no such thread.
    """
    query = sa.select(threads).where(*is_thread(tenant, thread_id)).with_for_update()
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise NotFound(resource="thread", id=thread_id)
    return row


async def lock_free(connection: AsyncConnection, tenant: str, thread_id: str) -> sa.Row[Any]:
    """The row of a thread that no run has or waits for; as `lock`.

    Raises:
        NotFound: there is no such thread.
        ThreadBusy: a run has it, or waits for it.
    """
    row = await lock(connection, tenant, thread_id)
    if run_id := await occupant(connection, tenant, thread_id):
        raise ThreadBusy(thread=thread_id, run=run_id)
    return row


async def occupant(connection: AsyncConnection, tenant: str, thread_id: str) -> str | None:
    """The run that has a locked thread, or the first that waits for it."""
    query = sa.select(runs.c.run_id).where(runs.c.tenant == tenant, runs.c.thread_id == thread_id)
    query = query.where(sa.or_(runs.c.holds_thread, WAITING)).order_by(runs.c.holds_thread.desc(), runs.c.created)
    return (await connection.execute(query.limit(1))).scalar()
