"""The access log of a listener: a line of JSON for each call, and a bounded number of lines for refused ones."""

from graphmesh_mesh.envoy.documents import Document, config_source, extension, seconds, typed

REFUSALS = {"burst": 60, "second": 1}
"""Refused calls that have a line in the log of a listener: in a burst, and a second. Clients without a token can cause
any number of them."""
FIELDS = {
    "timestamp": "%START_TIME%",
    "method": "%REQ(:METHOD):32%",
    "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH):1000%",
    "http_status": "%RESPONSE_CODE%",
    "grpc_status": "%GRPC_STATUS(SNAKE_STRING)%",
    "flags": "%RESPONSE_FLAGS%",
    "detail": "%RESPONSE_CODE_DETAILS%",
    "duration_ms": "%DURATION%",
    "received_bytes": "%BYTES_RECEIVED%",
    "sent_bytes": "%BYTES_SENT%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "service": "%UPSTREAM_CLUSTER%",
    "replica": "%UPSTREAM_HOST%",
    "from": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "tenant": "%REQ(X-GRAPHMESH-TENANT):63%",
    "subject": "%REQ(X-GRAPHMESH-SUBJECT):255%",
    "client": "%REQ(X-GRAPHMESH-CLIENT):255%",
    "workload": "%DOWNSTREAM_PEER_URI_SAN%",
    "run": "%REQ(X-GRAPHMESH-RUN):255%",
    "thread": "%REQ(X-GRAPHMESH-THREAD):255%",
    "node": "%REQ(X-GRAPHMESH-NODE):255%",
    "traceparent": "%REQ(TRACEPARENT):64%",
    "request_id": "%REQ(X-REQUEST-ID):64%",
}
"""Clients choose some of the values, which are cut."""


def access_log(listener: str, **more: str) -> Document:
    logger = extension(
        "envoy.access_loggers.stdout",
        "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
        log_format={"json_format": {"listener": listener, **FIELDS, **more}, "omit_empty_values": True},
    )
    return {**logger, "filter": {"or_filter": {"filters": [_is_not_refused(), _is_within_bound(listener)]}}}


def bound_files(listeners: list[str]) -> dict[str, Document]:
    """Return a file for each listener with the bound of its log; Envoy takes it from no other place."""
    bucket = typed(
        "envoy.type.v3.TokenBucket",
        max_tokens=REFUSALS["burst"],
        tokens_per_fill=REFUSALS["second"],
        fill_interval=seconds(1),
    )
    return {
        _file(name): {"resources": [typed("envoy.service.discovery.v3.Resource", name=_bucket(name), resource=bucket)]}
        for name in listeners
    }


def _is_not_refused() -> Document:
    """Without a status of gRPC it is that of the status of HTTP: UNAUTHENTICATED of 401, PERMISSION_DENIED of 403."""
    return {"grpc_status_filter": {"statuses": ["UNAUTHENTICATED", "PERMISSION_DENIED"], "exclude": True}}


def _is_within_bound(listener: str) -> Document:
    message = "envoy.extensions.access_loggers.filters.process_ratelimit.v3.ProcessRateLimitFilter"
    source = {"resource_name": _bucket(listener), "config_source": config_source(_file(listener))}
    limited = extension("envoy.access_loggers.extension_filters.process_ratelimit", message, dynamic_config=source)
    return {"extension_filter": limited}


def _bucket(listener: str) -> str:
    return f"refusals-{listener}"


def _file(listener: str) -> str:
    return f"{_bucket(listener)}.yaml"
