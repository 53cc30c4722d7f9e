"""From a mesh to the files that Envoy runs on: a pure function of the mesh, the same on every machine."""

from collections.abc import Mapping

import yaml

from graphmesh_mesh.envoy.clusters import cds
from graphmesh_mesh.envoy.descriptors import DESCRIPTORS, descriptor_set
from graphmesh_mesh.envoy.documents import CDS, LDS, Document, config_source, extension, rds_file, socket
from graphmesh_mesh.envoy.listeners import lds
from graphmesh_mesh.envoy.routes import rds
from graphmesh_mesh.topology import Mesh

BOOTSTRAP = "bootstrap.yaml"
HEAP = "envoy.resource_monitors.fixed_heap"
MAX_HEAP_BYTES = 1024**3
MAX_CONNECTIONS = 10_000
"""Over these, new requests and connections are refused: large bodies and idle sockets cannot take Envoy down."""
HEADER = "# Rendered from deploy/mesh.yaml and the protos by `graphmesh render envoy`; edits are overwritten.\n"


def documents(mesh: Mesh) -> dict[str, Document]:
    """The YAML files, in the order in which a running Envoy should see them change: clusters before their routes."""
    routes = {rds_file(listener): {"resources": [table]} for listener, table in rds(mesh).items()}
    return {BOOTSTRAP: bootstrap(mesh), CDS: cds(mesh), LDS: lds(mesh), **routes}


def render(mesh: Mesh) -> dict[str, bytes]:
    """The content of every file, by name."""
    rendered = {name: encode(document) for name, document in documents(mesh).items()}
    return {DESCRIPTORS: descriptor_set(mesh), **rendered}


def encode(document: Mapping[str, object]) -> bytes:
    return (HEADER + yaml.safe_dump(document, sort_keys=False, width=120)).encode()


def bootstrap(mesh: Mesh) -> Document:
    """What cannot change without a restart: the admin's address, and where the rest is read from."""
    return {
        "node": {"id": "graphmesh", "cluster": "graphmesh"},
        "admin": {"address": socket(mesh.admin.address, mesh.admin.port)},
        "dynamic_resources": {"cds_config": config_source(CDS), "lds_config": config_source(LDS)},
        "overload_manager": {
            "resource_monitors": [heap(), connections()],
            "actions": [
                when_heap_is("envoy.overload_actions.shrink_heap", 0.9),
                when_heap_is("envoy.overload_actions.stop_accepting_requests", 0.95),
            ],
        },
    }


def heap() -> Document:
    return extension(
        HEAP, "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig", max_heap_size_bytes=MAX_HEAP_BYTES
    )


def connections() -> Document:
    return extension(
        "envoy.resource_monitors.global_downstream_max_connections",
        "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        max_active_downstream_connections=MAX_CONNECTIONS,
    )


def when_heap_is(action: str, full: float) -> Document:
    return {"name": action, "triggers": [{"name": HEAP, "threshold": {"value": full}}]}
