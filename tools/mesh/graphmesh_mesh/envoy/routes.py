"""RDS: a route for each method, with its deadline and what may be retried."""

from collections.abc import Mapping

from google.protobuf.descriptor import MethodDescriptor
from graphmesh_contracts import Idempotency, MethodPolicy, RateLimit

from graphmesh_mesh.envoy.documents import CORS, RATE_LIMIT, RESPONSE_FLAGS_HEADER, Document, headers, seconds, typed
from graphmesh_mesh.topology import Edge, Mesh, Service

NEVER_SENT = "connect-failure,refused-stream,reset-before-request"
"""The only failures that Envoy retries: no replica has begun the call. Every other failure has another owner."""
INFRASTRUCTURE = (
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "grpc.health.v1.Health",
)
"""What every server has besides its own service."""


UNLIMITED = RateLimit(calls=2**31, period=0.05)
BROWSER_MAY_SEND = (
    *("authorization", "content-type", "idempotency-key", "x-graphmesh-tenant"),
    *("grpc-timeout", "x-grpc-web", "x-user-agent"),
)
BROWSER_MAY_READ = ("grpc-message", "grpc-status", "grpc-status-details-bin", RESPONSE_FLAGS_HEADER)


def rds(mesh: Mesh) -> dict[str, Document]:
    """Each listener's routes, by the listener's name; Envoy wants them in a file each."""
    return {"edge": edge_routes(mesh), "mesh": mesh_routes(mesh)}


def edge_routes(mesh: Mesh) -> Document:
    """What clients may call. Reflection and health are the first edge service's."""
    services = {name: mesh.services[name] for name in mesh.edge.services}
    first = mesh.edge.services[0]
    known = [*methods(services), *(infrastructure(service, first) for service in INFRASTRUCTURE), preflight(first)]
    return routes("edge", known, cors(mesh.edge) | rate_limits(services))


def mesh_routes(mesh: Mesh) -> Document:
    return routes("mesh", methods(mesh.services), rate_limits(mesh.services))


def routes(name: str, known: list[Document], filters: Document) -> Document:
    host = {"name": name, "domains": ["*"], "routes": [*known, unknown()], "typed_per_filter_config": filters}
    return typed("envoy.config.route.v3.RouteConfiguration", name=name, virtual_hosts=[host], validate_clusters=False)


def methods(services: Mapping[str, Service]) -> list[Document]:
    return [
        method_route(name, method, policy)
        for name, service in services.items()
        for method, policy in service.method_policies.items()
    ]


def method_route(cluster: str, method: MethodDescriptor, policy: MethodPolicy) -> Document:
    action = {"cluster": cluster, **deadline(policy.timeout), **retries(policy)}
    action["rate_limits"] = [{"actions": [{"generic_key": {"descriptor_key": "service", "descriptor_value": cluster}}]}]
    return {"match": {"path": f"/{method.containing_service.full_name}/{method.name}"}, "route": action}


def deadline(timeout: float) -> Document:
    """The caller's `grpc-timeout`, or where it is longer or absent, the policy's.

    Envoy's defaults would be 15 s until the whole answer is there, and 5 minutes of silence in a stream.
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


def preflight(cluster: str) -> Document:
    """The CORS filter answers preflights, but only where a route leads to a cluster."""
    match = {"prefix": "/", "headers": [{"name": ":method", "string_match": {"exact": "OPTIONS"}}]}
    return {"match": match, "route": {"cluster": cluster}}


def unknown() -> Document:
    """HTTP 404 is UNIMPLEMENTED to a gRPC client."""
    body = {"inline_string": "the mesh has no such method"}
    return {"match": {"prefix": "/"}, "direct_response": {"status": 404, "body": body}}


def cors(edge: Edge) -> Document:
    policy = typed(
        "envoy.extensions.filters.http.cors.v3.CorsPolicy",
        allow_origin_string_match=[{"exact": origin} for origin in edge.origins],
        allow_methods="GET, POST, PUT, PATCH, DELETE",
        allow_headers=", ".join(BROWSER_MAY_SEND),
        expose_headers=", ".join(BROWSER_MAY_READ),
        max_age="600",
        forward_not_matching_preflights=False,
    )
    return {CORS: policy}


def rate_limits(services: Mapping[str, Service]) -> Document:
    """A bucket for each service that declares a rate limit; the other services draw on one that is never empty.

    A refusal says in `x-ratelimit-reset` after how many seconds to come back.
    """
    limited = {name: service.service_policy.rate_limit for name, service in services.items()}
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    limits = typed(
        "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
        stat_prefix="rate_limit",
        token_bucket=bucket(UNLIMITED),
        descriptors=[
            {"entries": [{"key": "service", "value": name}], "token_bucket": bucket(limit)}
            for name, limit in limited.items()
            if limit
        ],
        filter_enabled=always,
        filter_enforced=always,
        always_consume_default_token_bucket=False,
        rate_limited_as_resource_exhausted=True,
        enable_x_ratelimit_headers="DRAFT_VERSION_03",
        response_headers_to_add=headers({RESPONSE_FLAGS_HEADER: "RL"}),
    )
    return {RATE_LIMIT: limits} if any(limited.values()) else {}


def bucket(limit: RateLimit) -> Document:
    return {"max_tokens": limit.calls, "tokens_per_fill": limit.calls, "fill_interval": seconds(limit.period)}
