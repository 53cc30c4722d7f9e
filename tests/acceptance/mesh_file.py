"""A mesh.yaml with some of the services of the real one."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from graphmesh_chassis.testing.bad_fields import rpcs_of
from graphmesh_local.server_programs import ORCHESTRATOR
from graphmesh_mesh.sample import MESH_FILE


def patient(service: Mapping[str, Any]) -> dict[str, Any]:
    """Return a service's entry of mesh.yaml with timeouts that its calls keep on any machine."""
    package, _, name = service["service"].rpartition(".")
    handle = getattr(importlib.import_module(package), name)
    return {**service, "methods": {rpc.method: {"timeout": "60s"} for rpc in rpcs_of(handle)}}


def mesh_of(
    folder: Path,
    *names: str,
    edge: str = "orchestrator",
    are_patient: bool = False,
    **changes: Mapping[str, Any],
) -> Path:
    """Write a mesh.yaml with only these services of the real one, and with `changes` of some of them.

    Args:
        are_patient: whether calls of the services, except for the orchestrator, may take long.
    """
    whole = yaml.safe_load(MESH_FILE.read_text())
    del whole["roles"]  # they name tools of all services
    services = {name: {**whole["services"][name], **changes.get(name, {})} for name in names}
    if are_patient:
        services |= {name: patient(services[name]) for name in names if name != ORCHESTRATOR}
    path = folder / "mesh.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                **whole,
                "edge": {**whole["edge"], "services": [edge]},
                "services": services,
                "environments": {},
            }
        )
    )
    return path
