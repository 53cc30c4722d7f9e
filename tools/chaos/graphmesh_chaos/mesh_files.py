"""The input files of a mesh for experiments: the topology with only the services that the graphs call, and the registry
of the graphs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from graphmesh_local.child_process import reserve_port
from graphmesh_local.databases import SERVICES
from graphmesh_local.server_programs import ORCHESTRATOR
from graphmesh_mesh.sample import default_mesh_file
from graphmesh_mesh.topology import Mesh, load

PAYMENTS = "payments"
"""The name of the graph that charges money."""
PAYMENTS_FILE = Path(__file__).parent / "graphs" / "payments.py"
CONVERSATION = "conversation"
"""The name of the graph whose runs share threads."""
CONVERSATION_FILE = PAYMENTS_FILE.with_name("conversation.py")
DRAFTS_FILE = PAYMENTS_FILE.with_name("drafts.py")
"""Payments with an effect that no later execution repeats."""


def write_registry(folder: Path, graphs: Mapping[str, tuple[Path, str]]) -> Path:
    """A langgraph.json in `folder`, with the file and the variable of each graph."""
    path = folder.resolve() / "langgraph.json"
    entries = {name: f"{file.resolve()}:{variable}" for name, (file, variable) in graphs.items()}
    path.write_text(json.dumps({"dependencies": [], "graphs": entries}))
    return path


def write_topology(folder: Path, orchestrators: int, policy: Mapping[str, Any] | None = None) -> Path:
    """A mesh.yaml in `folder`: that many orchestrators, billing and ticketing, with `policy` where it is given."""
    topology = yaml.safe_load(default_mesh_file().read_text())
    del topology["roles"]  # they name tools of all services
    overrides = {"policy": policy} if policy else {}
    services = {name: {**topology["services"][name], **overrides} for name in SERVICES}
    services[ORCHESTRATOR] = {**topology["services"][ORCHESTRATOR], "replicas": orchestrators}
    path = folder / "mesh.yaml"
    path.write_text(yaml.safe_dump({**topology, "services": services, "environments": {}}))
    return path


def place_on_free_ports(path: Path) -> Mesh:
    """Give each listener and replica of a mesh.yaml a free port; returns the mesh that the file has then."""
    mesh = load(path).on_loopback(reserve_port)
    path.write_text(yaml.safe_dump(mesh.model_dump(mode="json")))
    return mesh
