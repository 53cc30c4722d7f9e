"""Backends for every suite: one real PostgreSQL and one real Redis per test process, started at first use."""

import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Generator, Iterator

import pytest
import pytest_asyncio
from graphmesh_local import backends
from graphmesh_local.die_with_parent import set_parent_death_signal
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.workermanage import WorkerController

from tests.parallel import SharedFixtureScheduling

settings.register_profile("graphmesh", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("graphmesh")  # no test depends on the speed of the machine

BACKEND_FIXTURES = {"postgres", "postgres_url", "redis_url"}
BACKEND_PARAMETER = "postgresql"
"""The parameter by which a fixture requests a database on the server."""


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> SharedFixtureScheduling | None:
    """Return the default scheduler of `--numprocesses`; `--dist` selects another one."""
    return SharedFixtureScheduling(config, log) if config.getoption("dist") == "load" else None


def pytest_xdist_auto_num_workers() -> int:
    """Return one process more than the machine has cores: many tests wait, for leases and processes, without CPU."""
    return (os.cpu_count() or 1) + 1


def pytest_configure_node(node: WorkerController) -> None:
    """Pass the controller's pid to a worker."""
    node.workerinput["controller"] = os.getpid()


def pytest_configure(config: pytest.Config) -> None:
    """Have a worker die with its controller, and with the worker all that its tests have started."""
    config.addinivalue_line("markers", "backend: needs a PostgreSQL or Redis server; set on every test that has one")
    if worker := getattr(config, "workerinput", None):
        set_parent_death_signal(worker["controller"], signal.SIGKILL)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None]:
    """Collect tests without garbage collection, which later does not visit modules and tests either.

    A full one takes a second where tests share the cores, in which no event loop of the process does anything, so that
    calls miss their deadlines. They are a tenth as frequent as by default.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(700, 10, 100)
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that start a server; `make test-fast` leaves them out."""
    for item in items:
        if isinstance(item, pytest.Function) and needs_backend(item):
            item.add_marker("backend")


def needs_backend(test: pytest.Function) -> bool:
    """Whether a fixture or a parameter of the test is a PostgreSQL or Redis server."""
    parameters = test.callspec.params.values() if hasattr(test, "callspec") else ()
    requests_database = any(isinstance(value, str) and value == BACKEND_PARAMETER for value in parameters)
    return requests_database or not BACKEND_FIXTURES.isdisjoint(test.fixturenames)


@pytest.fixture(autouse=True)
def _forgotten_projects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Forget the modules of projects that a test has written, so that those of the next one may have the same names."""
    before = set(sys.modules)
    yield
    folder = str(tmp_path_factory.getbasetemp())
    for name in sys.modules.keys() - before:
        paths = [getattr(sys.modules[name], "__file__", None), *getattr(sys.modules[name], "__path__", ())]
        if any(path and path.startswith(folder) for path in paths):
            del sys.modules[name]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres() -> AsyncIterator[backends.Postgres]:
    """The server. Most tests use `postgres_url` instead."""
    async with backends.postgres(durable=False) as server:
        yield server


@pytest_asyncio.fixture
async def postgres_url(postgres: backends.Postgres) -> AsyncIterator[str]:
    """The URL (`postgresql+psycopg://…`) of a new, empty database."""
    async with postgres.database() as url:
        yield url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def redis_url() -> AsyncIterator[str]:
    """The URL of the Redis server that all tests of the session share."""
    try:
        async with backends.redis() as server:
            yield server.url
    except backends.BackendMissing as missing:
        pytest.skip(f"no Redis server for this machine: {missing}")
