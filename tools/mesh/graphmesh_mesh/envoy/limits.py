"""Limits on what one client may take from Envoy, as the table of docs/limits.md states them."""

from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields
from typing import Any

KIB, MIB = 1024, 1024 * 1024
MAX_MESSAGE_BYTES = 16 * MIB
"""The largest message that servers accept. JSON is larger than the message that it encodes, so it gets twice that."""
LIMIT, UNIT, SEEN = "limit", "unit", "seen"


def _limit(value: float | None, unit: str, limit: str, seen: str) -> Any:
    """A limit, of which the table states what is limited and what a client sees at it; None and 0: not limited."""
    return field(default=value, metadata={LIMIT: limit, UNIT: unit, SEEN: seen})


@dataclass(frozen=True, kw_only=True)
class ListenerLimits:
    """The limits of a listener. The defaults are those of the edge."""

    connections: int = _limit(
        10_000, "", "connections at the same time", "a further connection is closed when it is accepted"
    )
    address_connections: int | None = _limit(5_000, "", "connections of a client address at the same time", "as above")
    silent_seconds: float | None = _limit(
        None, "s", "a new connection that sends no first byte of a request", "the connection is closed"
    )
    """None: that of a connection without a request. A connection is not counted for its address before that byte."""
    idle_seconds: float = _limit(
        300, "s", "a connection without a request", "over HTTP/2 GOAWAY; 5 s later the connection is closed"
    )
    streams: int = _limit(
        128, "", "requests at the same time on a connection", "`REFUSED_STREAM`; clients that obey SETTINGS wait"
    )
    header_kib: int = _limit(32, "KiB", "headers of a request", "HTTP 431; over HTTP/2 the stream is reset")
    headers: int = _limit(100, "", "number of headers of a request", "as above")
    header_seconds: float = _limit(
        10,
        "s",
        "from the first byte of a request to its last header",
        "HTTP 408; over HTTP/2 it is a connection without a request",
    )
    request_seconds: float | None = _limit(
        60, "s", "from the first byte of a request to its last", "HTTP 408, gRPC DEADLINE_EXCEEDED"
    )
    body_bytes: int = _limit(
        2 * MAX_MESSAGE_BYTES, "B", "body of a request", "HTTP 413, gRPC INVALID_ARGUMENT `MESSAGE_TOO_LARGE`"
    )
    flush_seconds: float = _limit(
        60, "s", "a finished response of which the client takes no byte", "the stream is reset"
    )
    stream_window: int | None = _limit(
        64 * KIB, "B", "bytes of a request that are in flight", "HTTP/2 flow control: the sender waits"
    )
    connection_window: int | None = _limit(MIB, "B", "the same of all requests of a connection", "as above")
    ping_seconds: float | None = _limit(
        30, "s", "between two pings of a connection", "a ping, which its library answers"
    )
    pong_seconds: float | None = _limit(10, "s", "until the answer to a ping", "the connection is closed")


@dataclass(frozen=True, kw_only=True)
class ProcessLimits:
    """The limits of an Envoy, over all listeners."""

    heap_bytes: int = _limit(
        1024 * MIB,
        "B",
        "heap",
        "from 40 % on the largest open requests are reset; from 95 % on requests get HTTP 503, gRPC UNAVAILABLE; "
        "from 98 % on connections are closed when they are accepted",
    )
    crowd: int = _limit(
        1_000,
        "",
        "connections of all listeners",
        "from here on a connection without a request is closed sooner, and from twice as many on after 1 % of its time",
    )
    resets: int = _limit(
        500, "", "requests of a connection, of which the client resets more than half at once", "it is disconnected"
    )
    control_frames: int = _limit(
        1000, "", "answers to PING, SETTINGS and RST_STREAM that a client does not read", "it is disconnected"
    )
    frames: int = _limit(10_000, "", "frames that a client does not read", "it is disconnected")
    empty_frames: int = _limit(1, "", "empty frames of a request in a row", "it is disconnected")
    priority_frames: int = _limit(100, "", "PRIORITY frames for each request", "it is disconnected")
    window_updates: int = _limit(10, "", "WINDOW_UPDATE frames for each frame of a response", "it is disconnected")
    requests_a_cycle: int = _limit(
        1, "", "requests of a connection that are read before it is another connection's turn", "nothing"
    )


@dataclass(frozen=True, kw_only=True)
class TunnelLimits:
    """The limits of calls out of the mesh."""

    connect_seconds: float = _limit(5, "s", "until a host has accepted a connection", "HTTP 503")
    idle_seconds: float = _limit(900, "s", "a tunnel or a call without a byte", "the connection is closed")
    names: int = _limit(
        1024, "", "names below wildcards in use, of all workloads", "HTTP 503; a name is forgotten 5 minutes later"
    )
    dns_seconds: float = _limit(
        60, "s", "between two resolutions of a name whose answer has no shorter time to live", "nothing"
    )


@dataclass(frozen=True, kw_only=True)
class Limits:
    """All limits of an Envoy."""

    edge: ListenerLimits = ListenerLimits()
    mesh: ListenerLimits = ListenerLimits(
        address_connections=None,
        silent_seconds=10,
        idle_seconds=3600,
        streams=1024,
        header_kib=60,
        request_seconds=None,
        stream_window=None,
        connection_window=None,
        ping_seconds=None,
        pong_seconds=None,
    )
    """Its callers are the orchestrator and the services. The timeout of the method bounds their requests."""
    egress: ListenerLimits = ListenerLimits(
        connections=1024,
        address_connections=None,
        silent_seconds=10,
        streams=1,
        request_seconds=None,
        body_bytes=0,
        stream_window=None,
        connection_window=None,
        ping_seconds=None,
        pong_seconds=None,
    )
    """Of each workload. Its connections are HTTP/1.1."""
    process: ProcessLimits = ProcessLimits()
    tunnels: TunnelLimits = TunnelLimits()


DEFAULT_LIMITS = Limits()


def table(limits: Limits) -> str:
    """Return the limits as a table in Markdown."""
    rows = [("limit", "edge", "mesh", "egress", "what a client sees"), ("---",) * 5, *_rows(limits)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _rows(limits: Limits) -> Iterator[tuple[str, ...]]:
    for one in fields(ListenerLimits):
        yield _row(one, *(_shown(one, getattr(at, one.name)) for at in (limits.edge, limits.mesh, limits.egress)))
    for one in fields(ProcessLimits):
        yield _row(one, _shown(one, getattr(limits.process, one.name)), "together", "together")
    for one in fields(TunnelLimits):
        yield _row(one, "", "", _shown(one, getattr(limits.tunnels, one.name)))


def _row(one: Field[Any], edge: str, mesh: str, egress: str) -> tuple[str, ...]:
    return one.metadata[LIMIT], edge, mesh, egress, one.metadata[SEEN]


def _shown(one: Field[Any], value: float | None) -> str:
    if not value:
        return "none"
    if (unit := one.metadata[UNIT]) == "B":
        return f"{value // MIB} MiB" if value >= MIB else f"{value // KIB} KiB"
    return f"{value:,} {unit}".strip()
