"""Where the services of a trial keep what the checker reads."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import psutil

from graphmesh_cli.backends import Postgres
from graphmesh_cli.state import StateFolder

SERVICES = ("orchestrator", "billing", "ticketing")

Databases = Mapping[str, str]
"""The SQLAlchemy URL of each service's database."""


@asynccontextmanager
async def databases_of(server: Postgres | None, state: Path) -> AsyncIterator[Databases]:
    """On the server, for as long as they are used; without one as SQLite files in the folder, where they stay."""
    if server is None:
        folder = StateFolder(state).databases
        yield {name: f"sqlite+aiosqlite:///{folder / name}.db" for name in SERVICES}
        return
    async with AsyncExitStack() as stack:
        yield {name: await stack.enter_async_context(server.database()) for name in SERVICES}


def settings_of(databases: Databases) -> dict[str, str]:
    """The environment variables that tell the servers."""
    return {f"GRAPHMESH_{name.upper()}_DATABASE_URL": url for name, url in databases.items()}


def crash(server: Postgres) -> None:
    """Kill one process of the server, which then ends all others, drops every connection and recovers from its log."""
    told = (server.folder / "data" / "postmaster.pid").read_text()
    psutil.Process(int(told.split()[0])).children()[0].kill()
