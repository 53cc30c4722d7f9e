"""Envoy's own spans, which it sends to the collector of the mesh by OTLP."""

from typing import Any

from graphmesh_mesh.envoy.documents import Document, extension, seconds, socket, typed
from graphmesh_mesh.telemetry import Telemetry
from graphmesh_mesh.topology import Mesh

COLLECTOR = "telemetry-collector"
"""The name of the cluster."""
EXPORT_SECONDS = 5.0
MAX_PATH = 64
"""Characters of a URL's path in a span. Its query is more than a caller may want to have stored."""
CLIENT_TRACE, EDGE_START = "x-graphmesh-client-trace", "x-graphmesh-edge-start"
"""Headers that the edge sets: the `traceparent` of the client, and the time in seconds since 1970."""
RUN_SPAN = "x-graphmesh-run-span"
"""The only header of ours that a client may send: the id of the span of the run that it creates."""
KEPT = "x-kept-run-span"
"""The header in which it is while those of ours are removed."""
TAGGED = ("run", "tenant", "node")
"""The headers of ours whose values are tags of spans."""


def tracing(mesh: Mesh, name: str) -> dict[str, Any]:
    """Return the option of a listener's connections by which its calls are traced."""
    telemetry = mesh.telemetry
    if telemetry is None or telemetry.collector is None:
        return {}
    provider = extension(
        "envoy.tracers.opentelemetry",
        "envoy.config.trace.v3.OpenTelemetryConfig",
        service_name="envoy",
        grpc_service={
            "envoy_grpc": {"cluster_name": COLLECTOR},
            "timeout": seconds(EXPORT_SECONDS),
            "initial_metadata": [{"key": key, "value": value} for key, value in telemetry.header_pairs],
        },
    )
    tags = [{"tag": f"graphmesh.{one}", "request_header": {"name": f"x-graphmesh-{one}"}} for one in TAGGED]
    return {
        "tracing": {
            "provider": provider,
            "random_sampling": {"value": telemetry.traces * 100},
            "operation": "%REQ(:PATH):128%",
            "max_path_tag_length": MAX_PATH,
            "custom_tags": [*tags, {"tag": "graphmesh.listener", "literal": {"value": name}}],
        }
    }


def traced_requests(removed: list[Document]) -> list[Document]:
    """Return the mutations of requests at the edge that remove headers, and keep and set those of traces.

    Also where Envoy itself exports no spans: servers may, by settings of their own.
    """
    aside = _set(KEPT, f"%REQ({RUN_SPAN})%")
    back = _set(RUN_SPAN, f"%REQ({KEPT})%")
    ours = [_set(CLIENT_TRACE, "%REQ(TRACEPARENT)%"), _set(EDGE_START, "%START_TIME(%s.%9f)%")]
    headers = (RUN_SPAN, CLIENT_TRACE, EDGE_START)
    return [{"remove": KEPT}, aside, *removed, *({"remove": one} for one in headers), back, *ours, {"remove": KEPT}]


def _set(header: str, value: str) -> Document:
    return {"append": {"header": {"key": header, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}


def collector_clusters(telemetry: Telemetry) -> list[Document]:
    """The cluster of the collector, whose failures delay no call."""
    at = telemetry.collector
    if at is None:
        return []
    endpoint = {"lb_endpoints": [{"endpoint": {"address": socket(at.address, at.port)}}]}
    options = typed(
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions", explicit_http_config={"http2_protocol_options": {}}
    )
    cluster = typed(
        "envoy.config.cluster.v3.Cluster",
        name=COLLECTOR,
        type="STRICT_DNS" if at.is_dns_name else "STATIC",
        connect_timeout="1s",
        load_assignment={"cluster_name": COLLECTOR, "endpoints": [endpoint]},
        typed_extension_protocol_options={"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
    )
    return [cluster]
