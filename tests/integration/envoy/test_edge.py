"""The edge: one API as gRPC, JSON and gRPC-Web, and its limits."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2
from graphmesh_chassis.errors import RateLimited
from graphmesh_chassis.status import to_grpc
from grpc_health.v1 import health_pb2

from tests.integration.envoy import books_contract
from tests.integration.envoy.envoy_harness import (
    MESSAGE_BYTES,
    EnvoyHarness,
    books_mesh,
    envoy_with_replica,
    error_info,
    eventually,
    failing,
)
from tests.integration.envoy.http_client import fetch

ORIGIN = "https://app.example"
SPOOFED_NAMES = (
    "subject",
    "scopes",
    "client",
    "run",
    "thread",
    "node",
    "epoch",
    "approval",
    "approval-digest",
    "customer",
)
SPOOFED = {f"x-graphmesh-{name}": "mine" for name in SPOOFED_NAMES}


@pytest.fixture
async def envoy(tmp_path: Path) -> AsyncIterator[EnvoyHarness]:
    async with envoy_with_replica(books_mesh(edge={"origins": [ORIGIN]}), tmp_path) as envoy:
        yield envoy


async def test_json_requests_are_transcoded(envoy: EnvoyHarness) -> None:
    """By the http annotations of the proto, with fields from path and body."""
    got = await fetch(envoy.mesh.edge, "GET", "/v1/books/b1")
    put = await fetch(envoy.mesh.edge, "POST", "/v1/books", b'{"bookId": "b1", "text": "four"}')
    assert (got.status, got.json) == (200, {"bookId": "book"})
    assert (put.status, put.json) == (200, {"length": 4})


async def test_a_stream_is_newline_delimited_json(envoy: EnvoyHarness) -> None:
    """Each message is a line, delivered when it is sent."""
    reader, writer = await asyncio.open_connection(envoy.mesh.edge.address, envoy.mesh.edge.port)
    writer.write(b"GET /v1/books HTTP/1.1\r\nHost: edge\r\n\r\n")
    async with asyncio.timeout(60):
        head = await reader.readuntil(b"\r\n\r\n")
        first = await reader.readuntil(b'"}\n')
        envoy.replica.released.set()
        last = await reader.readuntil(b'"}\n')
    writer.close()
    assert head.startswith(b"HTTP/1.1 200")
    assert first.endswith(b'{"bookId":"first"}\n')
    assert last.endswith(b'{"bookId":"last"}\n')


async def test_the_openapi_document_is_served_and_follows_the_mesh(envoy: EnvoyHarness) -> None:
    """An edit of mesh.yaml that changes a method's scopes changes it."""

    async def scopes() -> Any:
        reply = await fetch(envoy.mesh.edge, "GET", "/openapi.json")
        assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
        return reply.json["paths"]["/v1/books/{book_id}"]["get"]["x-required-scopes"]

    assert await scopes() == ["books.read"]
    envoy.change(methods={"GetBook": {"scopes": ["books.lend"]}})

    async def has_changed() -> bool:
        return bool(await scopes() == ["books.lend"])

    await eventually(has_changed)


async def test_errors_are_json(envoy: EnvoyHarness) -> None:
    """A gRPC status becomes its HTTP status, with google.rpc.Status as body."""
    envoy.replica.handler = failing(grpc.StatusCode.NOT_FOUND, "no such book")
    reply = await fetch(envoy.mesh.edge, "GET", "/v1/books/b1")
    assert (reply.status, reply.json) == (404, {"code": 5, "message": "no such book"})


async def test_invalid_json_is_refused_with_400(envoy: EnvoyHarness) -> None:
    """Before it reaches a service."""
    for body in (b'{"bookId": {}}', b"not json"):
        reply = await fetch(envoy.mesh.edge, "POST", "/v1/books", body)
        assert (reply.status, reply.json["code"]) == (400, 3)
    assert (await fetch(envoy.mesh.edge, "GET", "/v1/books/b1?colour=red")).status == 400
    assert not envoy.replica.received


async def test_unknown_paths_are_404(envoy: EnvoyHarness) -> None:
    reply = await fetch(envoy.mesh.edge, "GET", "/v2/nothing")
    assert (reply.status, reply.json) == (
        404,
        {"code": 5, "message": "the mesh has no such method", "details": [error_info("UNKNOWN_METHOD")]},
    )


