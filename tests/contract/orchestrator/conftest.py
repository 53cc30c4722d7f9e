"""The stores of an orchestrator."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from graphmesh_orchestrator.checkpoints.group_commit import DEFER_SECONDS

from tests.contract.orchestrator.stores import SqlStores, Stores, open_sql_stores, open_stores


@pytest.fixture
def defer_seconds() -> float:
    """How long the group commit delays entries that no caller awaits."""
    return DEFER_SECONDS


@pytest.fixture
def postgres_url(migrated_postgres_url: str) -> str:
    return migrated_postgres_url


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    """The URL of a migrated database; empty for the memory twins."""
    fixtures = {"sqlite": "migrated_sqlite_url", "postgresql": "migrated_postgres_url"}
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
