"""The vocabulary of Envoy's documents."""

from collections.abc import Mapping
from typing import Any

Document = dict[str, Any]
"""What becomes one YAML mapping."""

CDS = "cds.yaml"
LDS = "lds.yaml"

CORS = "envoy.filters.http.cors"
RATE_LIMIT = "envoy.filters.http.local_ratelimit"
"""The names by which routes configure filters of their listener."""

RESPONSE_FLAGS_HEADER = "x-envoy-response-flags"
"""Says why Envoy itself answered, as `%RESPONSE_FLAGS%`, several with commas; absent when a service answered.

    UH  no healthy replica, or the breaker of each is open      never sent
    UO  over the cap, or over the retry budget (`UO,UF`)        never sent
    UF  no connection; `URX` beside it: and the retries failed  never sent
    RL  over the rate limit                                     never sent
    UC  the connection broke before an answer                   may have happened

A call was never sent if no flag is any other than these of the first four lines, and `URX`.
"""


def rds_file(listener: str) -> str:
    """The file of a listener's routes."""
    return f"rds-{listener}.yaml"


def typed(message: str, **fields: Any) -> Document:
    """A message that Envoy looks up by its type."""
    return {"@type": f"type.googleapis.com/{message}", **fields}


def extension(name: str, message: str, **fields: Any) -> Document:
    """An entry of a list of extensions."""
    return {"name": name, "typed_config": typed(message, **fields)}


def socket(address: str, port: int) -> Document:
    return {"socket_address": {"address": address, "port_value": port}}


def seconds(value: float) -> str:
    """A duration in protobuf's JSON form, without noise digits."""
    return f"{value:.9f}".rstrip("0").rstrip(".") + "s"


def headers(values: Mapping[str, str]) -> list[Document]:
    """Headers to set, over any of the same name."""
    return [
        {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        for key, value in values.items()
    ]


def config_source(path: str) -> Document:
    """Paths are relative: Envoy runs in the folder. A file moved into it is read again, whichever it is."""
    watched = {"path": path, "watched_directory": {"path": "."}}
    return {"path_config_source": watched, "resource_api_version": "V3"}
