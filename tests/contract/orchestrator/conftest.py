"""The stores of an orchestrator, each over copies of a database that is migrated once."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from graphmesh_chassis.database import open_database
from graphmesh_local import backends
from graphmesh_orchestrator.backend import MIGRATIONS
from graphmesh_orchestrator.checkpoints.group_commit import DEFER_SECONDS

from tests.contract.orchestrator.stores import SqlStores, Stores, open_sql_stores, open_stores


@pytest.fixture
def defer_seconds() -> float:
    """How long the group commit delays entries that no caller awaits."""
    return DEFER_SECONDS


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite database."""
    path = tmp_path_factory.mktemp("migrated") / "orchestrator.db"
    async with open_database(f"sqlite+aiosqlite:///{path}", MIGRATIONS):
        return path


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def migrated_name(postgres: backends.Postgres) -> AsyncIterator[str]:
    """The name of a migrated PostgreSQL database."""
    async with postgres.database() as url:
        async with open_database(url, MIGRATIONS):
            pass
        yield url.rpartition("/")[2]


@pytest.fixture
def sqlite_url(migrated_file: Path, tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{shutil.copy(migrated_file, tmp_path)}"


@pytest_asyncio.fixture
async def postgres_url(postgres: backends.Postgres, migrated_name: str) -> AsyncIterator[str]:
    async with postgres.database(template=migrated_name) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def sql_url(request: pytest.FixtureRequest) -> str:
    """The URL of a migrated database."""
    return str(request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url"))


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    """The URL of a migrated database; empty for the memory twins."""
    fixtures = {"sqlite": "sqlite_url", "postgresql": "postgres_url"}
    return str(request.getfixturevalue(fixtures[request.param])) if request.param in fixtures else ""


@pytest_asyncio.fixture
async def stores(store_url: str, defer_seconds: float) -> AsyncIterator[Stores]:
    async with open_stores(store_url, defer_seconds) as stores:
        yield stores


@pytest_asyncio.fixture
async def sql_stores(sql_url: str, defer_seconds: float) -> AsyncIterator[SqlStores]:
    """The stores in SQL, for what concerns statements, transactions and the checkpoint log."""
    async with open_sql_stores(sql_url, defer_seconds) as stores:
        yield stores
