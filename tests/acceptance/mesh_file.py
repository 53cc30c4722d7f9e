"""The mesh.yaml of the sample: with some of its services, or with patience."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from graphmesh_chassis.testing.bad_fields import rpcs_of
from graphmesh_contracts import method_policy
from graphmesh_local.server_programs import ORCHESTRATOR
from graphmesh_mesh.sample import MESH_FILE


def patient(service: Mapping[str, Any], seconds: int = 60) -> dict[str, Any]:
    """Return a service's entry of mesh.yaml with timeouts that its calls keep on any machine."""
    names = [name.rpartition(".") for name in (service["service"], *service.get("beside", ()))]
    handles = [getattr(importlib.import_module(package), name) for package, _, name in names]
    quick = [rpc for handle in handles for rpc in rpcs_of(handle) if method_policy(rpc.descriptor).timeout < seconds]
    return {**service, "methods": {rpc.method: {"timeout": f"{seconds}s"} for rpc in quick}}


def patient_mesh(folder: Path, seconds: int = 60) -> Path:
    """Write the mesh.yaml of the sample with timeouts that calls keep on any machine."""
    whole = yaml.safe_load(MESH_FILE.read_text())
    whole["services"] = {name: patient(service, seconds) for name, service in whole["services"].items()}
    whole["roles"] = str(MESH_FILE.resolve().parent / whole["roles"])
    path = folder / "mesh.yaml"
    path.write_text(yaml.safe_dump(whole))
    return path


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
