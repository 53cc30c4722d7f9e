"""The databases of services, and those of the orchestrator: copies of one that is migrated once."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from graphmesh_chassis.database import open_database
from graphmesh_local import backends
from graphmesh_orchestrator.backend import MIGRATIONS


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database; empty for the in-memory twin."""
    match request.param:
        case "memory":
            return ""
        case "sqlite":
            return f"sqlite+aiosqlite:///{tmp_path}/service.db"
        case _:
            return str(request.getfixturevalue("postgres_url"))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite database of the orchestrator."""
    path = tmp_path_factory.mktemp("migrated") / "orchestrator.db"
    async with open_database(f"sqlite+aiosqlite:///{path}", MIGRATIONS):
        return path


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def migrated_name(postgres: backends.Postgres) -> AsyncIterator[str]:
    """The name of a migrated PostgreSQL database of the orchestrator."""
    async with postgres.database() as url:
        async with open_database(url, MIGRATIONS):
            pass
        yield url.rpartition("/")[2]


@pytest.fixture
def migrated_sqlite_url(migrated_file: Path, tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{shutil.copy(migrated_file, tmp_path)}"


@pytest_asyncio.fixture
async def migrated_postgres_url(postgres: backends.Postgres, migrated_name: str) -> AsyncIterator[str]:
    async with postgres.database(template=migrated_name) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def sql_url(request: pytest.FixtureRequest) -> str:
    """The URL of a migrated database of the orchestrator."""
    is_sqlite = request.param == "sqlite"
    return str(request.getfixturevalue("migrated_sqlite_url" if is_sqlite else "migrated_postgres_url"))
