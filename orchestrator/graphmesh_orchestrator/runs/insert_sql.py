"""Inserts runs that begin at once, many in one statement of PostgreSQL: most runs are inserted so."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa
from graphmesh_chassis.database import Database
from graphmesh_chassis.tenant_turns import work_for_all
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError

from graphmesh_orchestrator.db.clock import LEASE_SECONDS, seconds_now
from graphmesh_orchestrator.db.row_batches import BatchRows, RowBatch, compiled
from graphmesh_orchestrator.db.tables import EMPTY, WAITING, runs, threads
from graphmesh_orchestrator.runs.rows import columns_of
from graphmesh_orchestrator.runs.run import Run

RUNS = "runs"
MAX_RUNS = 256
"""The most runs in one statement."""
OF_THREAD = ("tenant", "thread_id", "graph", "created")
"""The columns of a new thread that are those of its first run."""
NO_LABELS = sa.literal_column("'{}'", sa.JSON())


@dataclass(frozen=True)
class _Insert:
    run: Run
    worker: str
    stored: "asyncio.Future[bool]"


class RunInsertBatcher:
    """Inserts runs that a worker holds from the start. Runs that are added during one statement share the next."""

    def __init__(self, database: Database) -> None:
        self._connection = database.single_statement_connection()
        self._inserts: list[_Insert] = []
        self._task: asyncio.Task[None] | None = None

    async def store(self, run: Run, worker: str) -> bool:
        """Insert a run with its thread. Returns whether it is stored.

        It is not stored where it needs the transaction that distinguishes the cases: another run holds the thread or
        waits for it, the thread is bound to another graph, or the request_id is known. Raises DatabaseUnavailable.
        """
        insert = _Insert(run, worker, asyncio.get_running_loop().create_future())
        self._inserts.append(insert)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._insert_all(), name="run inserts", context=Context())
        return await insert.stored

    async def _insert_all(self) -> None:
        work_for_all()
        while self._inserts:
            batch, self._inserts = _batch_of(insert for insert in self._inserts if not insert.stored.done())
            try:
                stored = await self._insert(batch)
            except Exception as error:
                _resolve(batch, error)
            else:
                _resolve(batch, stored)

    async def _insert(self, batch: Sequence[_Insert]) -> set[str]:
        """Return the ids of the runs that are stored."""
        batched = RowBatch()
        ordered = sorted(batch, key=_thread_key)  # two statements lock threads in the same order
        batched.add(RUNS, [batched.row({**columns_of(insert.run), "lease_owner": insert.worker}) for insert in ordered])
        text, constants = _statement()
        with suppress(DBAPIError):
            return {run_id for (run_id,) in await self._connection.execute(text, {**constants, **batched.parameters})}
        return set()


def _thread_key(insert: _Insert) -> tuple[str, str]:
    return insert.run.identity.tenant, insert.run.identity.thread_id


def _batch_of(inserts: Iterable[_Insert]) -> tuple[list[_Insert], list[_Insert]]:
    """Split inserts into a batch, in which no two share a thread or a request, and the rest."""
    batch, rest, keys = list[_Insert](), list[_Insert](), set[tuple[str, ...]]()
    for insert in inserts:
        run = insert.run
        request = ("request", run.identity.tenant, run.request.request_id or run.run_id)
        own = {("thread", *_thread_key(insert)), request}
        if own & keys or len(batch) == MAX_RUNS:
            rest.append(insert)
        else:
            batch.append(insert)
            keys |= own
    return batch, rest


def _resolve(batch: Iterable[_Insert], outcome: set[str] | Exception) -> None:
    for insert in batch:
        if insert.stored.done():  # the caller was cancelled
            continue
        if isinstance(outcome, Exception):
            insert.stored.set_exception(outcome)
        else:
            insert.stored.set_result(insert.run.run_id in outcome)


@cache
def _statement() -> tuple[str, dict[str, Any]]:
    """Return the statement, which returns the ids of the stored runs, and its constants."""
    run = BatchRows(RUNS, runs.c)
    bound, values = _bound_threads(run), dict(zip(runs.c.keys(), map(run.value, runs.c), strict=True))
    on_thread = sa.and_(runs.c.tenant == run.rows.c.tenant, runs.c.thread_id == run.rows.c.thread_id)
    due = sa.and_(WAITING, runs.c.due <= seconds_now())
    before = sa.exists().where(on_thread, sa.or_(runs.c.holds_thread, due))
    rows = sa.select(*{**values, "lease_expires": seconds_now() + LEASE_SECONDS}.values())
    its_thread = sa.and_(bound.c.tenant == run.rows.c.tenant, bound.c.thread_id == run.rows.c.thread_id)
    admitted = rows.select_from(run.rows.join(bound, its_thread)).where(sa.not_(before))
    stored = sa.insert(runs).from_select(list(values), admitted).returning(runs.c.run_id).cte("stored")
    return compiled(sa.select(stored.c.run_id))


def _bound_threads(run: BatchRows) -> sa.CTE:
    """Insert or update the threads of the runs; a thread that is bound to another graph is not returned."""
    new = sa.select(*(run.rows.c[name] for name in OF_THREAD), NO_LABELS, run.rows.c.created, sa.literal_column("0"))
    insert = postgresql.insert(threads).from_select([*OF_THREAD, "labels", "used", "ttl_seconds"], new)
    upsert = insert.on_conflict_do_update(
        index_elements=[threads.c.tenant, threads.c.thread_id],
        set_={"graph": insert.excluded.graph, "used": insert.excluded.used},
        where=sa.or_(threads.c.graph == EMPTY, threads.c.graph == insert.excluded.graph),
    )
    return upsert.returning(threads.c.tenant, threads.c.thread_id).cte("bound")