async def test_a_service_without_healthy_replicas_is_503_with_flags(envoy: EnvoyHarness) -> None:
    """Envoy's own replies have the form of the services' errors in JSON too."""
    envoy.replica.health = health_pb2.HealthCheckResponse.NOT_SERVING

    async def has_no_replica() -> bool:
        return (await envoy.edge()).flags == "UH"

    await eventually(has_no_replica)
    reply = await fetch(envoy.mesh.edge, "GET", "/v1/books/b1")
    assert (reply.status, reply.headers["x-envoy-response-flags"]) == (503, "UH")
    assert reply.json == {"code": 14, "message": "no healthy upstream", "details": [error_info("CIRCUIT_OPEN")]}


async def test_the_policy_s_timeout_applies_to_json(envoy: EnvoyHarness) -> None:
    """A JSON request has no deadline; the policy's timeout ends the call with 504."""
    envoy.change(methods={"GetBook": {"timeout": "0.3s"}})

    async def has_changed() -> bool:
        await envoy.edge()
        return (envoy.replica.received[-1].remaining or 99) < 1

    await eventually(has_changed)
    envoy.replica.handler = envoy.replica.block
    reply = await fetch(envoy.mesh.edge, "GET", "/v1/books/b1")
    assert (reply.status, reply.json["code"]) == (504, 4)


async def test_the_edge_removes_identity_headers(envoy: EnvoyHarness) -> None:
    """The tenant's header and the effect key pass."""
    keep = {"x-graphmesh-tenant": "acme", "idempotency-key": "k"}
    await envoy.edge(headers={**SPOOFED, **keep})
    await fetch(envoy.mesh.edge, "GET", "/v1/books/b1", headers={**SPOOFED, **keep})
    for received in envoy.replica.received:
        assert not SPOOFED.keys() & received.metadata.keys()
        assert keep.items() <= received.metadata.items()
    assert len(envoy.replica.received) == 2


async def test_the_edge_states_where_a_trace_begins(envoy: EnvoyHarness) -> None:
    """By headers of its own, which no client sets, but for the id of a run's span; also where Envoy has none."""
    sent, own = f"00-{'a' * 32}-{'b' * 16}-01", "b" * 16
    forged = {"x-graphmesh-client-trace": "forged", "x-graphmesh-edge-start": "1.0", "x-kept-run-span": "c" * 16}
    await envoy.edge(headers={**forged, "traceparent": sent, "x-graphmesh-run-span": own})
    await envoy.edge(headers=forged)
    with_trace, without = (received.metadata for received in envoy.replica.received)
    assert (with_trace["x-graphmesh-client-trace"], with_trace["x-graphmesh-run-span"]) == (sent, own)
    assert float(str(with_trace["x-graphmesh-edge-start"])) > time.time() - 600
    assert "x-graphmesh-run-span" not in without
    assert without.get("x-graphmesh-client-trace", "") != "forged"
    assert "x-kept-run-span" not in with_trace.keys() | without.keys()


async def test_an_edge_behind_an_authenticating_proxy_forwards_the_caller(tmp_path: Path) -> None:
    """Subject, scopes and client pass with `identity: forwarded`; the headers of runs are still removed."""
    async with envoy_with_replica(books_mesh(edge={"identity": "forwarded"}), tmp_path) as envoy:
        await envoy.edge(headers={**SPOOFED, "x-graphmesh-tenant": "acme"})
        received = envoy.replica.received[0].metadata
    assert SPOOFED.keys() & received.keys() == {f"x-graphmesh-{name}" for name in ("subject", "scopes", "client")}


@pytest.mark.parametrize("header", ["x-graphmesh-tenant", "x-graphmesh-subject", "x-graphmesh-scopes"])
async def test_no_client_removes_the_headers_of_the_proxy(tmp_path: Path, header: str) -> None:
    """Envoy removes what `connection` nominates; a call without one of the headers ends at Envoy, as JSON and gRPC."""
    identity = {"x-graphmesh-tenant": "acme", "x-graphmesh-subject": "ada", "x-graphmesh-scopes": "books.read"}
    rest = {name: identity[name] for name in identity if name != header}
    nominated = {**identity, "connection": header}
    grpc_type = {"content-type": "application/grpc"}
    async with envoy_with_replica(books_mesh(edge={"identity": "forwarded"}), tmp_path) as envoy:
        assert (await envoy.edge(headers=identity)).code is grpc.StatusCode.OK
        assert (await envoy.edge(headers=rest)).code is grpc.StatusCode.UNAUTHENTICATED
        for headers in (rest, nominated):
            reply = await fetch(envoy.mesh.edge, "GET", "/v1/books/b1", headers=headers)
            assert (reply.status, reply.json["details"]) == (401, [error_info("UNAUTHENTICATED")])
            path = books_contract.path("GetBook")
            reply = await fetch(envoy.mesh.edge, "POST", path, b"\0\0\0\0\0", {**headers, **grpc_type})
            assert reply.headers["grpc-status"] == "16"
        assert len(envoy.replica.received) == 1
        assert await envoy.edge.raw("/grpc.health.v1.Health/Check") == b"\x08\x01"


