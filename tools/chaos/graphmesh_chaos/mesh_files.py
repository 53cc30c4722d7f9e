"""The input files of a mesh for experiments: the topology with only the services that the graphs call, and the registry
of the graphs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from graphmesh_local.databases import SERVICES
from graphmesh_local.running_mesh import MESH_FILE, ORCHESTRATOR

PAYMENTS = "payments"
"""The name of the graph that charges money."""
PAYMENTS_FILE = Path(__file__).parent / "graphs" / "payments.py"
GRAPHS_SETTING = "GRAPHMESH_ORCHESTRATOR_GRAPHS"
"""The environment variable with the path of the registry."""


def write_registry(folder: Path, graphs: Mapping[str, tuple[Path, str]]) -> Path:
    """A langgraph.json in `folder`, with the file and the variable of each graph."""
    path = folder.resolve() / "langgraph.json"
    entries = {name: f"{file.resolve()}:{variable}" for name, (file, variable) in graphs.items()}
    path.write_text(json.dumps({"dependencies": [], "graphs": entries}))
    return path


def write_topology(folder: Path, orchestrators: int, policy: Mapping[str, Any] | None = None) -> Path:
    """A mesh.yaml in `folder`: that many orchestrators, billing and ticketing, with `policy` where it is given."""
    topology = yaml.safe_load(MESH_FILE.read_text())
    overrides = {"policy": policy} if policy else {}
    services = {name: {**topology["services"][name], **overrides} for name in SERVICES}
    services[ORCHESTRATOR] = {**topology["services"][ORCHESTRATOR], "replicas": orchestrators}
    path = folder / "mesh.yaml"
    path.write_text(yaml.safe_dump({**topology, "services": services, "environments": {}}))
    return path
