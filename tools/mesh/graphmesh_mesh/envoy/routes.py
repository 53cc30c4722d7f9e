"""RDS: a route for each method, with its deadline and its retry policy."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import MethodDescriptor
from graphmesh_contracts import Idempotency, MethodPolicy

from graphmesh_mesh.envoy.documents import (
    BUFFER,
    CALLER_HEADERS,
    CORS,
    HEALTH_CHECK,
    HIDDEN_STATUS,
    LUA,
    RATE_LIMIT,
    RESPONSE_FLAGS_HEADER,
    ROLES_HEADER,
    TENANT_HEADER,
    TRANSCODER,
    Document,
    edge_cluster,
    headers,
    seconds,
    typed,
)
from graphmesh_mesh.envoy.rates import (
    ADDRESS,
    ADDRESS_KEY,
    HEALTH_CHECKS,
    TENANT_ACTIONS,
    actions,
    rate_limits,
    token_buckets,
)
from graphmesh_mesh.openapi.route import MAX_DOCUMENT_BYTES, openapi_route
from graphmesh_mesh.service import Service
from graphmesh_mesh.topology import Edge, Mesh

RETRY_ON = "connect-failure,refused-stream,reset-before-request"
"""The only failures that Envoy retries: those in which the call was never sent."""
WAIT_STEP = 0.25
"""The longest pause of a retry, in seconds, of calls that wait for a replica."""
INFRASTRUCTURE = (
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "grpc.health.v1.Health",
)
"""The gRPC services that every server has besides its own."""


IS_POST: Document = {"name": ":method", "string_match": {"exact": "POST"}}
IS_GRPC_TYPE: Document = {
    "name": "content-type",
    "string_match": {"safe_regex": {"regex": r"application/grpc(-web|-web-text)?(\+proto)?"}},
    "treat_missing_header_as_empty": True,
}
"""The JSON transcoder sets it; the filter for gRPC-Web does so only after the route is selected."""
IS_KNOWN_ENCODING: Document = {
    "name": "grpc-encoding",
    "string_match": {"safe_regex": {"regex": "|identity|gzip|deflate"}},
    "treat_missing_header_as_empty": True,
}
"""Of another encoding, gRPC's server library keeps in the header table of the connection that it is not readable."""
IS_GRPC = [IS_POST, IS_GRPC_TYPE, IS_KNOWN_ENCODING]
ENABLED = typed("envoy.config.route.v3.FilterConfig", config={})
WEB_MARK = "x-graphmesh-web"
"""In a request in gRPC-Web, the mark of bad_requests.lua. A client that sets it gets the replies of Envoy's filter."""
IS_WEB: Document = {"name": "content-type", "string_match": {"prefix": "application/grpc-web"}}
CORS_ALLOW_HEADERS = (
    *("authorization", "content-type", "idempotency-key", TENANT_HEADER),
    *("grpc-timeout", "x-grpc-web", "x-user-agent"),
)
RATE_HEADERS = ("retry-after", "ratelimit", "ratelimit-policy")
CORS_EXPOSE_HEADERS = ("grpc-message", "grpc-status", "grpc-status-details-bin", RESPONSE_FLAGS_HEADER, *RATE_HEADERS)


def rds(mesh: Mesh, openapi_digest: str = "") -> dict[str, Document]:
    """Return the routes by listener; Envoy requires a file for each."""
    return {"edge": edge_routes(mesh, openapi_digest), "mesh": mesh_routes(mesh)}


def edge_routes(mesh: Mesh, openapi_digest: str) -> Document:
    """Routes to the edge services' methods, to the OpenAPI document, and to reflection and health of the first one."""
    services = {name: mesh.services[name] for name in mesh.edge.services}
    first = edge_cluster(mesh.edge.services[0])
    limits = TENANT_ACTIONS if mesh.edge.tenant_rate else ()
    streams = [stream_route(service, first, limits) for service in INFRASTRUCTURE]
    infrastructure = [health_check_route(first), *streams]
    calls = [
        method_route(name, edge_cluster(name), method, policy, edge_retries(policy, mesh.edge.wait), limits)
        for name, service in services.items()
        for method, policy in service.method_policies.items()
    ]
    unidentified = missing_identity(services, caller_headers(mesh)) if mesh.edge.identity == "forwarded" else []
    not_transcoded = [transcoded(one) for one in (*unidentified, *not_grpc(services))]
    first_routes = [preflight(first, limits), openapi_route(openapi_digest), grpc_web()]
    known = [*first_routes, *not_transcoded, *calls, *infrastructure, transcoded(unknown_method())]
    filters = cors(mesh.edge) | rate_limits(services, mesh.edge.tenant_rate)
    table = routes("edge", known, filters, request_headers_to_remove=[WEB_MARK])
    return {**table, "max_direct_response_body_size_bytes": MAX_DOCUMENT_BYTES}


