"""The receiver of spans that `graphmesh up` starts where mesh.yaml names no collector."""

import os
import secrets
from importlib.util import find_spec

from graphmesh_mesh.service import Listener, Service
from graphmesh_mesh.telemetry import Telemetry
from graphmesh_mesh.topology import Mesh

from graphmesh_local.child_process import reserve_port
from graphmesh_local.state_folder import StateFolder

NAME = "telemetry"
MODULE = "graphmesh_telemetry"
SERVICE = "graphmesh.telemetry.v1.TelemetryService"
KEY_HEADER = "x-graphmesh-telemetry-key"
ALL = 1.0
"""The share of calls that are traced, unless mesh.yaml states one: on one machine, all of them."""


class TraceReceiver:
    """A service of the mesh with ports that stay the same at each edit of mesh.yaml."""

    def __init__(self) -> None:
        self._ports: tuple[int, int] | None = None
        self._key = secrets.token_urlsafe(32)
        """What the processes of the mesh export with, so that no other program of the machine does."""

    def added_to(self, mesh: Mesh) -> Mesh:
        """Return the mesh with the receiver, unless it has a collector, or a service of the receiver's name."""
        given = mesh.telemetry or Telemetry(traces=ALL)
        if given.collector or NAME in mesh.services or find_spec(MODULE) is None:
            return mesh
        if self._ports is None:
            self._ports = reserve_port(), reserve_port()
        port, otlp_port = self._ports
        service = Service(service=SERVICE, module=MODULE, port=port)
        collector = Listener(address="127.0.0.1", port=otlp_port)
        section = given.model_copy(update={"collector": collector, "headers": f"{KEY_HEADER}={self._key}"})
        return mesh.model_copy(update={"services": {**mesh.services, NAME: service}, "telemetry": section})


def export_settings(mesh: Mesh, name: str, folder: StateFolder) -> dict[str, str]:
    """Return the settings of a server for its spans, without its prefix; those of the user's environment stay."""
    telemetry = mesh.telemetry
    if telemetry is None or telemetry.collector is None:
        return {}
    target = telemetry.collector.target
    if name == NAME and mesh.services[name].service == SERVICE:
        return {"OTLP_LISTEN": target, "OTLP_KEY": dict(telemetry.header_pairs).get(KEY_HEADER, "")}
    if f"GRAPHMESH_{name.upper()}_TRACES" in os.environ:
        return {}
    return {
        "TRACES": "otlp",
        "OTLP_ENDPOINT": f"http://{target}",
        "OTLP_HEADERS": telemetry.headers,
        "TRACE_RATIO": str(telemetry.traces),
        "SPAN_FOLDER": str(folder.spans),
        **({} if NAME in mesh.services else {"METRICS": "otlp"}),
    }
