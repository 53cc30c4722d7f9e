"""Runs and their events in SQL, on SQLite and PostgreSQL."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, fields, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import NotFound
from graphmesh_chassis.keyset import keyset_page
from graphmesh_nodes.budget import Ceilings, Usage
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.db.clock import LEASE_SECONDS, seconds_now
from graphmesh_orchestrator.db.tables import ACTIVE, WAITING, events, runs, threads
from graphmesh_orchestrator.errors import QueueFull, RequestIdReused, ThreadBusy, WrongGraph
from graphmesh_orchestrator.runs.insert_sql import Beginnings
from graphmesh_orchestrator.runs.run import Event, EventKind, Multitask, Run, RunStatus, Stand

MAX_WAITING = 10_000
"""Runs of a tenant, where nothing else is said."""
RETRY_SECONDS = 5.0
"""When a caller is to come again for whose run there is no place among those that wait."""


class SqlRuns:
    """The runs of all tenants; reading one takes its tenant."""

    def __init__(self, database: Database, max_waiting: int = MAX_WAITING) -> None:
        """Of one tenant's runs, `max_waiting` may wait."""
        self._database, self._max_waiting = database, max_waiting
        self._beginnings = None if database.is_sqlite else Beginnings(database)

    async def add(self, run: Run, worker: str) -> Run:
        """Store a new run, or find the one that the same request has made before.

        Where its time and its turn have come, `worker` holds it from the start; without a worker, any that has room may
        claim it. Else it waits (`admit`).

        Raises:
            ThreadBusy: another run has the thread, and the strategy is to reject.
            WrongGraph: the thread is another graph's.
            QueueFull: too many runs of the tenant wait.
            RequestIdReused: the request_id was used with another body.
        """
        if worker and self._beginnings and not _is_delayed(run):
            begun = _placed(run, (), worker)
            if await self._beginnings.store(begun, worker):
                return begun
        try:
            async with self._database.transaction() as connection:
                if earlier := await self._by_request(connection, run):
                    return earlier
                await self._use_thread(connection, run)
                if earlier := await self._by_request(connection, run):  # it came while the thread was another's
                    return earlier
                placed = _placed(run, await self._before(connection, run), worker)
                if placed.status is RunStatus.PENDING:
                    await self._require_room(connection, run.tenant)
                await connection.execute(sa.insert(runs).values(**values_of(placed), **_lease(placed, worker)))
                if not placed.holds_thread:
                    await preempt(connection, sa.and_(runs.c.run_id == placed.run_id, WAITING))
            return placed
        except IntegrityError as error:
            return await self._conflict(run, worker, error)

    async def get(self, tenant: str, run_id: str) -> Run:
        """Raises NotFound, also for another tenant's run."""
        query = sa.select(runs).where(runs.c.run_id == run_id, runs.c.tenant == tenant)
        found = await self._database.rows(query)
        if not found:
            raise NotFound(resource="run", id=run_id)
        return run_of(found[0])

    async def stands(self, run_ids: Collection[str]) -> dict[str, Stand]:
        """How runs stand; one that is not there is missing."""
        query = sa.select(runs.c.run_id, runs.c.status, runs.c.last_seq).where(runs.c.run_id.in_(list(run_ids)))
        rows = await self._database.rows(query)
        return {row.run_id: Stand(RunStatus(row.status), row.last_seq) for row in rows}

    async def find(
        self, tenant: str, wanted: Mapping[str, str], before: tuple[datetime, str] | None, limit: int
    ) -> list[Run]:
        """Runs whose columns have the `wanted` values, newest first, that come after the (created, run_id) `before`."""
        query = sa.select(runs).where(
            runs.c.tenant == tenant, *(runs.c[name] == value for name, value in wanted.items())
        )
        query = keyset_page(query, (runs.c.created, runs.c.run_id), before, limit, descending=True)
        return [run_of(row) for row in await self._database.rows(query)]

    async def ask_to_cancel(self, tenant: str, run_id: str, reason: str) -> Run:
        """Note that a run is to be ended, if it has not; the first reason stands. Returns the run. Raises NotFound."""
        async with self._database.transaction() as connection:
            await cancel(connection, sa.and_(runs.c.tenant == tenant, runs.c.run_id == run_id), reason)
        return await self.get(tenant, run_id)

    async def rolled_back(self, run: Run) -> list[str]:
        """The runs on its thread whose writes are to be taken away."""
        on_thread = sa.and_(runs.c.tenant == run.tenant, runs.c.thread_id == run.thread_id, runs.c.rolled_back)
        return [row.run_id for row in await self._database.rows(sa.select(runs.c.run_id).where(on_thread))]

    async def taken_back(self, run_ids: Sequence[str]) -> None:
        """Note that nothing is left of what runs wrote."""
        async with self._database.transaction() as connection:
            await connection.execute(sa.update(runs).where(runs.c.run_id.in_(run_ids)).values(rolled_back=False))

    async def events(self, run_id: str, after_seq: int, limit: int) -> list[Event]:
        """The events of a run after `after_seq`, in order."""
        query = sa.select(events).where(events.c.run_id == run_id, events.c.seq > after_seq)
        rows = await self._database.rows(query.order_by(events.c.seq).limit(limit))
        return [Event(row.seq, row.time, EventKind(row.kind), row.node, row.data) for row in rows]

    async def _by_request(self, connection: AsyncConnection, run: Run) -> Run | None:
        if not run.request_id:
            return None
        query = sa.select(runs).where(runs.c.tenant == run.tenant, runs.c.request_id == run.request_id)
        row = (await connection.execute(query)).one_or_none()
        if row is not None and row.fingerprint != run.fingerprint:
            raise RequestIdReused(request_id=run.request_id, run=row.run_id)
        return run_of(row) if row is not None else None

    async def _use_thread(self, connection: AsyncConnection, run: Run) -> None:
        """Raises WrongGraph."""
        new = {"graph": run.graph, "labels": {}, "created": run.created, "used": run.created}
        made = self._database.insert(threads).values(tenant=run.tenant, thread_id=run.thread_id, ttl_seconds=0, **new)
        unbound = sa.case((threads.c.graph == "", run.graph), else_=threads.c.graph)
        key = [threads.c.tenant, threads.c.thread_id]
        used = made.on_conflict_do_update(index_elements=key, set_={"graph": unbound, "used": run.created})
        graph = (await connection.execute(used.returning(threads.c.graph))).scalar_one()
        if graph != run.graph:
            raise WrongGraph(thread=run.thread_id, graph=graph)

    async def _before(self, connection: AsyncConnection, run: Run) -> list[Run]:
        """The runs that have the thread, or wait for it and could begin by now."""
        on_thread = sa.and_(runs.c.tenant == run.tenant, runs.c.thread_id == run.thread_id)
        ready = sa.and_(WAITING, runs.c.due <= seconds_now())
        query = sa.select(runs).where(on_thread, sa.or_(runs.c.holds_thread, ready)).order_by(runs.c.created)
        return [run_of(row) for row in await connection.execute(query)]

    async def _require_room(self, connection: AsyncConnection, tenant: str) -> None:
        """Raises QueueFull. Runs that are added at the same instant may overshoot the bound by their number."""
        bound = self._max_waiting
        waiting = sa.select(runs.c.run_id).where(runs.c.tenant == tenant, runs.c.status == "pending").limit(bound)
        count = await connection.execute(sa.select(sa.func.count()).select_from(waiting.subquery()))
        if count.scalar_one() >= bound:
            raise QueueFull(limit=bound, retry_after=RETRY_SECONDS)

    async def _conflict(self, run: Run, worker: str, error: IntegrityError) -> Run:
        """Who came first: the same request in another process, or another run on the thread."""
        async with self._database.read() as connection:
            if earlier := await self._by_request(connection, run):
                return earlier
            before = await self._before(connection, run)
        if before and run.multitask is Multitask.REJECT:
            raise ThreadBusy(thread=run.thread_id, run=before[0].run_id) from error
        return await self.add(run, worker)


