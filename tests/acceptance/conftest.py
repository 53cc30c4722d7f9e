"""Two meshes for all acceptance tests: one that tests only call, and one whose processes they kill.

All meshes start their services as forks of one process.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from graphmesh_cli.commands.sample_shop import load_sample_shop
from graphmesh_local.fork_client import fork_spawner
from graphmesh_local.spawning import Spawner
from graphmesh_mesh.sample import MESH_FILE
from graphmesh_mesh.topology import load

from tests.acceptance import wheel_environment as wheel_environments
from tests.acceptance.local_mesh import LocalMesh, start_mesh
from tests.acceptance.mesh_file import mesh_of, patient_mesh
from tests.acceptance.wheel_environment import WheelEnvironment


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def spawn() -> AsyncIterator[Spawner]:
    """Starts the services of deploy/mesh.yaml without their imports, which take seconds."""
    async with fork_spawner(sorted({service.module or "" for service in load(MESH_FILE).services.values()})) as spawn:
        yield spawn


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def mesh(tmp_path_factory: pytest.TempPathFactory, spawn: Spawner) -> AsyncIterator[LocalMesh]:
    """The whole of deploy/mesh.yaml, with patience, and with the sample shop. Tests do not touch its processes."""
    folder = tmp_path_factory.mktemp("mesh")
    async with start_mesh(folder, spawn, patient_mesh(folder)) as mesh:
        await load_sample_shop(mesh.channel)
        yield mesh


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def session_mesh(tmp_path_factory: pytest.TempPathFactory, spawn: Spawner) -> AsyncIterator[LocalMesh]:
    """The services that a support request needs, with a customer. Tests use `killable_mesh`."""
    folder = tmp_path_factory.mktemp("killable_mesh")
    names = ("orchestrator", "billing", "crm", "model", "retrieval", "ticketing")
    async with start_mesh(folder, spawn, mesh_of(folder, *names)) as mesh:
        await mesh.create_customer()
        yield mesh


@pytest_asyncio.fixture(loop_scope="session")
async def killable_mesh(session_mesh: LocalMesh) -> AsyncIterator[LocalMesh]:
    """A mesh whose processes a test may kill; dead ones are restarted before and after each test."""
    await session_mesh.restore()
    yield session_mesh
    await session_mesh.restore()


@pytest.fixture(scope="session")
def wheel_environment(tmp_path_factory: pytest.TempPathFactory) -> WheelEnvironment:
    """An environment in which only wheels of this repository are installed."""
    return wheel_environments.make(tmp_path_factory.mktemp("wheels"))
