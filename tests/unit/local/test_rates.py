"""The rates of a mesh on one machine: which process gets them, and that replicas count together."""

import json
from pathlib import Path

import pytest
from graphmesh_local.server_programs import mesh_programs
from graphmesh_local.state_folder import StateFolder
from graphmesh_mesh.errors import MeshError
from graphmesh_mesh.sample import MESH_FILE
from graphmesh_mesh.topology import Mesh, load

RATE = {"calls": 60, "period": "60s"}
SETTING = "GRAPHMESH_ORCHESTRATOR_GRAPH_RATES"


def with_rate(replicas: int = 1) -> Mesh:
    mesh = load(MESH_FILE).model_dump()
    mesh["services"]["orchestrator"] |= {"replicas": replicas}
    return Mesh.model_validate(mesh | {"graphs": {"support": {"tenant_rate": RATE}}})


def test_orchestrators_get_the_rates_of_graphs(tmp_path: Path) -> None:
    """With ports of their own too."""
    ports = iter(range(20_000, 30_000))
    for mesh in (with_rate(), with_rate().on_loopback(ports.__next__)):
        programs = [one for group in mesh_programs(mesh, "", StateFolder(tmp_path), {}, {}) for one in group]
        found = {one.name: json.loads(one.env[SETTING]) for one in programs if SETTING in one.env}
        assert found == {"orchestrator": {"support": RATE}}


def test_replicas_count_together(tmp_path: Path) -> None:
    with pytest.raises(MeshError, match="its rates are counted over 2 replicas: set GRAPHMESH_ORCHESTRATOR_REDIS_URL"):
        mesh_programs(with_rate(2), "", StateFolder(tmp_path), {}, {})


def test_a_mesh_without_an_orchestrator_has_no_rates_of_graphs(tmp_path: Path) -> None:
    mesh = with_rate()
    services = {name: one for name, one in mesh.services.items() if name != "orchestrator"}
    with pytest.raises(MeshError, match="counts their rates, and the mesh starts none"):
        mesh_programs(mesh.model_copy(update={"services": services}), "", StateFolder(tmp_path), {}, {})