async def test_the_mesh_listener_forwards_identity_headers(envoy: EnvoyHarness) -> None:
    """The orchestrator and the services trust each other's headers."""
    await envoy.call(headers=SPOOFED)
    assert SPOOFED.items() <= envoy.replica.received[0].metadata.items()


@pytest.mark.parametrize("at", ["edge", "mesh"])
async def test_callers_cannot_control_retries_or_timeouts(envoy: EnvoyHarness, at: str) -> None:
    """Envoy's control headers have no effect: a failure that Envoy does not retry is one call."""
    envoy.replica.handler = failing(grpc.StatusCode.INTERNAL)
    control = {"x-envoy-retry-grpc-on": "internal", "x-envoy-retry-on": "5xx", "x-envoy-max-retries": "5"}
    call = envoy.edge if at == "edge" else envoy.call
    outcome = await call(headers={**control, "x-envoy-upstream-rq-timeout-ms": "1"})
    assert outcome.code is grpc.StatusCode.INTERNAL
    assert len(envoy.replica.received) == 1


async def test_calls_above_the_rate_of_a_tenant_end_at_envoy(tmp_path: Path) -> None:
    """Other tenants' calls pass. A call without a tenant is one of the tenant `default`."""
    mesh = books_mesh(edge={"tenant_rate": {"calls": 20, "period": 3600}})
    async with envoy_with_replica(mesh, tmp_path) as envoy:
        busy = [await envoy.edge(headers={"x-graphmesh-tenant": "busy"}) for _ in range(25)]
        default = [await envoy.edge(headers=headers) for headers in ({}, {"x-graphmesh-tenant": "default"}) * 12]
        others = [await envoy.edge(headers={"x-graphmesh-tenant": f"other-{number}"}) for number in range(50)]
        json_reply = await fetch(envoy.mesh.edge, "GET", "/v1/books/b1")
        web = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1"}
        path, empty = books_contract.path("GetBook"), b"\0\0\0\0\0"
        web_reply = await fetch(envoy.mesh.edge, "POST", path, empty, headers=web)
        at_mesh = [await envoy.call(headers={"x-graphmesh-tenant": "busy"}) for _ in range(25)]
    for limited in (busy, default):
        assert [outcome.code for outcome in limited[:20]] == [grpc.StatusCode.OK] * 20
        assert {outcome.code for outcome in limited[20:]} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert {outcome.flags for outcome in limited[20:]} == {"RL"}
        assert all(outcome.trailing["x-ratelimit-reset"] for outcome in limited[20:])
        assert all(0 < int(outcome.trailing["retry-after"]) <= 3600 for outcome in limited[20:])
    for refusal in (json_reply.headers, web_reply.headers):
        seconds = int(refusal["retry-after"])
        assert 0 < seconds <= 3600
        found = refusal["ratelimit-policy"], refusal["ratelimit"]
        assert found == ('"edge";q=20', f'"edge";r=0;t={seconds}')
    assert {outcome.code for outcome in (*others, *at_mesh)} == {grpc.StatusCode.OK}
    assert (json_reply.status, json_reply.json["details"]) == (429, [error_info("RATE_LIMITED")])


async def test_json_has_the_headers_of_a_refusal_of_the_service(envoy: EnvoyHarness) -> None:
    """Those of the IETF's draft: the rate that is used up, and when its next call is due."""

    async def refuse(_: Any, context: Any) -> None:
        error = RateLimited("used up", retry_after=6.2, rate="tenant", calls=100, period_seconds=60)
        await context.abort_with_status(to_grpc(error))

    envoy.replica.handler = refuse
    reply = await fetch(envoy.mesh.edge, "GET", "/v1/books/b1")
    assert (reply.status, reply.json["code"]) == (429, code_pb2.RESOURCE_EXHAUSTED)
    found = {name: reply.headers[name] for name in ("retry-after", "ratelimit", "ratelimit-policy")}
    assert found == {
        "retry-after": "7",
        "ratelimit": '"tenant";r=0;t=7',
        "ratelimit-policy": '"tenant";q=100;w=60',
    }


