"""Liveness: which workers are alive, where they share a PostgreSQL. A dead one's runs need not wait for their leases.

Each worker holds a session advisory lock for as long as it lives; the server takes it away when the connection ends,
which is at once when the process dies. Who holds leases and no lock is dead, or has lost the connection and will have
another in a moment: so it takes two looks. A worker that is wrongly taken for dead loses time and never anything else:
its runs go on in a new epoch, and what it still writes is refused. One that is paused or cut off keeps its lock for a
while; for it there is the lease. A pooler that shares sessions among clients would tell lies here.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from typing import Any

import psycopg
import sqlalchemy as sa
import structlog
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import DependencyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from graphmesh_orchestrator.db.tables import HELD, runs
from graphmesh_orchestrator.leases.leases_sql import distinct

log = structlog.get_logger("graphmesh.liveness")

RETRY_SECONDS = 0.2
"""Between two tries to take the lock again."""
LOOK_SECONDS = 0.4
SURE_SECONDS = 0.7
"""Between two looks that both miss a lock. A restart of PostgreSQL takes all of them; the living are back sooner."""
KEEPALIVES = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}
"""The holder of a lock sends nothing, so TCP has to find out that the other end is gone."""

OWNERS = distinct(runs.c.lease_owner, HELD)
LOCKS = sa.text(
    "SELECT (classid::bigint << 32) | objid::bigint FROM pg_locks"
    " WHERE locktype = 'advisory' AND objsubid = 1 AND granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
"""The keys of all advisory locks of one bigint."""


def lock_key(worker: str) -> int:
    """The key of a worker's lock: 64 bits, signed."""
    return int.from_bytes(sha256(f"graphmesh worker {worker}".encode()).digest()[:8], signed=True)


@asynccontextmanager
async def present(url: str, worker: str) -> AsyncIterator[None]:
    """Show the other workers at the database that this one is alive, while the body runs.

    The lock is held when the body begins. When its connection breaks it is taken again, however long that needs. SQLite
    has one process, and nobody to show it to.
    """
    if url.startswith("sqlite"):
        yield
        return
    engine = create_async_engine(
        url, poolclass=NullPool, isolation_level="AUTOCOMMIT", hide_parameters=True, connect_args=KEEPALIVES
    )
    held = asyncio.Event()
    holding = asyncio.create_task(_hold(engine, worker, held), name="presence")
    try:
        await held.wait()
        yield
    finally:
        holding.cancel()
        await asyncio.gather(holding, return_exceptions=True)
        await engine.dispose()


async def _hold(engine: AsyncEngine, worker: str, held: asyncio.Event) -> None:
    """Shared, so that nobody waits for a session of the same worker that has broken and not ended yet."""
    lock, failing = sa.select(sa.func.pg_advisory_lock_shared(lock_key(worker))), False
    while True:
        try:
            async with engine.connect() as connection:
                await connection.execute(lock)
                held.set()
                log.info("presence shown", worker=worker)
                failing = False
                await _broken(connection)
        except (sa.exc.DBAPIError, psycopg.Error, OSError) as error:
            if not failing:
                log.warning("presence not shown", worker=worker, error=type(error).__name__)
            failing = True
        await asyncio.sleep(RETRY_SECONDS)


async def _broken(connection: AsyncConnection) -> None:
    """Raises psycopg.Error when the connection breaks; nothing else is ever heard on it."""
    driver: Any = (await connection.get_raw_connection()).driver_connection
    async for _ in driver.notifies():
        pass


class Absences:
    """Finds the other workers that hold leases and are dead."""

    def __init__(self, database: Database, worker: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._database, self._worker, self._clock = database, worker, clock
        self._missing: dict[str, float] = {}
        self.dead: frozenset[str] = frozenset()
        """As of the last look."""

    async def run(self, noticed: Callable[[], None]) -> None:
        """Look for ever, and call `noticed` after each look that has found some."""
        while True:
            with suppress(DependencyError):  # whoever claims says so
                await self.look()
            if self.dead:
                noticed()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Look who is missing. Raises DependencyError, and then both looks are still to come."""
        before, missed = self._clock(), self._missing
        self._missing, self.dead = {}, frozenset()
        missing = await self._without_lock()
        self._missing = {name: missed.get(name, self._clock()) for name in missing}
        self.dead = frozenset(name for name, since in self._missing.items() if before - since >= SURE_SECONDS)

    async def _without_lock(self) -> list[str]:
        """The owners are read before the locks: a worker has its lock before it has a lease."""
        if self._database.is_sqlite:
            return []
        owners = sa.select(OWNERS.c.lease_owner).where(OWNERS.c.lease_owner != self._worker)
        if not (names := [row.lease_owner for row in await self._database.rows(owners)]):
            return []
        async with self._database.read() as connection:
            locks = set((await connection.execute(LOCKS)).scalars())
        return [name for name in names if lock_key(name) not in locks]
