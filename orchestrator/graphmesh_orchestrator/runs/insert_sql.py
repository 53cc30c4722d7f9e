"""Adding runs that can begin at once, as one statement of PostgreSQL: what most runs do."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa
from graphmesh_chassis.database import Database
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError

from graphmesh_orchestrator.db.clock import LEASE_SECONDS, seconds_now
from graphmesh_orchestrator.db.row_batches import Received, Sent, compiled
from graphmesh_orchestrator.db.tables import NONE, WAITING, runs, threads
from graphmesh_orchestrator.runs.run import Run

RUNS = "runs"
MAX_RUNS = 256
"""In one statement."""
OF_THREAD = ("tenant", "thread_id", "graph", "created")
"""The columns that a new thread has of its first run."""
NO_LABELS = sa.literal_column("'{}'", sa.JSON())


@dataclass(frozen=True)
class _Waiting:
    placed: Run
    worker: str
    stored: "asyncio.Future[bool]"


class Beginnings:
    """Stores runs that a worker holds from the start. Those that come during one statement share the next."""

    def __init__(self, database: Database) -> None:
        self._alone = database.alone()
        self._waiting: list[_Waiting] = []
        self._storing: asyncio.Task[None] | None = None

    async def store(self, placed: Run, worker: str) -> bool:
        """Store a run with its thread. Returns whether it is stored.

        It is not where there is something to tell apart: another run has its thread or waits for it, the thread is
        another graph's, or the request is not new. Raises DatabaseUnavailable.
        """
        waiting = _Waiting(placed, worker, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._storing is None or self._storing.done():
            self._storing = asyncio.create_task(self._store(), name="beginnings")
        return await waiting.stored

    async def _store(self) -> None:
        while self._waiting:
            batch, self._waiting = _apart(one for one in self._waiting if not one.stored.done())
            try:
                stored = await self._begun(batch)
            except Exception as error:
                _settle(batch, error)
            else:
                _settle(batch, stored)

    async def _begun(self, batch: Sequence[_Waiting]) -> set[str]:
        """The ids of those that are stored."""
        sent = Sent()
        ordered = sorted(batch, key=lambda one: (one.placed.tenant, one.placed.thread_id))  # so that no two deadlock
        sent.add(RUNS, [sent.row({**asdict(one.placed), "lease_owner": one.worker}) for one in ordered])
        text, constants = _statement()
        with suppress(DBAPIError):
            return {run_id for (run_id,) in await self._alone.execute(text, {**constants, **sent.parameters})}
        return set()


def _apart(waiting: Iterable[_Waiting]) -> tuple[list[_Waiting], list[_Waiting]]:
    """Some that can be stored together, and the rest: no two are on one thread or made by one request."""
    together, rest, taken = list[_Waiting](), list[_Waiting](), set[tuple[str, ...]]()
    for one in waiting:
        run = one.placed
        keys = {("thread", run.tenant, run.thread_id), ("request", run.tenant, run.request_id or run.run_id)}
        if keys & taken or len(together) == MAX_RUNS:
            rest.append(one)
        else:
            together.append(one)
            taken |= keys
    return together, rest


def _settle(batch: Iterable[_Waiting], outcome: set[str] | Exception) -> None:
    for one in batch:
        if one.stored.done():  # whoever waited was cancelled
            continue
        if isinstance(outcome, Exception):
            one.stored.set_exception(outcome)
        else:
            one.stored.set_result(one.placed.run_id in outcome)


@cache
def _statement() -> tuple[str, dict[str, Any]]:
    """The ids of the runs that are stored."""
    run = Received(RUNS, runs.c)
    used, made = _used(run), dict(zip(runs.c.keys(), map(run.value, runs.c), strict=True))
    on_thread = sa.and_(runs.c.tenant == run.rows.c.tenant, runs.c.thread_id == run.rows.c.thread_id)
    ready = sa.and_(WAITING, runs.c.due <= seconds_now())
    before = sa.exists().where(on_thread, sa.or_(runs.c.holds_thread, ready))
    values = sa.select(*{**made, "lease_expires": seconds_now() + LEASE_SECONDS}.values())
    its_thread = sa.and_(used.c.tenant == run.rows.c.tenant, used.c.thread_id == run.rows.c.thread_id)
    begun = values.select_from(run.rows.join(used, its_thread)).where(sa.not_(before))
    stored = sa.insert(runs).from_select(list(made), begun).returning(runs.c.run_id).cte("stored")
    return compiled(sa.select(stored.c.run_id))


def _used(run: Received) -> sa.CTE:
    """Their threads, made or used again; none where one is another graph's."""
    of_runs = sa.select(
        *(run.rows.c[name] for name in OF_THREAD), NO_LABELS, run.rows.c.created, sa.literal_column("0")
    )
    made = postgresql.insert(threads).from_select([*OF_THREAD, "labels", "used", "ttl_seconds"], of_runs)
    used = made.on_conflict_do_update(
        index_elements=[threads.c.tenant, threads.c.thread_id],
        set_={"graph": made.excluded.graph, "used": made.excluded.used},
        where=sa.or_(threads.c.graph == NONE, threads.c.graph == made.excluded.graph),
    )
    return used.returning(threads.c.tenant, threads.c.thread_id).cte("used")
