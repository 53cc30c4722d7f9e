"""Two meshes for all acceptance tests: one that tests only call, and one whose processes they kill."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from graphmesh_cli.commands.sample_shop import load_sample_shop

from tests.acceptance.local_mesh import LocalMesh, mesh_of, start_mesh


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalMesh]:
    """The whole of deploy/mesh.yaml with the sample shop. Tests do not touch its processes."""
    async with start_mesh(tmp_path_factory.mktemp("mesh")) as mesh:
        await load_sample_shop(mesh.channel)
        yield mesh


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def session_mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalMesh]:
    """The services that a support request needs, and a customer. Tests use `killable_mesh` instead."""
    folder = tmp_path_factory.mktemp("killable_mesh")
    needed = mesh_of(folder, "orchestrator", "billing", "crm", "model", "retrieval", "ticketing")
    async with start_mesh(folder, needed) as mesh:
        await mesh.create_customer()
        yield mesh


@pytest_asyncio.fixture(loop_scope="session")
async def killable_mesh(session_mesh: LocalMesh) -> AsyncIterator[LocalMesh]:
    """A mesh whose processes a test may kill; dead ones are restarted before and after each test."""
    await session_mesh.restore()
    yield session_mesh
    await session_mesh.restore()
