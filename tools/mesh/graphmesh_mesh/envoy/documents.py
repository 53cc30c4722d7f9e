"""Names and building blocks of Envoy's configuration."""

from collections.abc import Mapping
from typing import Any

Document = dict[str, Any]
"""A YAML mapping."""

CDS = "cds.yaml"
LDS = "lds.yaml"

CORS = "envoy.filters.http.cors"
RATE_LIMIT = "envoy.filters.http.local_ratelimit"
BUFFER = "envoy.filters.http.buffer"
"""The filters that routes configure, by name."""

RESPONSE_FLAGS_HEADER = "x-envoy-response-flags"
"""The reason why Envoy itself answered, as comma-separated `%RESPONSE_FLAGS%`; absent when a service answered.

    UH  no healthy replica, or all are ejected                   never sent
    UO  above the cap, or above the retry budget (`UO,UF`)       never sent
    UF  no connection; with `URX` the retries failed as well     never sent
    RL  above the rate limit                                     never sent
    UC  the connection broke before a response                   may have happened

A call was never sent if all its flags are among those of the first four lines and `URX`.
"""

HIDDEN_STATUS = "x-graphmesh-hidden-status"
"""`grpc-status` of a response that the outlier detection must not count, on its way through Envoy."""


def edge_cluster(service: str) -> str:
    """Return the name of the cluster that the edge listener sends the calls of a service to."""
    return f"edge-{service}"


def rds_file(listener: str) -> str:
    """Return the name of the file with a listener's routes."""
    return f"rds-{listener}.yaml"


def typed(message: str, **fields: Any) -> Document:
    """A message as google.protobuf.Any."""
    return {"@type": f"type.googleapis.com/{message}", **fields}


def extension(name: str, message: str, **fields: Any) -> Document:
    """An entry of a list of extensions."""
    return {"name": name, "typed_config": typed(message, **fields)}


def socket(address: str, port: int) -> Document:
    return {"socket_address": {"address": address, "port_value": port}}


def seconds(value: float) -> str:
    """A duration in protobuf's JSON form, without trailing zeros."""
    return f"{value:.9f}".rstrip("0").rstrip(".") + "s"


def headers(values: Mapping[str, str]) -> list[Document]:
    """Headers to set; existing ones of the same name are overwritten."""
    return [
        {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        for key, value in values.items()
    ]


def config_source(path: str) -> Document:
    """Paths are relative to Envoy's working directory. Envoy reloads when any file is moved into it."""
    watched = {"path": path, "watched_directory": {"path": "."}}
    return {"path_config_source": watched, "resource_api_version": "V3"}
