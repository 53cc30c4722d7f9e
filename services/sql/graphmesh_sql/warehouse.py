"""The queried database, in processes of its own: `worker_pool` runs them, `worker` is what runs in them."""

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog

from graphmesh_sql.domain import End, Query, ResultPart, Schema
from graphmesh_sql.worker import frames
from graphmesh_sql.worker.settings import WorkerSettings
from graphmesh_sql.worker_pool import WorkerPool

DESCRIBE_SECONDS: Final = 8.0
PING_SECONDS: Final = 4.0

log = structlog.get_logger("graphmesh.sql")


class Warehouse:
    """A SQLite file or a PostgreSQL database, through read-only connections."""

    def __init__(self, queries: WorkerPool, control: WorkerPool) -> None:
        """`control` describes and pings, so that neither waits for queries."""
        self._queries = queries
        self._control = control
        self._unenforced: tuple[str, ...] = ()

    async def describe(self, role: str = "") -> Schema:
        """Read the tables and views that the role may read; without one, those of the connection.

        Raises:
            DatabaseUnavailable: the database does not answer.
            RuleBroken: there is no such role.
        """
        async with self._control.worker() as worker:
            _, schema = await worker.request(DESCRIBE_SECONDS, "describe", role, DESCRIBE_SECONDS)
        return frames.schema_of(schema)

    async def query(self, query: Query, schema: Schema) -> AsyncGenerator[ResultPart]:
        """Check a query, run it, and yield its result. Closing the iterator ends the query in the database too.

        Raises:
            RuleBroken: the query breaks a rule.
            Unanswerable: the database cannot answer the query as written, or not within its limits.
            DeadlineExceeded: its time is over.
            DatabaseUnavailable: the database does not answer.
        """
        ends_at = time.monotonic() + query.limits.seconds
        async with self._queries.worker() as worker:
            await worker.use_schema(schema, ends_at - time.monotonic())
            request: tuple[Any, ...] = ("query", frames.plain(query))
            while True:
                _, name, plain = await worker.request(ends_at - time.monotonic(), *request)
                part = frames.part_of(name, plain)
                yield part
                if isinstance(part, End):
                    return
                request = ("next",)

    async def ping(self) -> None:
        """Check that the database answers, and log the limits that cannot be enforced in it.

        Raises:
            DatabaseUnavailable: the database does not answer.
        """
        async with self._control.worker() as worker:
            _, unenforced = await worker.request(PING_SECONDS, "ping", PING_SECONDS)
        for sentence in set(unenforced) - set(self._unenforced):
            log.warning("a limit of queries cannot be enforced", cause=sentence)
        self._unenforced = tuple(unenforced)


@asynccontextmanager
async def open_warehouse(settings: WorkerSettings, workers: int) -> AsyncIterator[Warehouse]:
    """Open a warehouse; at the end all its processes are killed."""
    queries, control = WorkerPool(settings, workers), WorkerPool(settings, 1)
    try:
        yield Warehouse(queries, control)
    finally:
        await queries.close()
        await control.close()
