"""Hostile clients of every kind: another tenant's calls have no error."""

import stat
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from graphmesh_chaos.attacks import ATTACKS
from graphmesh_chaos.hostile_clients import PROGRAMS, attacked_mesh
from graphmesh_chaos.watcher import attacking, observe
from graphmesh_local.fork_client import fork_spawner
from graphmesh_local.running_mesh import RunningMesh

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

ROUNDS = 7


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningMesh]:
    async with fork_spawner(PROGRAMS) as spawn, attacked_mesh(tmp_path_factory.mktemp("mesh") / "state", spawn) as mesh:
        yield mesh


async def test_only_the_user_reads_the_state_folder(mesh: RunningMesh) -> None:
    assert stat.S_IMODE(mesh.folder.path.stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ATTACKS)
async def test_another_tenant_has_no_error(mesh: RunningMesh, name: str) -> None:
    """Its rounds of calls all succeed. `graphmesh chaos --attacks` reports their times."""
    async with attacking(mesh, name):
        observation = await observe(mesh.edge, ROUNDS)
    assert not observation.errors
    assert len(observation.seconds) == ROUNDS
