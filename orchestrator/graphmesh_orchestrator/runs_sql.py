"""Runs and their events in SQL, on SQLite and PostgreSQL."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from graphmesh_chassis.database import Database, UtcDateTime
from graphmesh_chassis.errors import NotFound
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.errors import RequestIdReused, ThreadBusy
from graphmesh_orchestrator.lease_time import LEASE_SECONDS, seconds_now
from graphmesh_orchestrator.runs import Event, EventKind, Run, RunStatus

metadata = sa.MetaData()

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("run_id", sa.String(64), primary_key=True),
    sa.Column("tenant", sa.String(63), nullable=False),
    sa.Column("subject", sa.String(255), nullable=False),
    sa.Column("thread_id", sa.String(64), nullable=False),
    sa.Column("graph", sa.String(64), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("input", sa.JSON, nullable=False),
    sa.Column("output", sa.JSON(none_as_null=True)),
    sa.Column("error", sa.LargeBinary),
    sa.Column("request_id", sa.String(64), nullable=False),
    sa.Column("fingerprint", sa.LargeBinary, nullable=False),
    sa.Column("labels", sa.JSON, nullable=False),
    sa.Column("recursion_limit", sa.Integer, nullable=False),
    sa.Column("last_seq", sa.BigInteger, nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Column("deadline", UtcDateTime, nullable=False),
    sa.Column("started", UtcDateTime),
    sa.Column("ended", UtcDateTime),
    sa.Column("cancel_reason", sa.String(500), nullable=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("lease_owner", sa.String(64), nullable=False),
    sa.Column("lease_expires", sa.Float, nullable=False),
)
"""`lease_expires` is in seconds since 1970 of the database's clock; 0: nobody holds the run."""
ACTIVE = runs.c.status.in_(("pending", "running"))
by_thread = sa.Index(
    "runs_active_by_thread",
    runs.c.tenant,
    runs.c.thread_id,
    unique=True,
    sqlite_where=sa.text("status IN ('pending', 'running')"),
    postgresql_where=sa.text("status IN ('pending', 'running')"),
)
"""At most one active run a thread."""
claimable = sa.Index(
    "runs_claimable",
    runs.c.lease_expires,
    sqlite_where=sa.text("status IN ('pending', 'running')"),
    postgresql_where=sa.text("status IN ('pending', 'running')"),
)
by_age = sa.Index("runs_by_age", runs.c.tenant, runs.c.created, runs.c.run_id)
by_request = sa.Index(
    "runs_by_request",
    runs.c.tenant,
    runs.c.request_id,
    unique=True,
    sqlite_where=sa.text("request_id <> ''"),
    postgresql_where=sa.text("request_id <> ''"),
)
"""One run a request_id (A4)."""

events = sa.Table(
    "run_events",
    metadata,
    sa.Column("run_id", sa.String(64), primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True),
    sa.Column("time", UtcDateTime, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("node", sa.String(255), nullable=False),
    sa.Column("data", sa.JSON, nullable=False),
)


class SqlRuns:
    """The runs of all tenants; reading one takes its tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, run: Run, worker: str) -> Run:
        """Store a new run, which `worker` holds from the start, or find the one that the same request has made before.

        Without a worker, any that has room may claim it.

        Raises:
            ThreadBusy: another run is active on the thread.
            RequestIdReused: the request_id was used with another body.
        """
        try:
            async with self._database.transaction() as connection:
                if run.request_id and (earlier := await self._by_request(connection, run)):
                    return earlier
                await connection.execute(sa.insert(runs).values(**asdict(run), **_lease(worker)))
            return run
        except IntegrityError as error:
            return await self._conflict(run, error)

    async def get(self, tenant: str, run_id: str) -> Run:
        """Raises NotFound, also for another tenant's run."""
        query = sa.select(runs).where(runs.c.run_id == run_id, runs.c.tenant == tenant)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise NotFound(resource="run", id=run_id)
        return run_of(row)

    async def find(
        self, tenant: str, wanted: Mapping[str, str], before: tuple[datetime, str] | None, limit: int
    ) -> list[Run]:
        """Runs whose columns have the `wanted` values, newest first, that come after the (created, run_id) `before`."""
        query = sa.select(runs).where(
            runs.c.tenant == tenant, *(runs.c[name] == value for name, value in wanted.items())
        )
        if before is not None:
            position = sa.tuple_(sa.literal(before[0], UtcDateTime), before[1])
            query = query.where(sa.tuple_(runs.c.created, runs.c.run_id) < position)
        query = query.order_by(runs.c.created.desc(), runs.c.run_id.desc()).limit(limit)
        async with self._database.read() as connection:
            return [run_of(row) for row in await connection.execute(query)]

    async def ask_to_cancel(self, tenant: str, run_id: str, reason: str) -> Run:
        """Note that an active run is to be ended; the first reason stands. Returns the run. Raises NotFound."""
        mine = sa.and_(runs.c.tenant == tenant, runs.c.run_id == run_id)
        asked = sa.update(runs).where(mine, ACTIVE, runs.c.cancel_reason == "").values(cancel_reason=reason)
        async with self._database.transaction() as connection:
            await connection.execute(asked)
        return await self.get(tenant, run_id)

    async def events(self, run_id: str, after_seq: int, limit: int) -> list[Event]:
        """The events of a run after `after_seq`, in order."""
        query = sa.select(events).where(events.c.run_id == run_id, events.c.seq > after_seq)
        async with self._database.read() as connection:
            rows = await connection.execute(query.order_by(events.c.seq).limit(limit))
            return [Event(row.seq, row.time, EventKind(row.kind), row.node, row.data) for row in rows]

    async def _by_request(self, connection: AsyncConnection, run: Run) -> Run | None:
        query = sa.select(runs).where(runs.c.tenant == run.tenant, runs.c.request_id == run.request_id)
        row = (await connection.execute(query)).one_or_none()
        if row is not None and row.fingerprint != run.fingerprint:
            raise RequestIdReused(request_id=run.request_id, run=row.run_id)
        return run_of(row) if row is not None else None

    async def _conflict(self, run: Run, error: IntegrityError) -> Run:
        """Who came first: the same request in another process, or another run on the thread."""
        async with self._database.read() as connection:
            if run.request_id and (earlier := await self._by_request(connection, run)):
                return earlier
            query = sa.select(runs.c.run_id).where(
                runs.c.tenant == run.tenant, runs.c.thread_id == run.thread_id, ACTIVE
            )
            busy = (await connection.execute(query)).scalar_one_or_none()
        raise ThreadBusy(thread=run.thread_id, run=busy or "that has just ended") from error


def _lease(worker: str) -> dict[str, Any]:
    expires = seconds_now() + LEASE_SECONDS if worker else 0
    return {"lease_owner": worker, "lease_expires": expires}


def run_of(row: Any) -> Run:
    """The run of a row of `runs`."""
    values = {field.name: row._mapping[field.name] for field in fields(Run)}
    return Run(**{**values, "status": RunStatus(row.status)})
