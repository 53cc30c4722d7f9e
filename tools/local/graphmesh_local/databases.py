"""Where the services of a trial keep what the checker reads, and what several orchestrators share."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

from graphmesh_local.backends import Postgres, Redis, postgres, redis
from graphmesh_local.state_folder import StateFolder

SERVICES = ("orchestrator", "billing", "ticketing")

Databases = Mapping[str, str]
"""The SQLAlchemy URL of each service's database."""


@dataclass(frozen=True)
class Servers:
    """What several orchestrators share."""

    postgres: Postgres
    redis: Redis


@asynccontextmanager
async def servers() -> AsyncIterator[Servers]:
    """New ones; PostgreSQL keeps what it has committed, whatever befalls it."""
    async with postgres() as database, redis() as wakeups:
        yield Servers(database, wakeups)


@asynccontextmanager
async def databases_of(shared: Servers | None, state: Path) -> AsyncIterator[Databases]:
    """On the servers, for as long as they are used; without them as SQLite files in the folder, where they stay."""
    if shared is None:
        folder = StateFolder(state).databases
        yield {name: f"sqlite+aiosqlite:///{folder / name}.db" for name in SERVICES}
        return
    async with AsyncExitStack() as stack:
        yield {name: await stack.enter_async_context(shared.postgres.database()) for name in SERVICES}


def settings_of(databases: Databases, shared: Servers | None) -> dict[str, str]:
    """The environment variables that tell the services."""
    wakeups = {"GRAPHMESH_ORCHESTRATOR_REDIS_URL": shared.redis.url} if shared else {}
    return {f"GRAPHMESH_{name.upper()}_DATABASE_URL": url for name, url in databases.items()} | wakeups


def crash(server: Postgres) -> None:
    """Kill one process of the server, which then ends all others, drops every connection and recovers from its log."""
    told = (server.folder / "data" / "postmaster.pid").read_text()
    psutil.Process(int(told.split()[0])).children()[0].kill()


def drop_connections(server: Postgres, pid: int) -> None:
    """End all connections that a process has to the server."""
    sockets = psutil.Process(pid).net_connections()
    connected = (one for one in sockets if one.status == psutil.CONN_ESTABLISHED)
    ports = [one.laddr.port for one in connected if one.raddr.port == server.port]
    ending = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE client_port = ANY(%s)"
    with psycopg.connect(server.url(driver="postgresql"), autocommit=True) as connection:
        connection.execute(ending, [ports])
