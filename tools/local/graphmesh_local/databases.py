"""Databases of a mesh that is run for an experiment: SQLite files, or databases on servers that replicas share."""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

from graphmesh_local.backends import Postgres, Redis, postgres, redis
from graphmesh_local.state_folder import StateFolder

SERVICES = ("orchestrator", "billing", "ticketing")
"""The services whose databases an experiment reads."""

POSTGRES_SETTINGS = ("track_commit_timestamp=on",)
"""The settings of a PostgreSQL server from which the times of commits are read."""

DatabaseUrls = Mapping[str, str]
"""The SQLAlchemy URL of each service's database, by the service's name."""


@dataclass(frozen=True)
class SharedServers:
    """Servers that several orchestrators share."""

    postgres: Postgres
    redis: Redis


@asynccontextmanager
async def shared_servers(parent: Path | None = None) -> AsyncIterator[SharedServers]:
    """Run new servers; PostgreSQL is durable, so that it can be crashed, and keeps the times of commits.

    Its folder is created in `parent`; None: in the folder of temporary files.
    """
    async with postgres(settings=POSTGRES_SETTINGS, parent=parent) as database, redis() as bus:
        yield SharedServers(database, bus)


@asynccontextmanager
async def service_databases(shared: SharedServers | None, state: Path) -> AsyncIterator[DatabaseUrls]:
    """Create databases on the shared servers, dropped at the end; without servers, name SQLite files that are kept."""
    if shared is None:
        folder = StateFolder(state).databases
        yield {name: f"sqlite+aiosqlite:///{folder / name}.db" for name in SERVICES}
        return
    async with AsyncExitStack() as stack:
        yield {name: await stack.enter_async_context(shared.postgres.database()) for name in SERVICES}


def database_settings(databases: DatabaseUrls, shared: SharedServers | None) -> dict[str, str]:
    """Return the environment variables that set the services' databases, and Redis where it is shared."""
    redis_setting = {"GRAPHMESH_ORCHESTRATOR_REDIS_URL": shared.redis.url} if shared else {}
    return {f"GRAPHMESH_{name.upper()}_DATABASE_URL": url for name, url in databases.items()} | redis_setting


def crash_postgres(server: Postgres) -> None:
    """Kill one backend of the server, which then ends all others, drops every connection and recovers from its log."""
    _first_process(server).children()[0].kill()


def kill_postgres(server: Postgres) -> None:
    """Kill all processes of the server at once, as where its machine dies: nothing is shut down or sent any more."""
    first = _first_process(server)
    for process in [first, *first.children(recursive=True)]:  # each is the leader of a process group of its own
        with suppress(psutil.NoSuchProcess):
            process.kill()


def pause_replication(server: Postgres) -> None:
    """Pause the processes that send the server's log to its standbys, until they are continued or killed."""
    with psycopg.connect(server.url(driver="postgresql"), autocommit=True) as connection:
        for (pid,) in connection.execute("SELECT pid FROM pg_stat_replication"):
            psutil.Process(pid).suspend()


def promote(standby: Postgres) -> None:
    """Make a standby a server that accepts writes, when it has applied all that it received.

    Raises:
        psycopg.Error: it is no standby.
    """
    with psycopg.connect(standby.url(driver="postgresql"), autocommit=True) as connection:
        connection.execute("SELECT pg_promote()")


def _first_process(server: Postgres) -> psutil.Process:
    """The server's process that starts all others."""
    pid_file = (server.folder / "data" / "postmaster.pid").read_text()
    return psutil.Process(int(pid_file.split()[0]))


def client_ports(server: Postgres, pid: int) -> list[int]:
    """Return the local ports of the connections that a process has to the server."""
    sockets = psutil.Process(pid).net_connections()
    connected = (one for one in sockets if one.status == psutil.CONN_ESTABLISHED)
    return [one.laddr.port for one in connected if one.raddr.port == server.port]


def drop_connections(server: Postgres, ports: Collection[int]) -> None:
    """Terminate the connections that come to the server from these ports."""
    terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE client_port = ANY(%s)"
    with psycopg.connect(server.url(driver="postgresql"), autocommit=True) as connection:
        connection.execute(terminate, [list(ports)])
