"""Samples of a mesh: the resources of its processes, the connections of PostgreSQL, and the size of its tables."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import psutil
from graphmesh_local.databases import DatabaseUrls
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier

from graphmesh_bench.soak.plan import Figure, Figures

MB = 1024 * 1024
APPLICATION = "graphmesh soak"
"""The application name of the sampler's own connections, which are not counted."""
STATES = ("active", "idle", "idle in transaction", "idle in transaction (aborted)")
BACKENDS = "SELECT state, count(*) FROM pg_stat_activity WHERE datname = %s AND application_name <> %s GROUP BY state"
OLDEST_TRANSACTION = """
SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float FROM pg_stat_activity
WHERE datname = %s AND application_name <> %s
"""
TABLES = "SELECT relname, pg_total_relation_size(relid), n_dead_tup FROM pg_stat_user_tables ORDER BY relname"
"""The size includes indexes and values that are stored out of line."""


@dataclass(frozen=True)
class Sampler:
    """Samples processes and databases."""

    processes: Mapping[str, psutil.Process]
    databases: Mapping[str, AsyncConnection]
    """A connection to the database of each service."""

    async def sample(self) -> Figures:
        """All figures as of now."""
        figures: dict[Figure, float] = {}
        for name, process in self.processes.items():
            figures |= {(name, measure): value for measure, value in _process_figures(process)}
        for name, connection in self.databases.items():
            server = f"{name}'s PostgreSQL"
            figures |= {(server, measure): value async for measure, value in _backend_figures(connection)}
            figures |= {figure: value async for figure, value in _table_figures(name, connection)}
        return figures


@asynccontextmanager
async def open_sampler(pids: Mapping[str, int], databases: DatabaseUrls) -> AsyncIterator[Sampler]:
    """A sampler with connections of its own."""
    async with AsyncExitStack() as stack:
        connections = {}
        for name, url in databases.items():
            plain = url.replace("+psycopg", "")
            connection = await AsyncConnection.connect(plain, autocommit=True, application_name=APPLICATION)
            connections[name] = await stack.enter_async_context(connection)
        yield Sampler({name: psutil.Process(pid) for name, pid in pids.items()}, connections)


def _process_figures(process: psutil.Process) -> Iterator[tuple[str, float]]:
    with process.oneshot():
        yield "RSS MB", process.memory_info().rss / MB
        yield "open files", process.num_fds()
        yield "threads", process.num_threads()
    yield "TCP connections", len(process.net_connections("tcp"))


async def _backend_figures(connection: AsyncConnection) -> AsyncIterator[tuple[str, float]]:
    filters = (conninfo_to_dict(connection.info.dsn)["dbname"], APPLICATION)
    counts = {state: count async for state, count in await connection.execute(BACKENDS, filters)}
    for state in STATES:
        yield f"{state} backends", counts.get(state, 0)
    async for (seconds,) in await connection.execute(OLDEST_TRANSACTION, filters):
        yield "oldest transaction s", seconds


async def _table_figures(service: str, connection: AsyncConnection) -> AsyncIterator[tuple[Figure, float]]:
    """Rows are counted, because the statistics of the server are an estimate."""
    for table, size, dead in await (await connection.execute(TABLES)).fetchall():
        name = f"{service}.{table}"
        async for (rows,) in await connection.execute(SQL("SELECT count(*) FROM {}").format(Identifier(table))):
            yield (name, "rows"), rows
        yield (name, "MB"), size / MB
        yield (name, "dead rows"), dead
