"""The way out of the mesh: for each workload an HTTP proxy that connects to the hosts of its list only."""

import ipaddress
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from google.rpc import code_pb2
from graphmesh_contracts.egress import NOT_LISTED, PRIVATE, REFUSAL_HEADER

from graphmesh_mesh.egress import AllowedHosts, Egress, Host, Network
from graphmesh_mesh.envoy.documents import (
    Document,
    extension,
    headers,
    seconds,
    socket,
    typed,
)
from graphmesh_mesh.envoy.limits import DEFAULT_LIMITS
from graphmesh_mesh.envoy.lua import constants, lua_filter

LIMITS, TUNNELS = DEFAULT_LIMITS.egress, DEFAULT_LIMITS.tunnels
REASON = "EGRESS_REFUSED"
ADDRESS_HEADER = "x-graphmesh-egress-address"
CONNECT = "CONNECT"
EVERY_REQUEST: Sequence[Document] = ({"connect_matcher": {}}, {"prefix": "/"})
WILDCARDS = "egress-wildcards"
"""The cluster of all names that wildcards allow. Envoy makes one within it for each name in use."""
SCRIPT = Path(__file__).with_name("egress.lua")
LOWER_CASE = """\
function envoy_on_request(handle)
  handle:headers():replace(":authority", string.lower(handle:headers():get(":authority")))
end
"""
REFUSED_NETWORKS = tuple(
    map(
        ipaddress.ip_network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
            *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3", "168.63.129.16/32"),
            *("::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16"),
            *("3fff::/20", "5f00::/16", "fc00::/7", "fe80::/9", "ff00::/8"),
        ),
    )
)
"""Networks that names must not resolve to: private, loopback, link-local with the metadata of clouds, shared, reserved
and multicast ones, those of IPv6 that contain IPv4 addresses, and the host services of Azure."""


def listener_name(workload: str) -> str:
    return f"egress-{workload}"


def cluster_name(workload: str, host: Host) -> str:
    return WILDCARDS if host.is_wildcard else f"egress-{workload}-{host.authority}"


def proxy_filters(allowed: AllowedHosts) -> list[Document]:
    """The filters before the router, which names of wildcards need."""
    if not any(host.is_wildcard for host in allowed.parsed):
        return []
    name = "envoy.filters.http.dynamic_forward_proxy"
    message = "envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig"
    return [
        lua_filter(LOWER_CASE),
        extension(name, message, sub_cluster_config={"cluster_init_timeout": seconds(TUNNELS.connect_seconds)}),
    ]


def refusals(name: str) -> Document:
    """The answer for a host that is not in the list of a workload, as the JSON form of a gRPC error."""
    host = "%REQ(:AUTHORITY)%"
    message = f"{name} may not call {host}: add it to egress.workloads.{name}.hosts in mesh.yaml"
    status = {"status_code_filter": {"comparison": {"op": "EQ", "value": _constant(NOT_LISTED)}}}
    body = {"json_format": _error(message, workload=name, host=host), "content_type": "application/json"}
    return {"mappers": [{"filter": status, "body_format_override": body}]}


def _constant(value: int) -> Document:
    return {"default_value": value, "runtime_key": "graphmesh.none"}


def _error(message: str, **metadata: str) -> Document:
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": REASON, "domain": "graphmesh"}
    return {"code": code_pb2.PERMISSION_DENIED, "message": message, "details": [{**info, "metadata": metadata}]}


def egress_routes(egress: Egress) -> dict[str, Document]:
    """Return the routes by listener: a virtual host for each host of the list, and the refusal of all others."""
    return {listener_name(name): _routes(name, allowed) for name, allowed, _ in egress.listening}


def _routes(name: str, allowed: AllowedHosts) -> Document:
    answer = {"direct_response": {"status": NOT_LISTED}, "response_headers_to_add": headers({REFUSAL_HEADER: "host"})}
    refused = [{"match": match, **answer} for match in EVERY_REQUEST]
    listed = [
        {"name": host.authority, "domains": list(host.authorities), "routes": _forwarding(name, host)}
        for host in allowed.parsed
    ]
    return typed(
        "envoy.config.route.v3.RouteConfiguration",
        name=listener_name(name),
        virtual_hosts=[*listed, {"name": "refused", "domains": ["*"], "routes": refused}],
        request_headers_to_remove=["x-forwarded-proto", "proxy-authorization", "proxy-connection"],
    )


def _forwarding(name: str, host: Host) -> list[Document]:
    action = {
        "cluster": cluster_name(name, host),
        "timeout": "0s",
        "idle_timeout": seconds(TUNNELS.idle_seconds),
        "retry_policy": {
            "retry_on": "connect-failure",
            "num_retries": 2,
            "retry_host_predicate": [
                extension(
                    "envoy.retry_host_predicates.previous_hosts",
                    "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
                )
            ],
            "host_selection_retry_max_attempts": 3,
        },
    }
    tunnel = {"upgrade_configs": [{"upgrade_type": CONNECT, "connect_config": {}}]}
    return [
        {"match": {"connect_matcher": {}}, "route": {**action, **tunnel}},
        {"match": {"prefix": "/"}, "route": action},
    ]