async def test_the_largest_request_passes(envoy: EnvoyHarness) -> None:
    """16 MiB through the edge and the mesh listener, as gRPC and as JSON."""
    size = MESSAGE_BYTES - 1024
    for call in (envoy.edge, envoy.call):
        assert (await call("PutBook", text="x" * size)).response == books_contract.message(
            "PutBookResponse", length=size
        )
    reply = await fetch(envoy.mesh.edge, "POST", "/v1/books", json.dumps({"text": "x" * size}).encode())
    assert (reply.status, reply.json) == (200, {"length": size})


async def test_the_largest_response_passes(envoy: EnvoyHarness) -> None:
    """16 MiB through the edge as JSON."""
    size = MESSAGE_BYTES - 1024

    async def long(request: Any, context: Any) -> Any:
        return books_contract.message("GetBookResponse", book_id="x" * size)

    envoy.replica.handler = long
    reply = await fetch(envoy.mesh.edge, "GET", "/v1/books/b1")
    assert (reply.status, len(reply.json["bookId"])) == (200, size)


async def test_a_larger_request_is_refused(envoy: EnvoyHarness) -> None:
    """As gRPC and as JSON, before it reaches a use case."""
    size = MESSAGE_BYTES + 1024
    assert (await envoy.edge("PutBook", text="x" * size)).code is grpc.StatusCode.RESOURCE_EXHAUSTED
    reply = await fetch(envoy.mesh.edge, "POST", "/v1/books", json.dumps({"text": "x" * size}).encode())
    assert (reply.status, reply.json["code"]) == (429, 8)
    assert not envoy.replica.received


async def test_too_many_headers_are_refused(envoy: EnvoyHarness) -> None:
    """More or larger headers than a client needs are refused with 431."""
    many = {f"x-header-{number}": "x" for number in range(120)}
    assert (await fetch(envoy.mesh.edge, "GET", "/v1/books/b1", headers=many)).status == 431
    assert (await fetch(envoy.mesh.edge, "GET", "/v1/books/b1", headers={"x": "x" * 40_000})).status == 431


@pytest.mark.parametrize(("origin", "allowed"), [(ORIGIN, ORIGIN), ("https://evil.example", None)])
async def test_cors_allows_only_the_origins_of_mesh_yaml(envoy: EnvoyHarness, origin: str, allowed: str | None) -> None:
    preflight = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    reply = await fetch(envoy.mesh.edge, "OPTIONS", "/v1/books", headers=preflight)
    assert reply.headers.get("access-control-allow-origin") == allowed


async def test_grpc_web(envoy: EnvoyHarness) -> None:
    """A gRPC-Web call is answered in the framing of gRPC-Web."""
    request = books_contract.message("GetBookRequest", book_id="b1").SerializeToString()
    framed = b"\0" + len(request).to_bytes(4, "big") + request
    headers = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1", "origin": ORIGIN}
    reply = await fetch(envoy.mesh.edge, "POST", books_contract.path("GetBook"), framed, headers)
    assert (reply.status, reply.headers["access-control-allow-origin"]) == (200, ORIGIN)
    assert b"book" in reply.body
    assert b"grpc-status:0" in reply.body


async def test_health_through_the_edge(envoy: EnvoyHarness) -> None:
    """The edge forwards health checks to its service; the mesh listener has no route for them."""
    assert await envoy.edge.raw("/grpc.health.v1.Health/Check") == b"\x08\x01"
    with pytest.raises(grpc.aio.AioRpcError):
        await envoy.call.raw("/grpc.health.v1.Health/Check")


async def test_access_log(envoy: EnvoyHarness) -> None:
    """Each call is a line of JSON with its run and its trace."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await envoy.call(headers={"x-graphmesh-run": "run_1", "traceparent": trace})

    async def is_logged() -> bool:
        lines = [json.loads(line) for line in envoy.log.read_text().splitlines() if line.startswith("{")]
        found = [line for line in lines if line.get("run") == "run_1"]
        return [(one["traceparent"], one["grpc_status"], one["service"]) for one in found] == [(trace, "OK", "books")]

    await eventually(is_logged)
