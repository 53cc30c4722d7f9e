"""Each server of a mesh is started with the proxy of its own list of hosts."""

from pathlib import Path

from graphmesh_local.server_programs import mesh_programs
from graphmesh_local.state_folder import StateFolder
from graphmesh_local.topology_watcher import own_listeners
from graphmesh_mesh.topology import parse

PROXIES = {"HTTP_PROXY", "HTTPS_PROXY"}
MESH = {
    "edge": {"port": 1},
    "mesh": {"port": 2},
    "admin": {"port": 3},
    "egress": {"address": "0.0.0.0", "workloads": {"model": {"port": 4}, "crm": {"port": 5}}},
    "services": {
        "orchestrator": {"service": "graphmesh.orchestrator.v1.RunService", "module": "runs", "port": 20},
        "model": {"service": "graphmesh.model.v1.ModelService", "module": "model", "port": 30, "replicas": 2},
        "crm": {"service": "graphmesh.crm.v1.CrmService", "command": ["crm", "{listen}"], "port": 40},
    },
}


def test_servers_get_the_proxy_of_their_own_list(tmp_path: Path) -> None:
    mesh = parse(MESH)
    programs = [one for group in mesh_programs(mesh, "", StateFolder(tmp_path), {}, {}) for one in group]
    found = {
        one.name: {name: value for name, value in one.env.items() if name in PROXIES or name.endswith("_EGRESS")}
        for one in programs
    }
    model = {"GRAPHMESH_MODEL_EGRESS": "http://127.0.0.1:4"}
    crm = dict.fromkeys(("GRAPHMESH_CRM_EGRESS", *PROXIES), "http://127.0.0.1:5")
    assert found == {"envoy": {}, "orchestrator": {}, "model-1": model, "model-2": model, "crm": crm}
    assert {"egress.workloads.model", "egress.workloads.crm"} <= set(own_listeners(mesh))