def egress_clusters(egress: Egress) -> list[Document]:
    hosts = [(name, host) for name, allowed, _ in egress.listening for host in allowed.parsed]
    wildcards = [_wildcards(egress)] if any(host.is_wildcard for _, host in hosts) else []
    return [*(_cluster(egress, name, host) for name, host in hosts if not host.is_wildcard), *wildcards]


def _cluster(egress: Egress, name: str, host: Host) -> Document:
    """The cluster of one host. It is resolved before it is used, and each of its addresses is a host of its own: the
    connection is made to the one that the filter of the cluster has checked."""
    own = cluster_name(name, host)
    endpoint = {"endpoint": {"address": socket(host.name, host.port)}}
    return typed(
        "envoy.config.cluster.v3.Cluster",
        name=own,
        load_assignment={"cluster_name": own, "endpoints": [{"lb_endpoints": [endpoint]}]},
        **_connections(),
        **({"type": "STATIC"} if host.address else resolved_and_checked(egress, name)),
    )


def _wildcards(egress: Egress) -> Document:
    message = "envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig"
    names = {"max_sub_clusters": TUNNELS.names, "lb_policy": "ROUND_ROBIN"}
    proxy = extension(
        "envoy.clusters.dynamic_forward_proxy",
        message,
        allow_insecure_cluster_options=True,  # TLS is the client's: there is none to verify
        sub_clusters_config=names,
    )
    return typed(
        "envoy.config.cluster.v3.Cluster",
        name=WILDCARDS,
        lb_policy="CLUSTER_PROVIDED",
        cluster_type=proxy,
        **_connections(),
        **_resolution(egress),
        **_checked_addresses("*", ()),
    )


def _connections() -> Document:
    most = {"max_connections": LIMITS.connections, "max_pending_requests": LIMITS.connections}
    requests = {"max_requests": LIMITS.connections, "max_retries": LIMITS.connections}
    return {
        "connect_timeout": seconds(TUNNELS.connect_seconds),
        "circuit_breakers": {"thresholds": [{**most, **requests}]},
    }


def _resolution(egress: Egress) -> Document:
    """The settings of DNS: IPv6 addresses are for names that have no other."""
    settings: Document = {"dns_lookup_family": "V4_PREFERRED"}
    if egress.resolvers:
        pairs = [text.rpartition(":")[::2] for text in egress.resolvers]
        settings["typed_dns_resolver_config"] = extension(
            "envoy.network.dns_resolver.cares",
            "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
            resolvers=[socket(host.strip("[]"), int(port)) for host, port in pairs],
        )
    return settings


def resolved_and_checked(egress: Egress, workload: str) -> Document:
    """The type and the filters of a cluster whose host is a name of a workload's list.

    Each of its addresses is a host. The start of Envoy does not wait for DNS.
    """
    dns = extension(
        "envoy.clusters.dns",
        "envoy.extensions.clusters.dns.v3.DnsCluster",
        dns_refresh_rate=seconds(TUNNELS.dns_seconds),
        respect_dns_ttl=True,
        dns_failure_refresh_rate={"base_interval": "1s", "max_interval": "10s"},
        **_resolution(egress),
    )
    checked = _checked_addresses(workload, egress.workloads[workload].networks)
    return {"cluster_type": dns, "wait_for_warm_on_init": False, **checked}


def _checked_addresses(workload: str, private: Sequence[Network]) -> Document:
    """The filters of a cluster that refuse each call to a private address; `private` are those that are allowed.

    Args:
        workload: its name, which the error has; `*` for names of wildcards.
    """
    advice = (
        "names of a wildcard may not have one"
        if workload == "*"
        else f"list it in egress.workloads.{workload}.private of mesh.yaml if that is intended"
    )
    message = f"The host resolves to the private address {{address}}: {advice}"
    error = _error(message, workload=workload, address="{address}")
    tables = {
        "HEADER": ADDRESS_HEADER,
        "STATUS": str(PRIVATE),
        "REFUSAL_HEADER": REFUSAL_HEADER,
        "BODY": json.dumps(error),
        "REFUSED": list(map(_prefix, REFUSED_NETWORKS)),
        "ALLOWED": list(map(_prefix, private)),
    }
    target = [{"append": one} for one in headers({ADDRESS_HEADER: "%UPSTREAM_HOST%"})]
    mutation = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"
    filters = [
        extension("envoy.filters.http.header_mutation", mutation, mutations={"request_mutations": target}),
        lua_filter(f"{constants(tables)}\n{SCRIPT.read_text()}"),
        extension("envoy.filters.http.upstream_codec", "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec"),
    ]
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    http: Any = typed(options, explicit_http_config={"http_protocol_options": {}}, http_filters=filters)
    return {"typed_extension_protocol_options": {options: http}}


def _prefix(network: Network) -> str:
    """Return the bits that all addresses of a network begin with, as IPv6 addresses."""
    bits = f"{int(network.network_address):0{network.max_prefixlen}b}"[: network.prefixlen]
    return bits if network.version == 6 else f"{'0' * 80}{'1' * 16}{bits}"
