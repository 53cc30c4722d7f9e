"""LDS: the edge listener, for clients, the mesh listener, for the orchestrator and the services, and the way out."""

from pathlib import Path
from typing import Any

from graphmesh_mesh.egress import AllowedHosts
from graphmesh_mesh.envoy import mutual_tls
from graphmesh_mesh.envoy.access_log import access_log
from graphmesh_mesh.envoy.addresses import bounded_addresses
from graphmesh_mesh.envoy.descriptors import DESCRIPTORS
from graphmesh_mesh.envoy.documents import (
    BUFFER,
    CLIENT_HEADER,
    CORS,
    LUA,
    RATE_LIMIT,
    TRANSCODER,
    Document,
    config_source,
    extension,
    rds_file,
    seconds,
    socket,
    typed,
)
from graphmesh_mesh.envoy.egress import CONNECT, listener_name, proxy_filters, refusals
from graphmesh_mesh.envoy.limits import MAX_MESSAGE_BYTES, Limits, ListenerLimits, ProcessLimits
from graphmesh_mesh.envoy.replies import client_replies, grpc_codes, mesh_replies
from graphmesh_mesh.envoy.routes import caller_headers
from graphmesh_mesh.envoy.scopes import required_scopes
from graphmesh_mesh.envoy.tokens import OUR_HEADERS, identified_callers
from graphmesh_mesh.envoy.tracing import traced_requests, tracing
from graphmesh_mesh.envoy.workloads import known_workloads
from graphmesh_mesh.mutual_tls import MutualTls
from graphmesh_mesh.service import Listener
from graphmesh_mesh.topology import Mesh

CALL_NAMES = ("run", "thread", "node", "epoch", "lease", "approval", "approval-digest", "run-limits", "customer")
IDENTITY_HEADERS = tuple(f"x-graphmesh-{name}" for name in ("subject", "roles", "scopes", "client", *CALL_NAMES))
"""Headers that only the mesh itself may set: the edge removes them from requests. The tenant's header passes."""

PARSED_HEADERS = ("grpc-status", "grpc-previous-rpc-attempts", "grpc-retry-pushback-ms")
PARSED: list[Document] = [
    {"remove_on_match": {"key_matcher": {"suffix": "-bin"}}},
    *({"remove": header} for header in PARSED_HEADERS),
]
"""Removal of headers that gRPC's server library parses and no service reads.

The library keeps a value that it cannot parse in the header table of the connection, which all callers share: from then
on calls with the same header fail, also those in which its value is valid.
"""
BAD_REQUESTS = Path(__file__).with_name("bad_requests.lua")


def lds(mesh: Mesh, limits: Limits) -> Document:
    return {"resources": [edge_listener(mesh, limits), mesh_listener(mesh, limits), *egress_listeners(mesh, limits)]}


def edge_listener(mesh: Mesh, limits: Limits) -> Document:
    filters = [
        remove_identity_headers(mesh),
        bad_requests(),
        cors(),
        grpc_web(),
        *(identified_callers(mesh) if mesh.edge.identity == "tokens" else []),
        transcoder(mesh, limits.edge),
        *([required_scopes(mesh)] if mesh.identity else []),
        rate_limits(),
        whole_requests(limits.edge),
        router(),
    ]
    http = http_limits(limits.edge, limits.process, headers_with_underscores_action="REJECT_REQUEST")
    connections = manager(
        "edge",
        filters,
        local_reply_config=client_replies(mesh, limits.edge.body_bytes),
        use_remote_address=True,
        **tracing(mesh, "edge"),
        path_with_escaped_slashes_action="REJECT_REQUEST",
        **http,
    )
    return listener("edge", mesh.edge, connections, limits.edge)


def mesh_listener(mesh: Mesh, limits: Limits) -> Document:
    tls = mesh.mesh.tls
    filters = [
        *([known_workloads()] if tls else []),
        remove_parsed_headers(),
        rate_limits(),
        whole_requests(limits.mesh),
        router(),
    ]
    replies = mesh_replies(denies_workloads=tls is not None)
    options = {**tracing(mesh, "mesh"), **http_limits(limits.mesh, limits.process)}
    connections = manager("mesh", filters, local_reply_config=replies, **options)
    plain = listener("mesh", mesh.mesh, connections, limits.mesh)
    return with_mutual_tls(plain, tls, limits.mesh) if tls else plain


def with_mutual_tls(plain: Document, tls: MutualTls, limits: ListenerLimits) -> Document:
    secured = mutual_tls.from_workloads(tls, limits.silent_seconds)
    chains = [{**chain, **secured} for chain in plain["filter_chains"]]
    return {**plain, "listener_filters": [mutual_tls.inspector()], "filter_chains": chains}


def egress_listeners(mesh: Mesh, limits: Limits) -> list[Document]:
    """The HTTP proxy of each workload that may call hosts outside of the mesh."""
    if mesh.egress is None:
        return []
    return [
        egress_listener(name, allowed, Listener(address=mesh.egress.address, port=port), limits)
        for name, allowed, port in mesh.egress.listening
    ]


def egress_listener(workload: str, allowed: AllowedHosts, at: Listener, limits: Limits) -> Document:
    name = listener_name(workload)
    connections = manager(
        name,
        [*proxy_filters(allowed), router()],
        access_log=[access_log(name, host="%REQ(:AUTHORITY):261%")],
        codec_type="HTTP1",
        upgrade_configs=[{"upgrade_type": CONNECT}],
        local_reply_config=refusals(workload),
        normalize_path=False,
        merge_slashes=False,
        generate_request_id=False,
        server_header_transformation="PASS_THROUGH",
        **http_limits(limits.egress, limits.process),
    )
    return listener(name, at, connections, limits.egress)


