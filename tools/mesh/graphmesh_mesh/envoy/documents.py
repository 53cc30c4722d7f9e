"""Names and building blocks of Envoy's configuration."""

from collections.abc import Mapping, Sequence
from typing import Any

Document = dict[str, Any]
"""A YAML mapping."""

CDS = "cds.yaml"
LDS = "lds.yaml"
ECDS, ECDS_ROLES, ECDS_WORKLOADS = "ecds.yaml", "ecds-roles.yaml", "ecds-workloads.yaml"
"""Filters that change apart from their listener, one a file: where the edge verifies tokens, and with mutual TLS."""

CORS = "envoy.filters.http.cors"
RATE_LIMIT = "envoy.filters.http.local_ratelimit"
BUFFER = "envoy.filters.http.buffer"
LUA = "envoy.filters.http.lua"
TRANSCODER = "envoy.filters.http.grpc_json_transcoder"
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

HEALTH_CHECK = "/grpc.health.v1.Health/Check"
"""The only call that the edge forwards without a token."""
MAX_OPEN_STREAMS = 256
"""Calls of reflection, and watches of health, that the edge has open at the same time."""

TENANT_HEADER = "x-graphmesh-tenant"
CALLER_HEADERS = ("x-graphmesh-subject", "x-graphmesh-scopes")
"""The headers that an authenticating proxy in front of the edge sets, beside that of the tenant."""
CLIENT_HEADER = "x-graphmesh-client"
"""The client of the tenant. An authenticating proxy may set it."""
ROLES_HEADER = "x-graphmesh-roles"
"""Another one, where the mesh has roles."""

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


def response_mutations(header: str, prefixes: Sequence[str], mutations: list[Document]) -> Document:
    """Mutations of the headers of those responses in which a header begins with one of several prefixes."""
    header_input = typed("envoy.type.matcher.v3.HttpResponseHeaderMatchInput", header_name=header)
    lacks = [
        {"not_matcher": {"single_predicate": {"input": {"name": "header", "typed_config": header_input}, **value}}}
        for value in ({"value_match": {"prefix": prefix}} for prefix in prefixes)
    ]
    skip = typed("envoy.extensions.filters.common.matcher.action.v3.SkipFilter")
    otherwise = {
        "predicate": {"and_matcher": {"predicate": lacks}} if len(lacks) > 1 else lacks[0],
        "on_match": {"action": {"name": "skip", "typed_config": skip}},
    }
    applied = extension(
        "envoy.filters.http.header_mutation",
        "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
        mutations={"response_mutations": mutations},
    )
    return extension(
        "envoy.filters.http.match_delegate",
        "envoy.extensions.common.matching.v3.ExtensionWithMatcher",
        extension_config=applied,
        xds_matcher={"matcher_list": {"matchers": [otherwise]}},
    )


def discovered(name: str, message: str, file: str) -> Document:
    """A filter whose configuration is in a file of its own."""
    discovery = {"config_source": config_source(file), "type_urls": [f"type.googleapis.com/{message}"]}
    return {"name": name, "config_discovery": discovery}


def discovery_file(name: str, configuration: Document) -> Document:
    """The file with the configuration of a discovered filter."""
    return {"resources": [typed("envoy.config.core.v3.TypedExtensionConfig", name=name, typed_config=configuration)]}


def config_source(path: str) -> Document:
    """Paths are relative to Envoy's working directory. Envoy reloads when any file is moved into it."""
    watched = {"path": path, "watched_directory": {"path": "."}}
    return {"path_config_source": watched, "resource_api_version": "V3"}
