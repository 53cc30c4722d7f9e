"""Render a mesh to Envoy's files: a pure function of the mesh, with the same result on every machine."""

import hashlib
from collections.abc import Mapping

import yaml

from graphmesh_mesh.envoy.access_log import bound_files
from graphmesh_mesh.envoy.clusters import DEFAULT_SETTINGS, ClusterSettings, cds
from graphmesh_mesh.envoy.descriptors import DESCRIPTORS, descriptor_set
from graphmesh_mesh.envoy.documents import (
    CDS,
    LDS,
    Document,
    config_source,
    extension,
    rds_file,
    seconds,
    socket,
    typed,
)
from graphmesh_mesh.envoy.egress import egress_routes, listener_name
from graphmesh_mesh.envoy.limits import Limits
from graphmesh_mesh.envoy.listeners import lds
from graphmesh_mesh.envoy.mutual_tls import secrets
from graphmesh_mesh.envoy.routes import rds
from graphmesh_mesh.envoy.tokens import discovered_filters
from graphmesh_mesh.envoy.workloads import workload_files
from graphmesh_mesh.errors import MeshError
from graphmesh_mesh.openapi.document import OPENAPI, openapi
from graphmesh_mesh.topology import Mesh

BOOTSTRAP = "bootstrap.yaml"
HEAP = "envoy.resource_monitors.fixed_heap"
RESET_HEAP = {"scaling_threshold": 0.4, "saturation_threshold": 0.8}
"""The fractions of the heap between which Envoy resets the streams that buffer the most, so that uploads that
clients keep open never make it refuse the small requests of others."""
LARGE_STREAM_POWER = 20
"""The binary logarithm of the smallest buffer of a stream that may be reset: 1 MiB."""
CONNECTIONS = "envoy.resource_monitors.global_downstream_max_connections"
REFRESH_SECONDS = 0.02
CROWDED_PERCENT = 1
"""The part of the idle time that remains where there are twice as many connections as a crowd."""
HEADER = "# Rendered from deploy/mesh.yaml and the protos by `graphmesh render envoy`; edits are overwritten.\n"


def documents(
    mesh: Mesh, settings: ClusterSettings = DEFAULT_SETTINGS, openapi_digest: str = ""
) -> dict[str, Document]:
    """Return the YAML files in the order in which a running Envoy must load changes: clusters before their routes."""
    tables = {**rds(mesh, openapi_digest), **(egress_routes(mesh.egress) if mesh.egress else {})}
    routes = {rds_file(listener): {"resources": [table]} for listener, table in tables.items()}
    filters = discovered_filters(mesh) if mesh.edge.identity == "tokens" else {}
    if tls := mesh.mesh.tls:
        filters |= {**secrets(tls), **workload_files(mesh, tls)}
    bounds = bound_files(["edge", "mesh", *map(listener_name, workloads(mesh))])
    loaded = {CDS: cds(mesh, settings), **filters, **bounds, LDS: lds(mesh, settings.limits), **routes}
    return {BOOTSTRAP: bootstrap(mesh, settings.limits), **loaded}


def render(mesh: Mesh, settings: ClusterSettings = DEFAULT_SETTINGS) -> dict[str, bytes]:
    """Return the content of every file, by name.

    Raises:
        MeshError: a service calls others, and the mesh has nothing by which it recognizes callers.
    """
    if mesh.mesh.tls is None and (calling := [name for name, service in mesh.services.items() if service.calls]):
        raise MeshError(f"services.{calling[0]}.calls: only with mesh.tls, which recognizes the service")
    document = openapi(mesh)
    digest = hashlib.sha256(document).hexdigest()
    rendered = {name: encode(one) for name, one in documents(mesh, settings, digest).items()}
    return {DESCRIPTORS: descriptor_set(mesh), OPENAPI: document, **rendered}


def encode(document: Mapping[str, object]) -> bytes:
    return (HEADER + yaml.safe_dump(document, sort_keys=False, width=120)).encode()


def bootstrap(mesh: Mesh, limits: Limits) -> Document:
    """The part that changes with a restart only: the admin listener, and the files of the dynamic configuration."""
    return {
        "node": {"id": "graphmesh", "cluster": "graphmesh"},
        "admin": {"address": socket(mesh.admin.address, mesh.admin.port), "ignore_global_conn_limit": True},
        "dynamic_resources": {"cds_config": config_source(CDS), "lds_config": config_source(LDS)},
        "layered_runtime": {"layers": [{"name": "static", "static_layer": runtime(mesh, limits)}]},
        "overload_manager": {
            "refresh_interval": seconds(REFRESH_SECONDS),
            "resource_monitors": [heap(limits.process.heap_bytes), connections(mesh, limits)],
            "buffer_factory_config": {"minimum_account_to_track_power_of_two": LARGE_STREAM_POWER},
            "actions": [
                {
                    "name": "envoy.overload_actions.reset_high_memory_stream",
                    "triggers": [{"name": HEAP, "scaled": RESET_HEAP}],
                },
                crowd(mesh, limits),
                at_heap_usage("envoy.overload_actions.shrink_heap", 0.9),
                at_heap_usage("envoy.overload_actions.stop_accepting_requests", 0.95),
                at_heap_usage("envoy.overload_actions.reject_incoming_connections", 0.98),
            ],
        },
    }


def heap(max_bytes: int) -> Document:
    return extension(
        HEAP, "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig", max_heap_size_bytes=max_bytes
    )


def runtime(mesh: Mesh, limits: Limits) -> Document:
    """Limits that Envoy takes from its runtime.

    Connections take turns: requests that a client sends at once on one of them do not delay those of other clients.
    """
    listeners = (
        ("edge", limits.edge.connections),
        ("mesh", limits.mesh.connections),
        *((listener_name(name), limits.egress.connections) for name in workloads(mesh)),
    )
    return {
        "http.max_requests_per_io_cycle": limits.process.requests_a_cycle,
        "overload.premature_reset_total_stream_count": limits.process.resets,
        **{f"envoy.resource_limits.listener.{name}.connection_limit": count for name, count in listeners},
    }


def connections(mesh: Mesh, limits: Limits) -> Document:
    """The connections of all listeners together, whose own limits are in the runtime."""
    return extension(
        CONNECTIONS,
        "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        max_active_downstream_connections=max_connections(mesh, limits),
    )


def max_connections(mesh: Mesh, limits: Limits) -> int:
    return limits.edge.connections + limits.mesh.connections + limits.egress.connections * len(workloads(mesh))


def crowd(mesh: Mesh, limits: Limits) -> Document:
    """Close connections without a request sooner the more connections there are, so that they leave places free."""
    begins = limits.process.crowd / max_connections(mesh, limits)
    idle = {"timer": "HTTP_DOWNSTREAM_CONNECTION_IDLE", "min_scale": {"value": CROWDED_PERCENT}}
    config = typed("envoy.config.overload.v3.ScaleTimersOverloadActionConfig", timer_scale_factors=[idle])
    scaled = {"scaling_threshold": begins, "saturation_threshold": 2 * begins}
    return {
        "name": "envoy.overload_actions.reduce_timeouts",
        "triggers": [{"name": CONNECTIONS, "scaled": scaled}],
        "typed_config": config,
    }


def workloads(mesh: Mesh) -> list[str]:
    """Return the names of those that have a listener for calls out of the mesh."""
    return [name for name, *_ in mesh.egress.listening] if mesh.egress else []


def at_heap_usage(action: str, fraction: float) -> Document:
    return {"name": action, "triggers": [{"name": HEAP, "threshold": {"value": fraction}}]}
