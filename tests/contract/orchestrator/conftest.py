"""The stores of an orchestrator."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from graphmesh_orchestrator.checkpoints.group_commit import DEFER_SECONDS

from tests.contract.orchestrator.stores import SqlStores, Stores, open_sql_stores, open_stores


@pytest.fixture
def defer_seconds() -> float:
    """How long the group commit delays entries that no caller awaits."""
    return DEFER_SECONDS


@pytest_asyncio.fixture
async def stores(store_url: str, defer_seconds: float) -> AsyncIterator[Stores]:
    async with open_stores(store_url, defer_seconds) as stores:
        yield stores


@pytest.fixture(params=["sqlite", "postgresql"])
def sql_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite+aiosqlite:///{tmp_path}/orchestrator.db"


@pytest_asyncio.fixture
async def sql_stores(sql_url: str, defer_seconds: float) -> AsyncIterator[SqlStores]:
    """The stores in SQL, for what concerns statements, transactions and the checkpoint log."""
    async with open_sql_stores(sql_url, defer_seconds) as stores:
        yield stores
