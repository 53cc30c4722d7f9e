"""Adding a run that can begin at once, as one statement of PostgreSQL: what most runs do."""

from contextlib import suppress
from dataclasses import asdict
from functools import cache
from typing import Any

import sqlalchemy as sa
from graphmesh_chassis.database import Database
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError

from graphmesh_orchestrator.lease_time import LEASE_SECONDS, seconds_now
from graphmesh_orchestrator.runs import Run
from graphmesh_orchestrator.sent import Received, Sent, compiled
from graphmesh_orchestrator.tables import NONE, WAITING, runs, threads

RUN = "run"
OF_THREAD = ("tenant", "thread_id", "graph", "created")
"""The columns that a new thread has of its first run."""
NO_LABELS = sa.literal_column("'{}'", sa.JSON())


async def begin_at_once(database: Database, placed: Run, worker: str) -> bool:
    """Store a run that `worker` holds from the start, with its thread. Returns whether it is stored.

    It is not where there is something to tell apart: another run has its thread or waits for it, the thread is another
    graph's, or the request is not new.
    """
    sent = Sent()
    sent.add(RUN, [sent.row({**asdict(placed), "lease_owner": worker})])
    text, constants = _statement()
    of_thread = {name: getattr(placed, name) for name in OF_THREAD}
    with suppress(DBAPIError):
        return bool(await database.execute_alone(text, {**constants, **sent.parameters, **of_thread}))
    return False


@cache
def _statement() -> tuple[str, dict[str, Any]]:
    """The run's id, where it is stored."""
    run = Received(RUN, runs.c)
    used, made = _used(), dict(zip(runs.c.keys(), map(run.value, runs.c), strict=True))
    on_thread = sa.and_(runs.c.tenant == run.rows.c.tenant, runs.c.thread_id == run.rows.c.thread_id)
    ready = sa.and_(WAITING, runs.c.due <= seconds_now())
    before = sa.exists().where(on_thread, sa.or_(runs.c.holds_thread, ready))
    values = sa.select(*{**made, "lease_expires": seconds_now() + LEASE_SECONDS}.values())
    begun = values.select_from(run.rows.join(used, sa.true())).where(sa.not_(before))
    stored = sa.insert(runs).from_select(list(made), begun).returning(runs.c.run_id).cte("stored")
    return compiled(sa.select(stored.c.run_id))


def _used() -> sa.CTE:
    """Its thread, made or used again; none where it is another graph's."""
    made = postgresql.insert(threads).values(
        **{name: sa.bindparam(name, type_=threads.c[name].type) for name in OF_THREAD},
        labels=NO_LABELS,
        used=sa.bindparam("created", type_=threads.c.created.type),
        ttl_seconds=sa.literal_column("0"),
    )
    used = made.on_conflict_do_update(
        index_elements=[threads.c.tenant, threads.c.thread_id],
        set_={"graph": made.excluded.graph, "used": made.excluded.used},
        where=sa.or_(threads.c.graph == NONE, threads.c.graph == made.excluded.graph),
    )
    return used.returning(threads.c.thread_id).cte("used")
