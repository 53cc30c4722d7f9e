"""A run that ends its processes ends itself after some of them, and the runs of another tenant succeed meanwhile."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from google.rpc.error_details_pb2 import ErrorInfo
from graphmesh.orchestrator.v1 import Run, RunStatus
from graphmesh_client import Client
from graphmesh_local.child_process import State
from graphmesh_local.running_mesh import RunningMesh, running_mesh
from graphmesh_local.spawning import Spawner
from graphmesh_local.supervisor import OnDeath

from tests.acceptance.local_mesh import output
from tests.acceptance.mesh_file import mesh_of
from tests.acceptance.poisoned_graphs import STEPS

pytestmark = pytest.mark.asyncio(loop_scope="session")

TIMEOUT = 150
NEIGHBOURS = 12
MAX_TAKEOVERS = 3


@pytest_asyncio.fixture(loop_scope="session")
async def mesh(
    tmp_path: Path, postgres_url: str, spawn: Spawner, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[RunningMesh]:
    """Three orchestrators, which are restarted when they die."""
    graphs = tmp_path / "langgraph.json"
    file = Path(__file__).parent / "poisoned_graphs.py"
    graphs.write_text(json.dumps({"graphs": {name: f"{file}:{name}" for name in ("poisoned", "counting")}}))
    monkeypatch.setenv("GRAPHMESH_ORCHESTRATOR_GRAPHS", str(graphs))
    monkeypatch.setenv("GRAPHMESH_ORCHESTRATOR_DATABASE_URL", postgres_url)
    monkeypatch.setenv("GRAPHMESH_ORCHESTRATOR_MAX_TAKEOVERS", str(MAX_TAKEOVERS))
    needed = mesh_of(tmp_path, "orchestrator", orchestrator={"replicas": 3, "ports": [], "policy": {}})
    async with running_mesh(
        needed, tmp_path / "state", free_ports=True, on_death=OnDeath.RESTART, spawn=spawn
    ) as running:
        yield running


@pytest.mark.parametrize("way", ["ends", "kills", "crashes", "exits"])
async def test_run_that_ends_its_process_does_not_end_all(mesh: RunningMesh, way: str) -> None:
    deaths: list[str] = []
    mesh.supervisor.subscribe(lambda child: deaths.append(child.program.name) if child.state is State.DIED else None)
    async with (
        Client(mesh.edge, tenant="quiet", retry_timeout=TIMEOUT, token=mesh.token("quiet")) as quiet,
        Client(mesh.edge, tenant="hostile", retry_timeout=TIMEOUT, token=mesh.token("hostile")) as hostile,
    ):
        neighbours = [await quiet.create_run("counting", {}) for _ in range(NEIGHBOURS)]
        attack = await hostile.create_run("poisoned", {"way": way})
        attack = await hostile.wait_run(attack.run_id, timeout=TIMEOUT)
        later = await quiet.create_run("counting", {})
        for run in (*neighbours, later):
            assert output(await quiet.wait_run(run.run_id, timeout=TIMEOUT)) == {"count": STEPS}
    assert attack.status == RunStatus.RUN_STATUS_ERROR
    if way == "exits":
        assert (reason(attack), deaths) == ("NODE_FAILED", [])
    else:
        assert reason(attack) == "RUN_POISONED"
        assert len(deaths) == MAX_TAKEOVERS + 1


def reason(run: Run) -> str:
    info = ErrorInfo()
    return next(str(info.reason) for detail in run.error.details if detail.Unpack(info))
