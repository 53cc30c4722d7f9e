"""Backends for every suite: one real PostgreSQL and one real Redis per process, started when a test first asks."""

import os
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from graphmesh_local import backends
from graphmesh_local.die_with_parent import bind
from xdist.remote import Producer
from xdist.workermanage import WorkerController

from tests.parallel import Spread


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Spread | None:
    """The one of `--numprocesses`; each other one can be had with `--dist`."""
    return Spread(config, log) if config.getoption("dist") == "load" else None


def pytest_configure_node(node: WorkerController) -> None:
    """Tell a worker whose it is."""
    node.workerinput["controller"] = os.getpid()


def pytest_configure(config: pytest.Config) -> None:
    """A worker dies with the process that started it, and with the worker all that its tests have started."""
    if worker := getattr(config, "workerinput", None):
        bind(worker["controller"], signal.SIGKILL)


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
