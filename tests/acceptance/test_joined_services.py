"""A graph and a service of two teams join a mesh by a descriptor set, and each effect happens once."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from graphmesh.orchestrator.v1 import Run, RunStatus
from graphmesh_chassis.errors import DependencyError
from graphmesh_client import Client
from graphmesh_contracts.service_handles import FOLDER_SETTING, service
from graphmesh_local.child_process import Child, State
from graphmesh_local.server_programs import ORCHESTRATOR
from graphmesh_local.spawning import Spawner

from tests.acceptance.local_mesh import LocalMesh, eventually, output, start_mesh, wait_until
from tests.acceptance.mesh_file import mesh_of
from tests.shipping.contract import NAME
from tests.shipping.team import Team, external_service, found_team, parcels

pytestmark = pytest.mark.asyncio(loop_scope="session")

SERVICE = "service"
GRAPH = Path(__file__).parents[1] / "shipping/graph.py"


@dataclass(frozen=True)
class Joined:
    """A mesh with a graph that calls an external service."""

    mesh: LocalMesh
    team: Team
    child: Child
    """The process of the service."""
    shipping: Any
    """The handles of the service."""

    async def parcels(self, order_id: str) -> list[str]:
        return await parcels(self.mesh.channel, self.shipping, order_id)

    async def release_when_dead(self, name: str) -> None:
        """Let effects be committed when a process has died."""
        child = self.child if name == SERVICE else self.mesh.running.child(name)
        await wait_until(lambda: child.state is not State.READY)
        self.team.hold.unlink()

    async def is_healthy(self) -> bool:
        with suppress(DependencyError):
            await self.parcels("none")
            return True
        return False

    async def kill(self, name: str) -> None:
        """Send SIGKILL to a process, and start it again."""
        if name != SERVICE:
            await self.mesh.kill(name)
            return await self.mesh.running.restart(name)
        self.child.kill()
        await self.child.wait()
        await self.child.start()
        return await self.child.wait_ready()


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def joined(tmp_path_factory: pytest.TempPathFactory, spawn: Spawner) -> AsyncIterator[Joined]:
    folder = tmp_path_factory.mktemp("joined")
    (folder / "team").mkdir()
    team = found_team(folder / "team")
    graphs = folder / "langgraph.json"
    graphs.write_text(json.dumps({"graphs": {name: f"{GRAPH}:{name}" for name in ("graph", "recall")}}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAPHMESH_ORCHESTRATOR_GRAPHS", str(graphs))
        patch.setenv(FOLDER_SETTING, str(folder / "state/contracts"))
        path = mesh_of(folder, ORCHESTRATOR)
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "include": ["team/mesh.yaml"]}))
        async with external_service(team) as child, start_mesh(folder, spawn, path) as mesh:
            yield Joined(mesh, team, child, service(NAME))


async def begin(client: Client, order_id: str) -> Run:
    return await client.create_run("graph", {"order_id": order_id, "city": "Riga"})


async def test_a_graph_calls_an_external_service(joined: Joined) -> None:
    """Effects, reads and streams, by handles that the mesh's descriptor set makes."""
    async with joined.mesh.client() as client:
        run = await client.wait_run((await begin(client, "o_1")).run_id, timeout=60)
    result = output(run)
    assert result["parcels"] == [result["parcel_id"]] == await joined.parcels("o_1")
    assert result["places"] == ["Riga", "Tartu"]


async def test_an_approved_call_of_an_external_service_is_made(joined: Joined) -> None:
    async with joined.mesh.client() as client:
        shipped = output(await client.wait_run((await begin(client, "o_2")).run_id, timeout=60))
        parked = await client.create_run(
            "recall", {"parcel_id": shipped["parcel_id"], "order_id": "o_2", "city": "Riga"}
        )
        parked = await client.wait_run(parked.run_id, timeout=60)
        assert parked.status == RunStatus.RUN_STATUS_INTERRUPTED
        assert await joined.parcels("o_2") == [shipped["parcel_id"]]
        [approval] = await client.approvals.find()
        await client.approvals.respond(approval.approval_id, approve=True)
        ended = await client.wait_run(parked.run_id, timeout=60)
    assert ended.status == RunStatus.RUN_STATUS_SUCCESS
    assert await joined.parcels("o_2") == []


@pytest.mark.parametrize("killed", [SERVICE, "envoy", ORCHESTRATOR])
async def test_an_effect_happens_once_though_a_process_dies_during_it(joined: Joined, killed: str) -> None:
    """The process dies while the service has the effect in an open transaction. A run that ends because the service is
    not back in time is continued on its thread."""
    await eventually(joined.is_healthy)
    joined.team.waiting.unlink(missing_ok=True)
    joined.team.hold.touch()
    try:
        async with joined.mesh.client(retry_timeout=60) as client:
            run = await begin(client, f"o_{killed}")
            await wait_until(joined.team.waiting.exists, 60)
            async with asyncio.TaskGroup() as group:
                group.create_task(joined.kill(killed))
                group.create_task(joined.release_when_dead(killed))
            ended = await client.wait_run(run.run_id, timeout=60)
            await eventually(joined.is_healthy)
            if ended.status == RunStatus.RUN_STATUS_ERROR:
                again = await client.create_run("graph", None, thread_id=run.thread_id)
                ended = await client.wait_run(again.run_id, timeout=60)
    finally:
        joined.team.hold.unlink(missing_ok=True)
    [parcel] = await joined.parcels(f"o_{killed}")
    assert output(ended)["parcels"] == [output(ended)["parcel_id"]] == [parcel]
