"""Edits of mesh.yaml while the mesh runs: what is applied to Envoy, and what needs a restart."""

from pathlib import Path
from typing import Any

import yaml
from graphmesh_local import topology_watcher
from graphmesh_local.state_folder import StateFolder
from graphmesh_local.topology_watcher import MeshSource
from graphmesh_mesh.contracts import contract_files
from graphmesh_mesh.envoy.folder import write

RATE = {"calls": 60, "period": "60s"}


def test_edits_of_rates_need_a_restart(tmp_path: Path) -> None:
    """Servers read them at their start, and Envoy has no part in them."""
    path, folder = tmp_path / "mesh.yaml", StateFolder(tmp_path / "state")

    def edit(**changes: Any) -> None:
        service = {"service": "graphmesh.orchestrator.v1.RunService", "module": "graphmesh_orchestrator", "port": 4}
        listeners = {name: {"port": port} for port, name in enumerate(("edge", "mesh", "admin"), 1)}
        orchestrator = service | {"policy": changes.pop("policy", {})}
        path.write_text(yaml.safe_dump(listeners | {"services": {"orchestrator": orchestrator}} | changes))

    def applied() -> str:
        return topology_watcher._apply(source, folder)

    edit()
    source = MeshSource(path, "", free_ports=True)
    mesh = source.start()
    write(folder.envoy, source.render(mesh), mode=0o600)
    write(folder.contracts, contract_files(mesh), mode=0o600)
    edit(graphs={"support": {"tenant_rate": RATE}})
    restart = ", but no setting of Envoy; restart the mesh to apply it to servers"
    assert applied() == restart
    edit(graphs={"support": {"tenant_rate": RATE}}, policy={"tenantRate": RATE})
    assert applied() == restart
