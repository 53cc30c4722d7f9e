"""Edits of mesh.yaml while the mesh runs: what is applied to Envoy, and what needs a restart."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml
from graphmesh_local import topology_watcher
from graphmesh_local.state_folder import StateFolder
from graphmesh_local.topology_watcher import MeshSource
from graphmesh_mesh.contracts import contract_files
from graphmesh_mesh.envoy.folder import write

RATE = {"calls": 60, "period": "60s"}


def edit(path: Path, **changes: Any) -> None:
    service = {"service": "graphmesh.orchestrator.v1.RunService", "module": "graphmesh_orchestrator", "port": 4}
    listeners = {name: {"port": port} for port, name in enumerate(("edge", "mesh", "admin"), 1)}
    orchestrator = service | {"policy": changes.pop("policy", {})}
    path.write_text(yaml.safe_dump(listeners | {"services": {"orchestrator": orchestrator}} | changes))


def test_edits_of_rates_need_a_restart(tmp_path: Path) -> None:
    """Servers read them at their start, and Envoy has no part in them."""
    path, folder = tmp_path / "mesh.yaml", StateFolder(tmp_path / "state")

    def applied() -> str:
        return topology_watcher._apply(source, folder)

    edit(path)
    source = MeshSource(path, "", free_ports=True)
    mesh = source.start()
    write(folder.envoy, source.render(mesh), mode=0o600)
    write(folder.contracts, contract_files(mesh), mode=0o600)
    edit(path, graphs={"support": {"tenant_rate": RATE}})
    restart = ", but no setting of Envoy; restart the mesh to apply it to servers"
    assert applied() == restart
    edit(path, graphs={"support": {"tenant_rate": RATE}}, policy={"tenantRate": RATE})
    assert applied() == restart


async def test_edits_are_applied_after_one_that_could_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever has failed, as on a full disk. The first edit is made while the mesh starts."""
    monkeypatch.setattr(topology_watcher, "POLL_SECONDS", 0.01)
    path, folder, notes = tmp_path / "mesh.yaml", StateFolder(tmp_path / "state"), asyncio.Queue[str]()
    edit(path)
    source = MeshSource(path, "", free_ports=True)
    write(folder.envoy, source.render(source.start()), mode=0o600)
    folder.contracts.write_text("is no folder")
    edit(path, graphs={"support": {"tenant_rate": RATE}})
    async with topology_watcher.applying_edits(source, folder, notes.put_nowait), asyncio.timeout(120):
        assert "mesh.yaml changed, but the change is not applied: " in await notes.get()
        folder.contracts.unlink()
        edit(path, graphs={"other": {"tenant_rate": RATE}})
        assert "mesh.yaml changed, but no setting of Envoy" in await notes.get()