def mesh_routes(mesh: Mesh) -> Document:
    calls = [
        method_route(name, name, method, policy, {**retries(policy), **authority(service)})
        for name, service in mesh.services.items()
        for method, policy in service.method_policies.items()
    ]
    restored = headers({"grpc-status": f"%RESP({HIDDEN_STATUS})%"})
    known = [*not_grpc(mesh.services), *calls, unknown_method()]
    table = routes("mesh", known, rate_limits(mesh.services), response_headers_to_add=restored)
    return {
        **table,
        "response_headers_to_remove": [HIDDEN_STATUS],
    }  # one of the host is removed before it is read


def routes(name: str, known: list[Document], filters: Document, **options: Any) -> Document:
    host = {
        "name": name,
        "domains": ["*"],
        "routes": known,
        "typed_per_filter_config": filters,
        **options,
    }
    return typed(
        "envoy.config.route.v3.RouteConfiguration",
        name=name,
        virtual_hosts=[host],
        request_headers_to_add=headers({"te": "trailers"}),
        validate_clusters=False,
    )


def method_route(
    service: str,
    cluster: str,
    method: MethodDescriptor,
    policy: MethodPolicy,
    retry_policy: Document,
    limits: Sequence[Document] = (),
) -> Document:
    action = {"cluster": cluster, **deadline(policy.timeout), **retry_policy}
    of_service = {"generic_key": {"descriptor_key": "service", "descriptor_value": service}}
    action["rate_limits"] = actions((of_service, *limits))
    path = f"/{method.containing_service.full_name}/{method.name}"
    streams = {"typed_per_filter_config": unbuffered()} if method.client_streaming else {}
    return {"match": {"path": path}, "route": action, **streams}


def authority(service: Service) -> Document:
    """Name the host to a service with TLS, which may be behind a proxy that selects it by that."""
    return {"host_rewrite_literal": service.server_name} if service.tls else {}


def package_prefixes(services: Mapping[str, Service]) -> list[str]:
    """The beginnings of the paths of all methods: `/graphmesh.billing.v1.`."""
    packages = {each.file.package for service in services.values() for each in service.descriptors}
    return [f"/{package}." for package in sorted(packages)]


def caller_headers(mesh: Mesh) -> Sequence[str]:
    """Return the headers that an authenticating proxy sets, beside that of the tenant."""
    return (*CALLER_HEADERS, ROLES_HEADER) if mesh.roles else CALLER_HEADERS


def missing_identity(services: Mapping[str, Service], names: Sequence[str]) -> list[Document]:
    """Refuse requests without the headers of the authenticating proxy.

    Envoy removes the headers that a client's `connection` header nominates, before any filter. Without a tenant the
    call would otherwise be one of the default tenant.
    """
    return [
        {
            "match": {"prefix": prefix, "headers": [{"name": name, "present_match": True, "invert_match": True}]},
            "direct_response": {"status": 401, "body": {"inline_string": f"the header {name} is missing"}},
        }
        for prefix in package_prefixes(services)
        for name in (TENANT_HEADER, *names)
    ]


def not_grpc(services: Mapping[str, Service]) -> list[Document]:
    """Refuse requests to services that are not gRPC.

    gRPC servers reset them, and the outlier detection counts a reset as a failure of the replica. These routes are
    before those of the methods, so that a call is checked once: Envoy matches headers of a route before its path.
    """
    refusals = [
        (IS_POST, 405, "a call of a gRPC method is a POST request"),
        (IS_GRPC_TYPE, 415, "the content type of a gRPC method is application/grpc"),
        (IS_KNOWN_ENCODING, 415, "the compressions of a message are identity, gzip and deflate"),
    ]
    return [
        {
            "match": {"prefix": prefix, "headers": [{**header, "invert_match": True}]},
            "direct_response": {"status": status, "body": {"inline_string": body}},
        }
        for prefix in package_prefixes(services)
        for header, status, body in refusals
    ]


def deadline(timeout: float) -> Document:
    """The minimum of the caller's `grpc-timeout` and the policy's timeout.

    It replaces Envoy's defaults: 15 s for a whole response, and 5 minutes without a message in a stream.
    """
    limits = {"max_stream_duration": seconds(timeout), "grpc_timeout_header_max": seconds(timeout)}
    return {"timeout": "0s", "idle_timeout": "0s", "max_stream_duration": limits}


