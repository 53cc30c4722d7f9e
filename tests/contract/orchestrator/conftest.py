"""The orchestrator's tables, on both databases (C5)."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from graphmesh_chassis.database import Database, open_database
from graphmesh_orchestrator.__main__ import MIGRATIONS
from graphmesh_orchestrator.checkpoints import GroupCommit


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite+aiosqlite:///{tmp_path}/orchestrator.db"


@pytest_asyncio.fixture
async def database(url: str) -> AsyncIterator[Database]:
    async with open_database(url, MIGRATIONS) as database:
        yield database


@pytest_asyncio.fixture
async def commits(database: Database) -> AsyncIterator[GroupCommit]:
    async with GroupCommit(database).running() as commits:
        yield commits
