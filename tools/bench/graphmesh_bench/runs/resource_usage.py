"""The resources that runs use besides time: counters of PostgreSQL and of the operating system."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psutil
from graphmesh_local.backends import Postgres
from psycopg import AsyncConnection

from graphmesh_bench.measures import cpu_seconds

COUNTERS = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint, pg_current_wal_insert_lsn() - '0/0'::pg_lsn"
"""The next transaction id, and the bytes of the write-ahead log. A transaction gets an id when it first writes, so ids
count write transactions at the moment of their beginning; `xact_commit` counts reads too, and up to a second late."""


@dataclass(frozen=True)
class ResourceUsage:
    """Used since the start of the server, or between two reads."""

    cpu: float
    """Seconds, of all processes but the client."""
    writes: int
    """Transactions that wrote."""
    wal: int
    """Bytes of the write-ahead log."""

    def __sub__(self, earlier: "ResourceUsage") -> "ResourceUsage":
        return ResourceUsage(self.cpu - earlier.cpu, self.writes - earlier.writes, self.wal - earlier.wal)


class UsageReader:
    """Reads the usage of one PostgreSQL server and of some processes."""

    def __init__(self, connection: AsyncConnection, postmaster: psutil.Process) -> None:
        self._connection, self._postmaster = connection, postmaster

    async def read(self, processes: Sequence[psutil.Process]) -> ResourceUsage:
        """CPU of these processes and of PostgreSQL, and the writes of all its clients."""
        cursor = await self._connection.execute(COUNTERS)
        row = await cursor.fetchone()
        assert row
        return ResourceUsage(cpu_seconds(processes) + self._postgres_seconds(), int(row[0]), int(row[1]))

    async def delay_flushes(self, milliseconds: float) -> None:
        """Make every flush of the write-ahead log take this much longer, as on a disk in a cloud."""
        for setting in (f"commit_delay = {round(milliseconds * 1000)}", "commit_siblings = 0"):
            await self._connection.execute(f"ALTER SYSTEM SET {setting}".encode())
        await self._connection.execute("SELECT pg_reload_conf()")

    def _postgres_seconds(self) -> float:
        """CPU of the server and its processes, including those that have ended."""
        ended = self._postmaster.cpu_times()
        return cpu_seconds(process_tree(self._postmaster)) + ended.children_user + ended.children_system


@asynccontextmanager
async def usage_reader(server: Postgres) -> AsyncIterator[UsageReader]:
    pid_file = (server.folder / "data" / "postmaster.pid").read_text()
    async with await AsyncConnection.connect(server.url(driver="postgresql"), autocommit=True) as connection:
        yield UsageReader(connection, psutil.Process(int(pid_file.split()[0])))


def process_tree(process: psutil.Process) -> list[psutil.Process]:
    """A process and its descendants."""
    return [process, *process.children(recursive=True)]