def retries(policy: MethodPolicy) -> Document:
    if policy.idempotency is Idempotency.UNKNOWN or policy.max_attempts == 1:
        return {}
    return retry_policy(RETRY_ON, policy.max_attempts - 1)


def edge_retries(policy: MethodPolicy, wait: float) -> Document:
    """The edge's retries, of every method: a dead replica gets calls until its health check fails.

    With a `wait` calls are retried for about so many seconds, since the pause of a retry is half of `WAIT_STEP` on
    average. A server that ends cancels calls that it has not begun, with the status of one that it has, and closes
    connections that it is still accepting, after their first calls were sent: such calls are sent again where the
    method permits it.
    """
    repeatable = retries(policy)
    if wait:
        retry_on = f"{RETRY_ON},reset,cancelled" if repeatable else RETRY_ON
        return retry_policy(retry_on, math.ceil(2 * wait / WAIT_STEP), (WAIT_STEP, WAIT_STEP))
    return repeatable or retry_policy("connect-failure", 2)


def retry_policy(retry_on: str, retries: int, back_off: tuple[float, float] = (0.025, 0.25)) -> Document:
    """`back_off` is the interval of the first retry and the longest one, in seconds."""
    base, longest = map(seconds, back_off)
    return {
        "retry_policy": {
            "retry_on": retry_on,
            "num_retries": retries,
            "retry_back_off": {"base_interval": base, "max_interval": longest},
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": typed("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"),
                }
            ],
            "host_selection_retry_max_attempts": 3,
        }
    }


def health_check_route(cluster: str) -> Document:
    """Forward health checks, which need no token: for seconds only, so that none holds a place of other calls, and so
    many of an address that they take no time of the service from others."""
    action = {"cluster": cluster, **deadline(5), "rate_limits": actions([{ADDRESS_KEY: ADDRESS}])}
    return {
        "match": {"path": HEALTH_CHECK, "headers": IS_GRPC},
        "route": action,
        "typed_per_filter_config": {RATE_LIMIT: token_buckets([({"key": ADDRESS_KEY}, HEALTH_CHECKS)])},
    }


def stream_route(service: str, cluster: str, limits: Sequence[Document]) -> Document:
    """Forward calls of reflection and watches of health, which stay open: with a limit of their own."""
    action = {"cluster": cluster, "priority": "HIGH", **deadline(3600)}
    return {
        "match": {"prefix": f"/{service}/", "headers": IS_GRPC},
        "route": {**action, "rate_limits": actions(limits)},
        "typed_per_filter_config": unbuffered(),
    }


def transcoded(route: Document) -> Document:
    """One of the routes that a JSON request has before it is transcoded, with the filters for it.

    The filters of a request are those of its first route: calls in plain gRPC pass none of these.
    """
    return {**route, "typed_per_filter_config": {LUA: ENABLED, TRANSCODER: ENABLED}}


def grpc_web() -> Document:
    """The first route of a request in gRPC-Web: bad_requests.lua marks the request, and it gets its own route."""
    is_unmarked = {"name": WEB_MARK, "present_match": True, "invert_match": True}
    match = {"prefix": "/", "headers": [IS_WEB, is_unmarked]}
    return {**unknown_method(), "match": match, "typed_per_filter_config": {LUA: ENABLED}}


def unbuffered() -> Document:
    """Forward requests of a stream one by one."""
    return {BUFFER: typed("envoy.extensions.filters.http.buffer.v3.BufferPerRoute", disabled=True)}


def preflight(cluster: str, limits: Sequence[Document]) -> Document:
    """The CORS filter answers preflight requests, but only those with a route to a cluster."""
    match = {"prefix": "/", "headers": [{"name": ":method", "string_match": {"exact": "OPTIONS"}}]}
    return {"match": match, "route": {"cluster": cluster, "rate_limits": actions(limits)}}


def unknown_method() -> Document:
    """Answer HTTP 404, which gRPC clients map to UNIMPLEMENTED."""
    body = {"inline_string": "the mesh has no such method"}
    return {"match": {"prefix": "/"}, "direct_response": {"status": 404, "body": body}}


def cors(edge: Edge) -> Document:
    policy = typed(
        "envoy.extensions.filters.http.cors.v3.CorsPolicy",
        allow_origin_string_match=[{"exact": origin} for origin in edge.origins],
        allow_methods="GET, POST, PUT, PATCH, DELETE",
        allow_headers=", ".join(CORS_ALLOW_HEADERS),
        expose_headers=", ".join(CORS_EXPOSE_HEADERS),
        max_age="600",
        forward_not_matching_preflights=False,
    )
    return {CORS: policy}
