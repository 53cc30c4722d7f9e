"""Runs and their events in SQL, on SQLite and PostgreSQL."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from graphmesh_chassis import audit_log
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import NotFound
from graphmesh_chassis.keyset import keyset_page
from graphmesh_chassis.sqlite_connection import deferred
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.db.clock import seconds_now
from graphmesh_orchestrator.db.id_prefixes import begins_with
from graphmesh_orchestrator.db.tables import ACTIVE, CLAIMABLE, PENDING, WAITING, events, runs, threads
from graphmesh_orchestrator.errors import QueueFull, RequestIdReused, ThreadBusy, WrongGraph
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.admission import admitted, preemption_reason
from graphmesh_orchestrator.runs.events import EventBatch
from graphmesh_orchestrator.runs.insert_sql import RunInsertBatcher
from graphmesh_orchestrator.runs.outputs_sql import SqlOutputs
from graphmesh_orchestrator.runs.rows import CONTENTS, columns_of, lease_columns, run_of, thread_row
from graphmesh_orchestrator.runs.run import EventPage, Multitask, Run, RunProgress, StreamMode, modes_of
from graphmesh_orchestrator.runs.runs import MAX_PENDING, PAGE_BYTES, RETRY_SECONDS

READY = sa.and_(WAITING, runs.c.due <= seconds_now(), runs.c.cancel_reason == "")
"""The run waits for nothing but its turn."""
PREEMPTING = [strategy for strategy in Multitask if strategy.preempts]

_ONE = sa.select(runs).where(runs.c.run_id == sa.bindparam("run"), runs.c.tenant == sa.bindparam("of_tenant"))
_MODES = _ONE.with_only_columns(runs.c.stream_modes)
_THREAD_KEY = (threads.c.tenant, threads.c.thread_id)
_OF_REQUEST = sa.select(runs).where(
    runs.c.tenant == sa.bindparam("of_tenant"), runs.c.request_id == sa.bindparam("of_request")
)
_PROGRESS = sa.select(runs.c.run_id, runs.c.status, runs.c.last_seq).where(
    runs.c.run_id.in_(sa.bindparam("run_ids", expanding=True))
)
_WITHOUT_CONTENTS = sa.select(
    *(column for column in runs.c if column.name not in CONTENTS), *(sa.null().label(name) for name in CONTENTS)
)
"""Selects runs whose input and output are None."""


class SqlRuns:
    """Runs in SQL. Every method also raises DatabaseUnavailable."""

    def __init__(self, database: Database, max_pending: int = MAX_PENDING) -> None:
        """`max_pending` bounds the pending runs of a tenant."""
        self._database, self._max_pending = database, max_pending
        self._batcher = None if database.is_sqlite else RunInsertBatcher(database)
        self._outputs = SqlOutputs(database)
        self._select_events = _select_events(is_sqlite=database.is_sqlite)

    async def add(self, run: Run, worker: str) -> Run:
        if worker and self._batcher and not run.request.is_delayed:
            begun = admitted(run, (), worker)
            if await self._batcher.store(begun, worker):
                return begun
            if earlier := await self._stored(run):
                return earlier
        if worker and self._database.is_sqlite and run.identity.created_thread and not run.request.is_delayed:
            begun = admitted(run, (), worker)
            if await self._insert_with_thread(begun, worker):
                return begun
        try:
            async with self._database.transaction() as connection:
                return await self.insert(connection, run, worker)
        except IntegrityError as error:
            return await self._resolve_conflict(run, worker, error)

    async def _insert_with_thread(self, run: Run, worker: str) -> bool:
        """Store a run and the thread that is created for it, in one switch to SQLite's thread.

        Returns False where it conflicts with a stored run, as of the same request.
        """
        try:
            async with self._database.transaction() as connection:
                with deferred(connection):
                    await connection.execute(sa.insert(threads), thread_row(run))
                    await connection.execute(sa.insert(runs).values(**columns_of(run), **lease_columns(run, worker)))
        except IntegrityError:
            return False
        return True

    async def insert(self, connection: AsyncConnection, run: Run, worker: str) -> Run:
        """Store a run within a transaction.

        Raises as `add`, and IntegrityError where another run is added to the thread, or by the request, meanwhile.
        """
        if earlier := await self._by_request(connection, run):
            return earlier
        await self._bind_thread(connection, run)
        if not self._database.is_sqlite and (earlier := await self._by_request(connection, run)):
            return earlier  # stored while another run had the thread locked; SQLite has one writer
        before = () if run.identity.created_thread else await self._before(connection, run)
        stored = admitted(run, before, worker)
        if stored.status is RunStatus.PENDING:
            await self._require_capacity(connection, run.identity.tenant)
        with deferred(connection):
            await connection.execute(sa.insert(runs).values(**columns_of(stored), **lease_columns(stored, worker)))
        if not stored.state.holds_thread:
            await preempt(connection, sa.and_(runs.c.run_id == stored.run_id, READY))
        return stored

    async def insert_free(self, connection: AsyncConnection, new: Sequence[Run]) -> set[str]:
        """Store runs that any worker may claim, within a transaction. Returns the ids of those that are stored.

        Left out are those for which `insert` has to distinguish the cases: the request is known, the thread has another
        run or is bound to another graph, or too many runs are pending.

        Raises IntegrityError as `insert`.
        """
        on_threads = {_thread(run): run for run in new if not run.request.is_delayed}
        free = await self._within_capacity(connection, await self._unknown(connection, on_threads.values()))
        bound = await self._bind_threads(connection, [on_threads[key] for key in sorted(map(_thread, free))])
        busy = await _busy(connection, bound)
        stored = [admitted(run, (), "") for run in bound if _thread(run) not in busy]
        if stored:
            rows = [{**columns_of(run), "lease_owner": "", "lease_expires": 0.0} for run in stored]
            await connection.execute(sa.insert(runs), rows)
        return {run.run_id for run in stored}

    async def _unknown(self, connection: AsyncConnection, new: Collection[Run]) -> Sequence[Run]:
        """Return the runs whose requests have created none."""
        requests = [(run.identity.tenant, run.request.request_id) for run in new]
        key = sa.tuple_(runs.c.tenant, runs.c.request_id)
        query = sa.select(runs.c.tenant, runs.c.request_id).where(runs.c.request_id != "", key.in_(requests))
        known = {tuple(row) for row in await connection.execute(query)}
        return [run for run, request in zip(new, requests, strict=True) if request not in known]

    async def _within_capacity(self, connection: AsyncConnection, new: Sequence[Run]) -> Sequence[Run]:
        """Return as many runs of each tenant as may be pending."""
        left = {
            tenant: self._max_pending - await self._count_pending(connection, tenant)
            for tenant in {run.identity.tenant for run in new}
        }
        taken: Counter[str] = Counter()
        within = []
        for run in new:
            taken[run.identity.tenant] += 1
            if taken[run.identity.tenant] <= left[run.identity.tenant]:
                within.append(run)
        return within

    async def _bind_threads(self, connection: AsyncConnection, new: Sequence[Run]) -> Sequence[Run]:
        """Create, bind and lock the threads of runs, in their order. Returns the runs whose thread has their graph."""
        if not new:
            return []
        insert = self._database.insert(threads)
        bound = sa.case((threads.c.graph == "", insert.excluded.graph), else_=threads.c.graph)
        changed = {"graph": bound, "used": insert.excluded.used}
        upsert = insert.on_conflict_do_update(index_elements=_THREAD_KEY, set_=changed)
        returned = upsert.returning(*_THREAD_KEY, threads.c.graph)
        rows = await connection.execute(returned, [thread_row(run) for run in new])
        graphs = {(row.tenant, row.thread_id): row.graph for row in rows}
        return [run for run in new if graphs[_thread(run)] == run.identity.graph]

    async def get(self, tenant: str, run_id: str) -> Run:
        found = await self._database.rows(_ONE, {"run": run_id, "of_tenant": tenant})
        if not found:
            raise NotFound(resource="run", id=run_id)
        [run] = await self._outputs.runs_of(found)
        return run

    async def modes(self, tenant: str, run_id: str) -> Collection[StreamMode]:
        found = await self._database.rows(_MODES, {"run": run_id, "of_tenant": tenant})
        if not found:
            raise NotFound(resource="run", id=run_id)
        return modes_of(found[0].stream_modes)

    async def progress(self, run_ids: Collection[str]) -> Mapping[str, RunProgress]:
        rows = await self._database.rows(_PROGRESS, {"run_ids": list(run_ids)})
        return {row.run_id: RunProgress(RunStatus(row.status), row.last_seq) for row in rows}

    async def find(
        self,
        tenant: str,
        columns: Mapping[str, str],
        before: tuple[datetime, str] | None,
        limit: int,
        id_prefix: str = "",
        *,
        contents: bool = True,
    ) -> Sequence[Run]:
        matching = (runs.c[name] == value for name, value in columns.items())
        query = (sa.select(runs) if contents else _WITHOUT_CONTENTS).where(runs.c.tenant == tenant, *matching)
        query = query.where(*begins_with(runs.c.run_id, id_prefix))
        query = keyset_page(query, (runs.c.created, runs.c.run_id), before, limit, descending=True)
        found = await self._database.rows(query)
        return await self._outputs.runs_of(found) if contents else [run_of(row._mapping) for row in found]

    async def request_cancellation(self, tenant: str, run_id: str, reason: str) -> Run:
        async with self._database.transaction() as connection:
            is_run = sa.and_(runs.c.tenant == tenant, runs.c.run_id == run_id)
            for thread_id in await cancel(connection, is_run, reason):
                await audit_log.record_current(connection, run=run_id, thread=thread_id)
        return await self.get(tenant, run_id)

    async def rolled_back(self, run: Run) -> Sequence[str]:
        query = sa.select(runs.c.run_id).where(_on_thread(run), runs.c.rolled_back)
        return [row.run_id for row in await self._database.rows(query)]

    async def mark_reverted(self, run_ids: Collection[str]) -> None:
        async with self._database.transaction() as connection:
            await connection.execute(sa.update(runs).where(runs.c.run_id.in_(run_ids)).values(rolled_back=False))

    async def events(self, run_id: str, after_seq: int, limit: int) -> EventPage:
        given = {"given_run": run_id, "after_seq": after_seq, "given_limit": limit}
        rows = [row._mapping for row in await self._database.rows(self._select_events.params(given))]
        progress = RunProgress(RunStatus(rows[0]["status"]), rows[0]["stored_seq"]) if rows else None
        return EventPage([EventBatch.of(row).after(after_seq) for row in rows if row["data"] is not None], progress)

    async def _stored(self, run: Run) -> Run | None:
        """Return the run that the same request has created, in one query. Raises RequestIdReused."""
        if not run.request.request_id:
            return None
        return await self._earlier(run, await self._database.rows(_OF_REQUEST, _request(run)))

    async def _by_request(self, connection: AsyncConnection, run: Run) -> Run | None:
        """As `_stored`, within a transaction."""
        if not run.request.request_id:
            return None
        return await self._earlier(run, (await connection.execute(_OF_REQUEST, _request(run))).all(), connection)

    async def _earlier(
        self, run: Run, rows: Sequence[sa.Row[Any]], connection: AsyncConnection | None = None
    ) -> Run | None:
        """Return the run of the same request. Raises RequestIdReused."""
        if rows and rows[0].fingerprint != run.request.fingerprint:
            raise RequestIdReused(request_id=run.request.request_id, run=rows[0].run_id)
        return next(iter(await self._outputs.runs_of(rows, connection)), None)

    async def _bind_thread(self, connection: AsyncConnection, run: Run) -> None:
        """Create the run's thread, or bind it to the run's graph, and lock it. Raises WrongGraph."""
        identity, now = run.identity, run.request.created
        insert = self._database.insert(threads).values(**thread_row(run))
        bound = sa.case((threads.c.graph == "", identity.graph), else_=threads.c.graph)
        upsert = insert.on_conflict_do_update(index_elements=_THREAD_KEY, set_={"graph": bound, "used": now})
        graph = (await connection.execute(upsert.returning(threads.c.graph))).scalar_one()
        if graph != identity.graph:
            raise WrongGraph(thread=identity.thread_id, graph=graph)

    async def _before(self, connection: AsyncConnection, run: Run) -> list[Run]:
        """Return the runs that hold the thread, or wait for it and could begin by now, the oldest first."""
        due = sa.and_(WAITING, runs.c.due <= seconds_now())
        query = sa.select(runs).where(_on_thread(run), sa.or_(runs.c.holds_thread, due)).order_by(runs.c.created)
        return [run_of(row._mapping) for row in await connection.execute(query)]

    async def _require_capacity(self, connection: AsyncConnection, tenant: str) -> None:
        """Raises QueueFull. Runs that are added at the same instant may exceed the bound by their number."""
        if await self._count_pending(connection, tenant) >= self._max_pending:
            raise QueueFull(limit=self._max_pending, retry_after=RETRY_SECONDS)

    async def _count_pending(self, connection: AsyncConnection, tenant: str) -> int:
        """Count the pending runs of a tenant, up to the bound.

        Partial indexes have the pending runs, however many have ended: those that wait, and those to be claimed.
        """
        own = sa.select(runs.c.run_id).where(runs.c.tenant == tenant)
        to_claim = own.where(CLAIMABLE, runs.c.status == PENDING, runs.c.holds_thread)
        counted = sa.union_all(own.where(WAITING), to_claim).limit(self._max_pending).subquery()
        return int((await connection.execute(sa.select(sa.func.count()).select_from(counted))).scalar_one())

    async def _resolve_conflict(self, run: Run, worker: str, error: IntegrityError) -> Run:
        """Return the run of the same request from another process; raise ThreadBusy for another run on the thread."""
        async with self._database.read() as connection:
            if earlier := await self._by_request(connection, run):
                return earlier
            before = await self._before(connection, run)
        if before and run.request.multitask is Multitask.REJECT:
            raise ThreadBusy(thread=run.identity.thread_id, run=before[0].run_id) from error
        return await self.add(run, worker)


def _thread(run: Run) -> tuple[str, str]:
    return run.identity.tenant, run.identity.thread_id


async def _busy(connection: AsyncConnection, new: Sequence[Run]) -> set[tuple[str, str]]:
    """Return the threads of runs that other runs hold, or wait for and could begin by now."""
    on_threads = sa.tuple_(runs.c.tenant, runs.c.thread_id).in_([_thread(run) for run in new])
    due = sa.and_(WAITING, runs.c.due <= seconds_now())
    query = sa.select(runs.c.tenant, runs.c.thread_id).where(on_threads, sa.or_(runs.c.holds_thread, due))
    return {(row.tenant, row.thread_id) for row in await connection.execute(query)}


def _request(run: Run) -> dict[str, str]:
    return {"of_tenant": run.identity.tenant, "of_request": run.request.request_id}


async def cancel(connection: AsyncConnection, where: sa.ColumnElement[bool], reason: str) -> Sequence[str]:
    """Record that runs are to be ended; returns the threads of those that were not before.

    A parked run becomes pending, for a worker to end it.
    """
    parked = runs.c.status == RunStatus.INTERRUPTED
    cancelled = sa.update(runs).where(where, sa.or_(ACTIVE, parked), runs.c.cancel_reason == "")
    values = cancelled.values(
        cancel_reason=reason,
        status=sa.case((parked, RunStatus.PENDING), else_=runs.c.status),
        lease_expires=sa.case((parked, 0.0), else_=runs.c.lease_expires),
    )
    threads: Sequence[str] = (await connection.execute(values.returning(runs.c.thread_id))).scalars().all()
    return threads


async def preempt(connection: AsyncConnection, where: sa.ColumnElement[bool]) -> None:
    """Cancel the runs before those `where` whose strategy is to preempt, on their threads.

    Each statement requires once more that the preempting run waits: if this process was paused after it had read that,
    a later run may have cancelled that one by now, and have the thread.
    """
    query = sa.select(runs).where(where, runs.c.multitask.in_(PREEMPTING), runs.c.cancel_reason == "")
    for row in (await connection.execute(query)).all():
        on_thread = sa.and_(runs.c.tenant == row.tenant, runs.c.thread_id == row.thread_id)
        others = sa.and_(on_thread, runs.c.run_id != row.run_id, _still_waits(row.run_id))
        earlier = sa.and_(others, sa.or_(runs.c.holds_thread, sa.and_(WAITING, runs.c.created <= row.created)))
        if row.multitask == Multitask.ROLLBACK:
            held = sa.and_(others, runs.c.holds_thread)
            await connection.execute(sa.update(runs).where(held).values(rolled_back=True))
        await cancel(connection, earlier, preemption_reason(row.run_id))


def _select_events(*, is_sqlite: bool) -> sa.Select[Any]:
    """Select the progress of a run beside its batches of events, up to a number and a size; alone where there are none.

    It is made once: that takes longer than to execute it.
    """
    given_run = sa.bindparam("given_run", type_=sa.String)
    size = (sa.func.length if is_sqlite else sa.func.octet_length)(events.c.data).label("size")
    after = events.c.last_seq > sa.bindparam("after_seq", type_=sa.BigInteger)
    query = sa.select(events, size).where(events.c.run_id == given_run, after).order_by(events.c.last_seq)
    first = query.limit(sa.bindparam("given_limit", type_=sa.Integer)).subquery("first")
    end = sa.func.sum(first.c.size).over(order_by=first.c.last_seq).label("end")
    sized = sa.select(first, end).subquery("sized")
    within = sa.or_(sized.c.end <= PAGE_BYTES, sized.c.end == sized.c.size)
    progress = sa.select(runs.c.status, runs.c.last_seq.label("stored_seq"), *(sized.c[one.name] for one in events.c))
    joined = runs.outerjoin(sized, sa.and_(sized.c.run_id == runs.c.run_id, within))
    return progress.select_from(joined).where(runs.c.run_id == given_run).order_by(sized.c.last_seq)


def _still_waits(run_id: str) -> sa.ColumnElement[bool]:
    """Whether a run waits for its turn and is not cancelled, for a statement about other runs."""
    run = runs.alias("waiting_run")
    waits = sa.and_(run.c.status == RunStatus.PENDING, sa.not_(run.c.holds_thread), run.c.cancel_reason == "")
    return sa.exists().where(run.c.run_id == run_id, waits)


def _on_thread(run: Run) -> sa.ColumnElement[bool]:
    return sa.and_(runs.c.tenant == run.identity.tenant, runs.c.thread_id == run.identity.thread_id)
