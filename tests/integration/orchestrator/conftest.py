"""One mesh for each module, in which each test is a tenant of its own.

The modules that use it mark their tests with `pytest.mark.asyncio(loop_scope="module")`: a server belongs to one loop.
"""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
import structlog

from tests.integration.orchestrator.mesh import Mesh, serve_mesh


@pytest.fixture(scope="package", autouse=True)
def plain_tracebacks() -> Iterator[None]:
    """Log tracebacks without the values of variables, whose formatting takes seconds for each failed run."""
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], renderer])
    yield
    structlog.reset_defaults()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    async with serve_mesh(tmp_path_factory.mktemp("mesh")) as mesh:
        yield mesh


@pytest_asyncio.fixture(loop_scope="module")
async def mesh(shared_mesh: Mesh) -> AsyncIterator[Mesh]:
    """The mesh of the module, for a tenant of the test's own."""
    async with shared_mesh.as_new_tenant() as mesh:
        yield mesh
