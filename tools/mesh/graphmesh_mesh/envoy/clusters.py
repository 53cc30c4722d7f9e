"""CDS: a cluster for each service, with its cap, its breaker and its health checks."""

from graphmesh_contracts import Breaker

from graphmesh_mesh.envoy.documents import Document, seconds, socket, typed
from graphmesh_mesh.topology import Mesh, Service

HEADROOM = 1024
"""Calls beyond what the replicas admit that still pass, so that the service refuses them: it is exact, and says when to
come back. Envoy only stops what would drown it."""
MAX_CONNECTIONS_A_REPLICA = 64
"""HTTP/2 needs one for each Envoy worker; the rest is room for draining ones."""
MIN_RETRIES = 16
"""Retries at the same instant that a service always gets; beyond, a fifth of its calls under way may be retries."""
HEALTH_CHECK_INTERVAL = 1.0
UNHEALTHY_INTERVAL = 0.25
"""Seconds; how soon a replica that came back is seen."""


def cds(mesh: Mesh) -> Document:
    return {"resources": [cluster(name, service) for name, service in mesh.services.items()]}


def cluster(name: str, service: Service) -> Document:
    """Envoy would hold an ejection back for a second, and send calls there meanwhile, but for `update_merge_window`."""
    policy = service.service_policy
    return typed(
        "envoy.config.cluster.v3.Cluster",
        name=name,
        type="STRICT_DNS" if service.named else "STATIC",
        connect_timeout="1s",
        lb_policy="LEAST_REQUEST",
        common_lb_config={"healthy_panic_threshold": {"value": 0}, "update_merge_window": "0s"},
        load_assignment=endpoints(name, service),
        circuit_breakers={"thresholds": [thresholds(service)]},
        outlier_detection=outlier_detection(policy.breaker),
        health_checks=[health_check(service.service)],
        ignore_health_on_host_removal=True,
        typed_extension_protocol_options=http2(),
        upstream_connection_options={
            "tcp_keepalive": {"keepalive_probes": 3, "keepalive_time": 10, "keepalive_interval": 5}
        },
    )


def endpoints(name: str, service: Service) -> Document:
    replicas = [{"endpoint": {"address": socket(at.address, at.port)}} for at in service.replica_listeners]
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": replicas}]}


def thresholds(service: Service) -> Document:
    """The guard in front of the replicas' own admission; a call over it fails at once (`UO`)."""
    policies = service.service_policies.values()
    admitted = service.replicas * sum(policy.max_concurrency + policy.max_queue for policy in policies)
    return {
        "max_requests": admitted + HEADROOM,
        "max_pending_requests": admitted + HEADROOM,
        "max_connections": service.replicas * MAX_CONNECTIONS_A_REPLICA,
        "retry_budget": {"budget_percent": {"value": 20}, "min_retry_concurrency": MIN_RETRIES},
    }


def outlier_detection(breaker: Breaker) -> Document:
    """The breaker: this many failures in a row, and the replica is out until it has cooled.

    Failures are UNAVAILABLE and DEADLINE_EXCEEDED answered without initial metadata (Envoy sees no other gRPC status),
    and connections that fail or break. All replicas may be out at once: then calls fail fast (`UH`).
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


def health_check(service: str) -> Document:
    """`no_traffic_interval` would be a minute otherwise: an unused service that comes back would not be seen."""
    return {
        "timeout": "1s",
        "interval": seconds(HEALTH_CHECK_INTERVAL),
        "no_traffic_interval": seconds(HEALTH_CHECK_INTERVAL),
        "unhealthy_interval": seconds(UNHEALTHY_INTERVAL),
        "unhealthy_threshold": 2,
        "healthy_threshold": 1,
        "grpc_health_check": {"service_name": service},
    }


def http2() -> Document:
    """A ping goes only before a call over an idle connection: gRPC servers hang up on those who ping for nothing."""
    keepalive = {"connection_idle_interval": "10s", "timeout": "2s"}
    return {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed(
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            explicit_http_config={"http2_protocol_options": {"connection_keepalive": keepalive}},
        )
    }
