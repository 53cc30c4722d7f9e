"""Detects dead workers where several share a PostgreSQL, before their leases expire.

Each worker holds a session advisory lock; the server releases it when the connection ends, which is at once when the
process dies. A worker that holds leases and no lock is dead, or has lost its connection and will have another one in a
moment, so it takes two polls. A worker that is wrongly considered dead loses time and nothing else: its runs resume in
a new epoch, and its own writes are refused. A paused or partitioned worker keeps its lock for a while; for that case
there is the lease. A connection pooler that shares sessions between clients breaks this detection.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from hashlib import sha256
from typing import Any

import psycopg
import sqlalchemy as sa
import structlog
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import DependencyError
from graphmesh_chassis.postgresql_connection import PostgresqlConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from graphmesh_orchestrator.db.tables import HELD, runs
from graphmesh_orchestrator.leases.leases_sql import distinct

log = structlog.get_logger("graphmesh.liveness")

LOCK_ACQUIRED = "worker lock acquired"
"""The event in the log with the name of this worker. `graphmesh chaos` reads it."""
RETRY_SECONDS = 0.2
"""The wait between two attempts to take the lock again."""
POLL_SECONDS = 0.4
DEAD_SECONDS = 0.7
"""The time between two polls that both miss a lock. A restart of PostgreSQL releases all locks; live workers are back
sooner."""
PING_SECONDS = 2.0
"""Interval and timeout of the queries that detect a broken connection: the one that holds a lock is idle otherwise."""

PING: sa.Select[Any] = sa.select(sa.literal_column("1"))
OWNERS = distinct(runs.c.lease_owner, HELD)
LOCKS = sa.text(
    "SELECT (classid::bigint << 32) | objid::bigint FROM pg_locks"
    " WHERE locktype = 'advisory' AND objsubid = 1 AND granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
"""The keys of all advisory locks with a bigint key."""


def lock_key(worker: str) -> int:
    """Return the key of a worker's lock: 64 bits, signed."""
    return int.from_bytes(sha256(f"graphmesh worker {worker}".encode()).digest()[:8], signed=True)


@asynccontextmanager
async def worker_lock(url: str, worker: str, *, ping_seconds: float = PING_SECONDS) -> AsyncIterator[None]:
    """Hold the worker's advisory lock while the body runs.

    The lock is held when the body begins. When its connection breaks it is taken again, however long that takes. On
    SQLite there is one process and no lock.

    Args:
        ping_seconds: interval and timeout of the queries that detect a broken connection.
    """
    if url.startswith("sqlite"):
        yield
        return
    connect = partial(PostgresqlConnection.connect, response_seconds=ping_seconds)
    engine = create_async_engine(
        url,
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        hide_parameters=True,
        connect_args={"async_creator_fn": connect},
    )
    held = asyncio.Event()
    holding = asyncio.create_task(_hold(engine, worker, held, ping_seconds), name="worker lock")
    try:
        await held.wait()
        yield
    finally:
        holding.cancel()
        await asyncio.gather(holding, return_exceptions=True)
        await engine.dispose()


async def _hold(engine: AsyncEngine, worker: str, held: asyncio.Event, ping_seconds: float) -> None:
    """Hold the lock in shared mode: a broken session of the same worker may not have ended on the server yet."""
    lock, is_failing = sa.select(sa.func.pg_advisory_lock_shared(lock_key(worker))), False
    while True:
        try:
            async with engine.connect() as connection:
                await connection.execute(lock)
                held.set()
                log.info(LOCK_ACQUIRED, worker=worker)
                is_failing = False
                await _wait_until_broken(connection, ping_seconds)
        except (sa.exc.DBAPIError, psycopg.Error, OSError) as error:
            if not is_failing:
                log.warning("worker lock lost", worker=worker, error=type(error).__name__)
            is_failing = True
        await asyncio.sleep(RETRY_SECONDS)


async def _wait_until_broken(connection: AsyncConnection, ping_seconds: float) -> None:
    """Raises psycopg.Error or DBAPIError when the connection breaks, or the server does not answer; never returns."""
    driver: Any = (await connection.get_raw_connection()).driver_connection
    while True:
        async for _ in driver.notifies(timeout=ping_seconds):
            pass
        await connection.execute(PING)


class DeadWorkerDetector:
    """Finds the other workers that hold leases and are dead."""

    def __init__(self, database: Database, worker: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._database, self._worker, self._clock = database, worker, clock
        self._missing: dict[str, float] = {}
        self.dead: frozenset[str] = frozenset()
        """As of the last poll."""

    async def run(self, detected: Callable[[], None]) -> None:
        """Poll until cancelled, and call `detected` after each poll that has found dead workers."""
        while True:
            with suppress(DependencyError):  # claiming logs it
                await self.poll()
            if self.dead:
                detected()
            await asyncio.sleep(POLL_SECONDS)

    async def poll(self) -> None:
        """Find the workers without a lock. Raises DependencyError; then it takes two more polls to find one dead."""
        before, missed = self._clock(), self._missing
        self._missing, self.dead = {}, frozenset()
        missing = await self._without_lock()
        self._missing = {name: missed.get(name, self._clock()) for name in missing}
        self.dead = frozenset(name for name, since in self._missing.items() if before - since >= DEAD_SECONDS)

    async def _without_lock(self) -> list[str]:
        """Read the owners before the locks: a worker has its lock before it has a lease."""
        if self._database.is_sqlite:
            return []
        owners = sa.select(OWNERS.c.lease_owner).where(OWNERS.c.lease_owner != self._worker)
        if not (names := [row.lease_owner for row in await self._database.rows(owners)]):
            return []
        async with self._database.read() as connection:
            locks = set((await connection.execute(LOCKS)).scalars())
        return [name for name in names if lock_key(name) not in locks]


class NoDeadWorkers:
    """The detector where there is one process."""

    dead: frozenset[str] = frozenset()

    async def run(self, detected: Callable[[], None]) -> None:
        """Wait until cancelled."""
        await asyncio.Event().wait()
