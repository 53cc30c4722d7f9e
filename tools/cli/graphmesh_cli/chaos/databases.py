"""Where the services of a trial keep what the checker reads."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from graphmesh_cli.backends import postgres
from graphmesh_cli.state import StateFolder

SERVICES = ("orchestrator", "billing", "ticketing")

Databases = Mapping[str, str]
"""The SQLAlchemy URL of each service's database."""


def in_folder(state: Path) -> Databases:
    """SQLite files in the trial's folder, where they stay."""
    folder = StateFolder(state).databases
    return {name: f"sqlite+aiosqlite:///{folder / name}.db" for name in SERVICES}


@asynccontextmanager
async def on_postgres() -> AsyncIterator[Databases]:
    """Databases on a PostgreSQL server of their own, as durable as it comes; they go with it."""
    async with postgres() as server, AsyncExitStack() as stack:
        yield {name: await stack.enter_async_context(server.database()) for name in SERVICES}


def settings_of(databases: Databases) -> dict[str, str]:
    """The environment variables that tell the servers."""
    return {f"GRAPHMESH_{name.upper()}_DATABASE_URL": url for name, url in databases.items()}