async def cancel(connection: AsyncConnection, where: sa.ColumnElement[bool], reason: Any, **also: Any) -> None:
    """Note that runs are to be ended. One that is parked is handed to a worker for that."""
    going = sa.or_(ACTIVE, runs.c.status == "interrupted")
    parked = runs.c.status == "interrupted"
    asked = sa.update(runs).where(where, going, runs.c.cancel_reason == "")
    await connection.execute(
        asked.values(
            cancel_reason=reason,
            status=sa.case((parked, "pending"), else_=runs.c.status),
            lease_expires=sa.case((parked, 0.0), else_=runs.c.lease_expires),
            **also,
        )
    )


async def preempt(connection: AsyncConnection, where: sa.ColumnElement[bool]) -> None:
    """Cancel the runs before those `where` whose strategy is to, on their threads."""
    query = sa.select(runs).where(where, runs.c.multitask.in_(("interrupt", "rollback")), runs.c.cancel_reason == "")
    for row in (await connection.execute(query)).all():
        on_thread = sa.and_(runs.c.tenant == row.tenant, runs.c.thread_id == row.thread_id, runs.c.run_id != row.run_id)
        earlier = sa.and_(on_thread, sa.or_(runs.c.holds_thread, sa.and_(WAITING, runs.c.created <= row.created)))
        if row.multitask == "rollback":
            held = sa.and_(on_thread, runs.c.holds_thread)
            await connection.execute(sa.update(runs).where(held).values(rolled_back=True))
        await cancel(connection, earlier, f"the run {row.run_id} on the same thread takes its place")


def _placed(run: Run, before: Sequence[Run], worker: str) -> Run:
    """A new run in its place: on its thread, with `worker` or without, or among those that wait.

    Raises:
        ThreadBusy: its thread is busy, and the strategy is to reject.
    """
    if _is_delayed(run):
        return run
    if before and run.multitask is Multitask.REJECT:
        raise ThreadBusy(thread=run.thread_id, run=before[0].run_id)
    if before:
        return run
    if not worker:
        return replace(run, holds_thread=True)
    return replace(run, holds_thread=True, status=RunStatus.RUNNING, epoch=run.epoch + 1)


def _is_delayed(run: Run) -> bool:
    return run.due > run.created.timestamp()


def _lease(run: Run, worker: str) -> dict[str, Any]:
    if run.status is RunStatus.RUNNING:
        return {"lease_owner": worker, "lease_expires": seconds_now() + LEASE_SECONDS}
    return {"lease_owner": "", "lease_expires": 0}


def values_of(run: Run) -> dict[str, Any]:
    """A run as the columns of `runs`, but for its lease."""
    return asdict(run)


def run_of(row: Any) -> Run:
    """The run of a row of `runs`."""
    values = {field.name: row._mapping[field.name] for field in fields(Run)}
    kinds = {"status": RunStatus, "multitask": Multitask}
    made = {name: kind(values[name]) for name, kind in kinds.items()}
    parts = {"ceilings": Ceilings(**row.ceilings), "usage": Usage(**row.usage)}
    return Run(**{**values, **made, **parts})
