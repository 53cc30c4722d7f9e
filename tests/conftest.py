"""Backends for every suite: one real PostgreSQL and one real Redis per session, started when a test first asks."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from graphmesh_cli import backends


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres() -> AsyncIterator[backends.Postgres]:
    """The server. Most tests want `postgres_url` instead."""
    async with backends.postgres(durable=False) as server:
        yield server


@pytest_asyncio.fixture
async def postgres_url(postgres: backends.Postgres) -> AsyncIterator[str]:
    """The URL (`postgresql+psycopg://…`) of an empty database of the test's own."""
    async with postgres.database() as url:
        yield url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def redis_url() -> AsyncIterator[str]:
    """The URL of a Redis server that all tests of the session share."""
    try:
        async with backends.redis() as server:
            yield server.url
    except backends.BackendMissing as missing:
        pytest.skip(f"no Redis server for this machine: {missing}")
