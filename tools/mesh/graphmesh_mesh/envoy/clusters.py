"""CDS: a cluster for each service, with its concurrency cap, its circuit breaker and its health checks."""

from dataclasses import dataclass

from google.rpc import code_pb2
from graphmesh_contracts import Breaker

from graphmesh_mesh.envoy import mutual_tls
from graphmesh_mesh.envoy.documents import (
    HIDDEN_STATUS,
    MAX_OPEN_STREAMS,
    Document,
    edge_cluster,
    extension,
    headers,
    response_mutations,
    seconds,
    socket,
    typed,
)
from graphmesh_mesh.envoy.egress import egress_clusters
from graphmesh_mesh.envoy.limits import DEFAULT_LIMITS, Limits
from graphmesh_mesh.envoy.tokens import jwks_clusters
from graphmesh_mesh.envoy.tracing import collector_clusters
from graphmesh_mesh.service import Service
from graphmesh_mesh.tls import Tls, is_ip_address
from graphmesh_mesh.topology import Mesh

MAX_CONNECTIONS_A_REPLICA = 64
"""HTTP/2 needs one for each Envoy worker; the rest is for connections that drain."""
MIN_RETRIES = 16
"""Concurrent retries that a service always gets; above, a fifth of its active calls may be retries."""
OPEN_STREAMS = {"priority": "HIGH", "max_requests": MAX_OPEN_STREAMS, "max_pending_requests": MAX_OPEN_STREAMS}
"""The limit of the edge's calls that stay open (`stream_route`): they take no place of others."""
UNREADABLE = ("Compression bit set but no encoding configured", "Decompression failed", "Error parsing '")
"""The beginnings of the messages of gRPC's server library about compression and metadata that it cannot read."""


@dataclass(frozen=True)
class ClusterSettings:
    """Settings that no policy declares."""

    headroom: int = 1024
    """Concurrent calls that Envoy passes above the admission limits of the replicas. The service itself refuses them,
    with RetryInfo; Envoy only protects it from overload."""
    health_check_interval: float = 1.0
    """Seconds between two health checks of a healthy replica."""
    unhealthy_interval: float = 0.25
    """Seconds between two health checks of an unhealthy replica."""
    external_timeout: float = 5.0
    """Seconds of a connection attempt, and of a health check, of services that others run, as far as they may be."""
    limits: Limits = DEFAULT_LIMITS


DEFAULT_SETTINGS = ClusterSettings()


def cds(mesh: Mesh, settings: ClusterSettings = DEFAULT_SETTINGS) -> Document:
    """The mesh listener's clusters, and those of the edge, so that no client exhausts the cap of the mesh's calls."""
    at_mesh = [
        cluster(name, service, settings, outlier_detection(service.service_policy.breaker), hide_deadline_exceeded())
        | mutual_tls.to_service(mesh, name)
        for name, service in mesh.services.items()
    ]
    at_edge = [
        cluster(edge_cluster(name), mesh.services[name], settings, no_outlier_detection(), correct_status())
        | mutual_tls.to_service(mesh, name)
        | (waiting(mesh.services[name], settings) if mesh.edge.wait else {})
        for name in mesh.edge.services
    ]
    keys = jwks_clusters(mesh.identity, mesh.egress) if mesh.identity else []
    outside = egress_clusters(mesh.egress) if mesh.egress else []
    collector = collector_clusters(mesh.telemetry) if mesh.telemetry else []
    return {"resources": [*at_mesh, *at_edge, *keys, *outside, *collector]}


def cluster(
    name: str, service: Service, settings: ClusterSettings, outliers: Document, response_filter: Document
) -> Document:
    """Without `update_merge_window: 0s`, Envoy delays an ejection by a second and still sends calls to the replica."""
    return typed(
        "envoy.config.cluster.v3.Cluster",
        name=name,
        type="STRICT_DNS" if service.is_dns_name else "STATIC",
        connect_timeout=seconds(settings.external_timeout) if service.external else "1s",
        lb_policy="LEAST_REQUEST",
        common_lb_config={"healthy_panic_threshold": {"value": 0}, "update_merge_window": "0s"},
        load_assignment=endpoints(name, service),
        circuit_breakers={"thresholds": [thresholds(service, settings.headroom), OPEN_STREAMS]},
        outlier_detection=outliers,
        health_checks=[health_check(service, settings)] if service.health_check else [],
        ignore_health_on_host_removal=True,
        typed_extension_protocol_options=http2(response_filter),
        upstream_connection_options={
            "tcp_keepalive": {"keepalive_probes": 3, "keepalive_time": 10, "keepalive_interval": 5}
        },
        **(tls(service, service.tls) if service.tls else {}),
    )


def waiting(service: Service, settings: ClusterSettings) -> Document:
    """Let calls try replicas even where none is healthy, so that the retries of their routes wait for one."""
    limits = thresholds(service, settings.headroom)
    retries = {"budget_percent": {"value": 100}, "min_retry_concurrency": limits["max_requests"]}
    return {
        "common_lb_config": {"healthy_panic_threshold": {"value": 1}, "update_merge_window": "0s"},
        "circuit_breakers": {"thresholds": [limits | {"retry_budget": retries}, OPEN_STREAMS]},
    }


