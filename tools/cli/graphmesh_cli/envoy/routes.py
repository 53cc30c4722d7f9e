"""RDS: a route for each method, with its deadline and what may be retried."""

from collections.abc import Iterable
from typing import Any

from google.protobuf.descriptor import MethodDescriptor
from graphmesh_contracts import Idempotency, MethodPolicy

from graphmesh_cli.envoy.documents import Document, seconds, typed
from graphmesh_cli.mesh import Edge, Mesh, Service

NEVER_SENT = "connect-failure,refused-stream,reset-before-request"
"""The only failures that Envoy retries: no replica has begun the call. Every other failure has another owner."""
INFRASTRUCTURE = (
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "grpc.health.v1.Health",
)
"""What every server has besides its own service."""


def rds(mesh: Mesh) -> dict[str, Document]:
    """Each listener's routes, by the listener's name; Envoy wants them in a file each."""
    return {"edge": edge_routes(mesh), "mesh": mesh_routes(mesh)}


def edge_routes(mesh: Mesh) -> Document:
    """What clients may call. Reflection and health are the first edge service's."""
    services = [(name, mesh.services[name]) for name in mesh.edge.services]
    known = [infrastructure(service, mesh.edge.services[0]) for service in INFRASTRUCTURE]
    return routes("edge", [*methods(services), *known], **cors(mesh.edge))


def mesh_routes(mesh: Mesh) -> Document:
    return routes("mesh", methods(mesh.services.items()))


def routes(name: str, known: list[Document], **host: Any) -> Document:
    return typed(
        "envoy.config.route.v3.RouteConfiguration",
        name=name,
        virtual_hosts=[{"name": name, "domains": ["*"], "routes": [*known, unknown()], **host}],
        validate_clusters=False,
    )


def methods(services: Iterable[tuple[str, Service]]) -> list[Document]:
    return [
        method_route(name, method, service.method_policies[method.name])
        for name, service in services
        for method in service.descriptor.methods
    ]


def method_route(cluster: str, method: MethodDescriptor, policy: MethodPolicy) -> Document:
    action = {"cluster": cluster, **deadline(policy.timeout), **retries(policy)}
    action["rate_limits"] = [{"actions": [{"generic_key": {"descriptor_key": "service", "descriptor_value": cluster}}]}]
    return {"match": {"path": f"/{method.containing_service.full_name}/{method.name}"}, "route": action}


def deadline(timeout: float) -> Document:
    """The caller's `grpc-timeout`, or where it is longer or absent, the policy's.

    `timeout` would cut streams and, unset, be 15 s; `idle_timeout`, unset, would cut a stream that is silent for 5 minutes.
    """
    whole = {"max_stream_duration": seconds(timeout), "grpc_timeout_header_max": seconds(timeout)}
    return {"timeout": "0s", "idle_timeout": "0s", "max_stream_duration": whole}


def retries(policy: MethodPolicy) -> Document:
    if policy.idempotency is Idempotency.UNKNOWN or policy.max_attempts == 1:
        return {}
    return {
        "retry_policy": {
            "retry_on": NEVER_SENT,
            "num_retries": policy.max_attempts - 1,
            "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": typed("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"),
                }
            ],
            "host_selection_retry_max_attempts": 3,
        }
    }


def infrastructure(service: str, cluster: str) -> Document:
    return {"match": {"prefix": f"/{service}/"}, "route": {"cluster": cluster, **deadline(3600)}}


def unknown() -> Document:
    """HTTP 404 is UNIMPLEMENTED to a gRPC client."""
    body = {"inline_string": "the mesh has no such method"}
    return {"match": {"prefix": "/"}, "direct_response": {"status": 404, "body": body}}


def cors(edge: Edge) -> Document:
    if not edge.origins:
        return {}
    policy = typed(
        "envoy.extensions.filters.http.cors.v3.CorsPolicy",
        allow_origin_string_match=[{"exact": origin} for origin in edge.origins],
        allow_methods="GET, POST, PUT, PATCH, DELETE",
        allow_headers=", ".join(
            (
                "authorization",
                "content-type",
                "grpc-timeout",
                "idempotency-key",
                "x-graphmesh-tenant",
                "x-grpc-web",
                "x-user-agent",
            )
        ),
        expose_headers="grpc-message, grpc-status, grpc-status-details-bin, retry-after, x-envoy-response-flags",
        max_age="600",
    )
    return {"typed_per_filter_config": {"envoy.filters.http.cors": policy}}