def listener(name: str, at: Listener, connections: Document, limits: ListenerLimits) -> Document:
    chains = {"filter_chains": [{"filters": [connections]}]}
    if limits.address_connections:
        chains = bounded_addresses(name, [connections], limits.address_connections)
    return typed(
        "envoy.config.listener.v3.Listener",
        name=name,
        address=socket(at.address, at.port),
        **(first_byte(limits.silent_seconds) if limits.silent_seconds else {}),
        **chains,
        per_connection_buffer_limit_bytes=1024 * 1024,
    )


def first_byte(silent_seconds: float) -> Document:
    """An inspector that waits for the first byte of a connection; one that sends none is closed."""
    inspector = "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector"
    return {
        "listener_filters": [extension("envoy.filters.listener.http_inspector", inspector)],
        "listener_filters_timeout": seconds(silent_seconds),
    }


def manager(name: str, filters: list[Document], **options: Any) -> Document:
    return extension(
        "envoy.filters.network.http_connection_manager",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=name,
        rds={"route_config_name": name, "config_source": config_source(rds_file(name))},
        http_filters=filters,
        **{
            "access_log": [access_log(name)],
            "normalize_path": True,
            "merge_slashes": True,
            "stream_idle_timeout": "0s",
            **options,
        },
    )


def http_limits(limits: ListenerLimits, process: ProcessLimits, **common: Any) -> Document:
    """Limits on the resources of slow or hostile clients; `common` are further options of HTTP/1.1 and HTTP/2."""
    http2 = {
        "max_concurrent_streams": limits.streams,
        "initial_stream_window_size": limits.stream_window,
        "initial_connection_window_size": limits.connection_window,
        "connection_keepalive": limits.ping_seconds
        and {"interval": seconds(limits.ping_seconds), "timeout": seconds(limits.pong_seconds or 0)},
        "max_outbound_frames": process.frames,
        "max_outbound_control_frames": process.control_frames,
        "max_consecutive_inbound_frames_with_empty_payload": process.empty_frames,
        "max_inbound_priority_frames_per_stream": process.priority_frames,
        "max_inbound_window_update_frames_per_data_frame_sent": process.window_updates,
    }
    return {
        "common_http_protocol_options": {
            "idle_timeout": seconds(limits.idle_seconds),
            "max_headers_count": limits.headers,
            **common,
        },
        "max_request_headers_kb": limits.header_kib,
        "request_headers_timeout": seconds(limits.header_seconds),
        "request_timeout": seconds(limits.request_seconds or 0),
        "stream_flush_timeout": seconds(limits.flush_seconds),
        "http2_protocol_options": {name: value for name, value in http2.items() if value is not None},
    }


def remove_identity_headers(mesh: Mesh) -> Document:
    if mesh.edge.identity == "tokens":
        return request_mutations([*PARSED, *traced_requests([OUR_HEADERS])])
    kept = (*caller_headers(mesh), CLIENT_HEADER) if mesh.edge.identity == "forwarded" else ()
    removed: list[Document] = [{"remove": header} for header in IDENTITY_HEADERS if header not in kept]
    return request_mutations([*PARSED, *traced_requests(removed)])


def remove_parsed_headers() -> Document:
    return request_mutations(PARSED)


def request_mutations(mutations: list[Document]) -> Document:
    return extension(
        "envoy.filters.http.header_mutation",
        "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
        mutations={"request_mutations": mutations},
    )


def cors() -> Document:
    return extension(CORS, "envoy.extensions.filters.http.cors.v3.Cors")


def grpc_web() -> Document:
    return extension("envoy.filters.http.grpc_web", "envoy.extensions.filters.http.grpc_web.v3.GrpcWeb")


def bad_requests() -> Document:
    """Complete Envoy's own replies to invalid requests, after all other filters; see bad_requests.lua.

    Only routes of requests that are not plain gRPC enable it.
    """
    source = {"inline_string": f"{grpc_codes()}\n{BAD_REQUESTS.read_text()}"}
    script = extension(LUA, "envoy.extensions.filters.http.lua.v3.Lua", default_source_code=source)
    return {**script, "disabled": True}


def transcoder(mesh: Mesh, limits: ListenerLimits) -> Document:
    """Transcode the API to JSON; a server stream to newline-delimited JSON. Routes enable it, as `bad_requests`."""
    filter = extension(
        TRANSCODER,
        "envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
        proto_descriptor=DESCRIPTORS,
        services=[each.full_name for name in mesh.edge.services for each in mesh.services[name].descriptors],
        convert_grpc_status=True,
        auto_mapping=True,
        print_options={"stream_newline_delimited": True},
        request_validation_options={"reject_unknown_query_parameters": True},
        max_request_body_size=limits.body_bytes,
        max_response_body_size=2 * MAX_MESSAGE_BYTES,
    )
    return {**filter, "disabled": True}


def rate_limits() -> Document:
    """The filter without a limit: the buckets are in the routes, whose changes apply to open connections too."""
    return extension(RATE_LIMIT, "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit", stat_prefix="none")


def whole_requests(limits: ListenerLimits) -> Document:
    """Forward a request when it is complete, so that one that its client never completes takes none of the cap."""
    return extension(BUFFER, "envoy.extensions.filters.http.buffer.v3.Buffer", max_request_bytes=limits.body_bytes)


def router() -> Document:
    return extension(
        "envoy.filters.http.router",
        "envoy.extensions.filters.http.router.v3.Router",
        suppress_envoy_headers=True,
    )
