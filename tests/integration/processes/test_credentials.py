"""`graphmesh up`: clients in its folder find a token by themselves."""

import asyncio
import stat
from pathlib import Path

import pytest
from graphmesh_chassis.errors import Unauthenticated
from graphmesh_cli.app import app
from graphmesh_client import Client
from graphmesh_client.token import TOKEN_VARIABLE
from graphmesh_local.development_issuer import issue_token, revoke_token, token_id
from graphmesh_local.state_folder import StateFolder
from typer.testing import CliRunner

from tests.integration.processes.mesh_process import graphmesh_up
from tests.integration.processes.test_reload import GRAPH, MESH


async def test_clients_in_the_folder_of_a_mesh_find_their_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only those of its edge and of the tenant default; the file is private, and is deleted with the mesh."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    mesh, state, project = tmp_path / "mesh.yaml", tmp_path / ".graphmesh", tmp_path / "langgraph.json"
    mesh.write_text(MESH)
    (tmp_path / "agent.py").write_text(GRAPH)
    project.write_text('{"graphs": {"agent": "./agent.py:graph"}}')
    folder = StateFolder(state)
    async with graphmesh_up(mesh, state, "--graphs", str(project)) as process:
        edge = folder.read().edge
        assert stat.S_IMODE(folder.credentials.stat().st_mode) == 0o600
        async with Client(edge) as client:
            assert [graph.name for graph in await client.list_graphs()] == ["agent"]
        async with Client(edge, tenant="acme") as other:
            with pytest.raises(Unauthenticated):
                await other.list_graphs()
        token = issue_token(folder, "acme", "mira", ["admin"], 600)
        async with Client(edge, token=token) as named:
            assert await named.list_graphs()
            revoke_token(folder, token_id(token))
            with pytest.raises(Unauthenticated, match="the token is revoked"):
                await asyncio.wait_for(_list_until_refused(named), 60)
        while "RunService/ListGraphs" not in (listed := await asyncio.to_thread(_refusals, state)):
            await asyncio.sleep(0.1)
        assert ("UNAUTHENTICATED" in listed, "127.0.0.1" in listed) == (True, True)
        process.terminate()
        assert await process.wait() == 0
        assert not folder.credentials.exists()


def _refusals(state: Path) -> str:
    """Return what Envoy has refused, as `graphmesh audit` lists it."""
    return CliRunner().invoke(app, ["audit", "--state", str(state), "--service", "envoy", "--json"]).output


async def _list_until_refused(client: Client) -> None:
    while await client.list_graphs():
        await asyncio.sleep(0.05)
