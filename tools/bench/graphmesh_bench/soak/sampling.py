"""One look at a mesh: what its processes hold, who is connected to PostgreSQL, and how large the tables are."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import psutil
from graphmesh_local.databases import Databases
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier

from graphmesh_bench.soak.plan import Figure, Figures

MB = 1024 * 1024
OURSELVES = "graphmesh soak"
"""The application that is not counted among those that are connected."""
STATES = ("active", "idle", "idle in transaction", "idle in transaction (aborted)")
BACKENDS = "SELECT state, count(*) FROM pg_stat_activity WHERE datname = %s AND application_name <> %s GROUP BY state"
OLDEST = """
SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float FROM pg_stat_activity
WHERE datname = %s AND application_name <> %s
"""
TABLES = "SELECT relname, pg_total_relation_size(relid), n_dead_tup FROM pg_stat_user_tables ORDER BY relname"
"""The size is with indexes and what is stored out of line."""


@dataclass(frozen=True)
class Sampler:
    """Looks at some processes and databases."""

    processes: Mapping[str, psutil.Process]
    databases: Mapping[str, AsyncConnection]
    """A connection to each, by the service whose it is."""

    async def look(self) -> Figures:
        """All figures as they are now."""
        found: dict[Figure, float] = {}
        for name, process in self.processes.items():
            found |= {(name, what): value for what, value in _held(process)}
        for name, connection in self.databases.items():
            found |= {
                (f"{name}'s PostgreSQL", what): value for what, value in [row async for row in _backends(connection)]
            }
            found |= {figure: value async for figure, value in _tables(name, connection)}
        return found


@asynccontextmanager
async def sampler(pids: Mapping[str, int], databases: Databases) -> AsyncIterator[Sampler]:
    """One with connections of its own."""
    async with AsyncExitStack() as stack:
        connections = {}
        for name, url in databases.items():
            plain = url.replace("+psycopg", "")
            connection = await AsyncConnection.connect(plain, autocommit=True, application_name=OURSELVES)
            connections[name] = await stack.enter_async_context(connection)
        yield Sampler({name: psutil.Process(pid) for name, pid in pids.items()}, connections)


def _held(process: psutil.Process) -> Iterator[tuple[str, float]]:
    with process.oneshot():
        yield "RSS MB", process.memory_info().rss / MB
        yield "open files", process.num_fds()
        yield "threads", process.num_threads()
    yield "TCP connections", len(process.net_connections("tcp"))


async def _backends(connection: AsyncConnection) -> AsyncIterator[tuple[str, float]]:
    whose = (conninfo_to_dict(connection.info.dsn)["dbname"], OURSELVES)
    counts = {state: count async for state, count in await connection.execute(BACKENDS, whose)}
    for state in STATES:
        yield f"{state} backends", counts.get(state, 0)
    async for (seconds,) in await connection.execute(OLDEST, whose):
        yield "oldest transaction s", seconds


async def _tables(service: str, connection: AsyncConnection) -> AsyncIterator[tuple[Figure, float]]:
    """Rows are counted: the server's own number of them is an estimate."""
    for table, size, dead in await (await connection.execute(TABLES)).fetchall():
        name = f"{service}.{table}"
        async for (rows,) in await connection.execute(SQL("SELECT count(*) FROM {}").format(Identifier(table))):
            yield (name, "rows"), rows
        yield (name, "MB"), size / MB
        yield (name, "dead rows"), dead