def tls(service: Service, settings: Tls) -> Document:
    """Encrypt connections, and verify that the server has the name of the service.

    Envoy reads the files when it reads the cluster, which the digest changes when they change.
    """
    name, by_ip = service.server_name, is_ip_address(service.server_name)
    subject = {"san_type": "IP_ADDRESS" if by_ip else "DNS", "matcher": {"exact": name}}
    trust = {"trusted_ca": {"filename": str(settings.trusted)}, "match_typed_subject_alt_names": [subject]}
    context: Document = {"alpn_protocols": ["h2"], "validation_context": trust}
    if settings.certificate:
        pair = {"certificate_chain": settings.certificate, "private_key": settings.key}
        context["tls_certificates"] = [{part: {"filename": str(path)} for part, path in pair.items()}]
    upstream = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
    sni = {} if by_ip else {"sni": name}
    return {
        "transport_socket": extension("envoy.transport_sockets.tls", upstream, common_tls_context=context, **sni),
        "metadata": {"filter_metadata": {"graphmesh.tls": {"digest": settings.digest}}},
    }


def endpoints(name: str, service: Service) -> Document:
    replicas = [{"endpoint": {"address": socket(one.address, one.port)}} for one in service.replica_listeners]
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": replicas}]}


def thresholds(service: Service, headroom: int) -> Document:
    """The limit above the replicas' own admission; a call above it fails at once (`UO`)."""
    policies = service.service_policies.values()
    admitted = service.replica_count * sum(one.max_concurrency + one.max_queue + one.max_waits for one in policies)
    return {
        "max_requests": admitted + headroom,
        "max_pending_requests": admitted + headroom,
        "max_connections": service.replica_count * MAX_CONNECTIONS_A_REPLICA,
        "retry_budget": {"budget_percent": {"value": 20}, "min_retry_concurrency": MIN_RETRIES},
    }


def outlier_detection(breaker: Breaker) -> Document:
    """The circuit breaker: ejects a replica after consecutive failures, for its cooling period.

    Failures are UNAVAILABLE without initial metadata, and connections that fail or break. All replicas may be ejected
    at once: then calls fail fast (`UH`).
    """
    return {
        "consecutive_gateway_failure": breaker.consecutive_failures,
        "enforcing_consecutive_gateway_failure": 100,
        "enforcing_consecutive_5xx": 0,
        "enforcing_success_rate": 0,
        "enforcing_failure_percentage": 0,
        "max_ejection_percent": 100,
        "base_ejection_time": seconds(breaker.cooling_period),
        "max_ejection_time": seconds(max(breaker.cooling_period, breaker.max_cooling_period)),
        "interval": "0.25s",
        "successful_active_health_check_uneject_host": False,
    }


def no_outlier_detection() -> Document:
    """At the edge only health checks take a replica out.

    Every client shares the edge's replicas. An ejection of the last one would refuse all of them, though the replica
    answers its health checks, and a bound on the ejected share does not prevent it: the other replicas may be dead.
    A replica without its database reports NOT_SERVING within a second; calls to one that is dead are retried.
    """
    return {"max_ejection_percent": 0}


def health_check(service: Service, settings: ClusterSettings) -> Document:
    """The default of `no_traffic_interval` is a minute, in which the recovery of an unused service is not detected."""
    authority = {"authority": service.server_name} if service.tls else {}
    return {
        "timeout": seconds(settings.external_timeout) if service.external else "1s",
        "interval": seconds(settings.health_check_interval),
        "no_traffic_interval": seconds(settings.health_check_interval),
        "unhealthy_interval": seconds(settings.unhealthy_interval),
        "unhealthy_threshold": 2,
        "healthy_threshold": 1,
        "grpc_health_check": {"service_name": service.service, **authority},
    }


def http2(response_filter: Document) -> Document:
    """Ping, and before a call on an idle connection wait for the answer.

    A connection without an answer is closed, with its calls, which would wait for their deadlines: a router may have
    forgotten it. The servers have to allow that (`SERVER_OPTIONS` of the chassis): by default gRPC closes connections
    that ping often.
    """
    keepalive = {"interval": "3s", "timeout": "3s", "connection_idle_interval": "10s"}
    return {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed(
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            explicit_http_config={"http2_protocol_options": {"connection_keepalive": keepalive}},
            http_filters=[response_filter, upstream_codec()],
        )
    }


def hide_deadline_exceeded() -> Document:
    """Rename a `grpc-status` of DEADLINE_EXCEEDED to HIDDEN_STATUS, which the routes rename back.

    The caller chooses the deadline, and a gRPC server answers this status by itself, before initial metadata, when it
    has passed. The outlier detection, which is between the two, would count it as a failure of the replica, and has no
    setting for it: a cluster's `error_matcher` applies to HTTP statuses only.
    """
    renaming: list[Document] = [
        {"append": {"header": {"key": HIDDEN_STATUS, "value": "%RESP(grpc-status)%"}}},
        {"remove": "grpc-status"},
    ]
    return response_mutations("grpc-status", [str(code_pb2.DEADLINE_EXCEEDED)], renaming)


def correct_status() -> Document:
    """Answer INVALID_ARGUMENT to compression and metadata that gRPC's server library cannot read: it makes INTERNAL.

    For clients at the edge: callers within the mesh use that library themselves.
    """
    status = headers({"grpc-status": str(code_pb2.INVALID_ARGUMENT)})
    return response_mutations("grpc-message", UNREADABLE, [{"append": one} for one in status])


def upstream_codec() -> Document:
    """The filter that every list of a cluster's filters ends with."""
    return extension(
        "envoy.filters.http.upstream_codec", "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec"
    )
