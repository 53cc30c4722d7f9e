"""The edge: one API as gRPC, JSON and gRPC-Web, and limits for those who misuse it (A5, A6)."""

import asyncio
import http.client
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from graphmesh_mesh.topology import Listener

from tests.integration.envoy import shelf
from tests.integration.envoy.rig import MESSAGE_BYTES, Rig, eventually, refusing, shelf_mesh, standing

ORIGIN = "https://app.example"
SPOOFED = {
    f"x-graphmesh-{name}": "mine" for name in ("subject", "scopes", "run", "thread", "node", "epoch", "approval")
}


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with standing(shelf_mesh(edge={"origins": [ORIGIN]}), tmp_path) as rig:
        yield rig


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def fetch(
    at: Listener, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Reply:
    """One HTTP/1.1 request, as curl makes it."""

    def exchange() -> Reply:
        connection = http.client.HTTPConnection(at.address, at.port, timeout=30)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    return await asyncio.to_thread(exchange)


async def test_json(rig: Rig) -> None:
    """The http annotations of the proto are a JSON API: fields from path, query and body."""
    got = await fetch(rig.mesh.edge, "GET", "/v1/books/b1")
    put = await fetch(rig.mesh.edge, "POST", "/v1/books", b'{"bookId": "b1", "text": "four"}')
    assert (got.status, got.json) == (200, {"bookId": "book"})
    assert (put.status, put.json) == (200, {"length": 4})


async def test_a_stream_is_newline_delimited_json(rig: Rig) -> None:
    """Each message of a stream is a line, and comes when it is sent."""
    reader, writer = await asyncio.open_connection(rig.mesh.edge.address, rig.mesh.edge.port)
    writer.write(b"GET /v1/books HTTP/1.1\r\nHost: edge\r\n\r\n")
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
        first = await reader.readuntil(b'"}\n')
        rig.replica.released.set()
        last = await reader.readuntil(b'"}\n')
    writer.close()
    assert head.startswith(b"HTTP/1.1 200")
    assert first.endswith(b'{"bookId":"first"}\n')
    assert last.endswith(b'{"bookId":"last"}\n')


async def test_an_error_is_json(rig: Rig) -> None:
    """A gRPC status becomes the HTTP status that belongs to it, and google.rpc.Status as body."""
    rig.replica.answer = refusing(grpc.StatusCode.NOT_FOUND, "no such book")
    reply = await fetch(rig.mesh.edge, "GET", "/v1/books/b1")
    assert (reply.status, reply.json) == (404, {"code": 5, "message": "no such book"})


async def test_wrong_json_is_the_caller_s_fault(rig: Rig) -> None:
    """What is not the request's JSON is refused with 400 before any service sees it."""
    for body in (b'{"bookId": {}}', b"not json"):
        reply = await fetch(rig.mesh.edge, "POST", "/v1/books", body)
        assert (reply.status, reply.json["code"]) == (400, 3)
    assert (await fetch(rig.mesh.edge, "GET", "/v1/books/b1?colour=red")).status == 400
    assert not rig.replica.seen


async def test_an_unknown_path_is_not_found(rig: Rig) -> None:
    """What no annotation names is 404."""
    reply = await fetch(rig.mesh.edge, "GET", "/v2/nothing")
    assert (reply.status, reply.json) == (404, {"code": 5, "message": "the mesh has no such method"})


async def test_an_absent_service_is_503_with_its_flags(rig: Rig) -> None:
    """Envoy's own refusals look like the services' in JSON too."""
    rig.replica.answer = refusing(grpc.StatusCode.UNAVAILABLE)
    await rig.down()
    reply = await fetch(rig.mesh.edge, "GET", "/v1/books/b1")
    assert (reply.status, reply.headers["x-envoy-response-flags"]) == (503, "UH")
    assert reply.json == {"code": 14, "message": "no healthy upstream"}


async def test_the_policy_s_timeout_holds_for_json(rig: Rig) -> None:
    """A JSON caller has no deadline of its own to send; the policy's ends the call, with 504's meaning."""
    rig.change(methods={"GetBook": {"timeout": "0.3s"}})

    async def changed() -> bool:
        await rig.edge()
        return (rig.replica.seen[-1].remaining or 99) < 1

    await eventually(changed)
    rig.replica.answer = rig.replica.held
    reply = await fetch(rig.mesh.edge, "GET", "/v1/books/b1")
    assert (reply.status, reply.json["code"]) == (504, 4)


async def test_clients_cannot_say_who_they_are(rig: Rig) -> None:
    """The headers by which the mesh knows a caller are removed at the edge; tenant and effect key pass."""
    keep = {"x-graphmesh-tenant": "acme", "idempotency-key": "k"}
    await rig.edge(headers={**SPOOFED, **keep})
    await fetch(rig.mesh.edge, "GET", "/v1/books/b1", headers={**SPOOFED, **keep})
    for seen in rig.replica.seen:
        assert not SPOOFED.keys() & seen.metadata.keys()
        assert keep.items() <= seen.metadata.items()
    assert len(rig.replica.seen) == 2


async def test_inside_the_mesh_they_pass(rig: Rig) -> None:
    """Between the orchestrator and the services the same headers are the truth."""
    await rig.call(headers=SPOOFED)
    assert SPOOFED.items() <= rig.replica.seen[0].metadata.items()


@pytest.mark.parametrize("at", ["edge", "mesh"])
async def test_callers_cannot_order_retries_or_timeouts(rig: Rig, at: str) -> None:
    """Envoy's control headers have no effect: a failure that is not Envoy's to retry stays one call (D4)."""
    rig.replica.answer = refusing(grpc.StatusCode.INTERNAL)
    orders = {"x-envoy-retry-grpc-on": "internal", "x-envoy-retry-on": "5xx", "x-envoy-max-retries": "5"}
    outcome = await (rig.edge if at == "edge" else rig.call)(headers={**orders, "x-envoy-upstream-rq-timeout-ms": "1"})
    assert outcome.code is grpc.StatusCode.INTERNAL
    assert len(rig.replica.seen) == 1


async def test_the_largest_message_passes(rig: Rig) -> None:
    """16 MiB go through the edge and the mesh, as gRPC and as JSON (A6)."""
    size = MESSAGE_BYTES - 1024
    for call in (rig.edge, rig.call):
        assert (await call("PutBook", text="x" * size)).response == shelf.message("PutBookResponse", length=size)
    reply = await fetch(rig.mesh.edge, "POST", "/v1/books", json.dumps({"text": "x" * size}).encode())
    assert (reply.status, reply.json) == (200, {"length": size})


async def test_the_largest_answer_passes(rig: Rig) -> None:
    """16 MiB come back through the edge as JSON too."""
    size = MESSAGE_BYTES - 1024

    async def long(request: Any, context: Any) -> Any:
        return shelf.message("GetBookResponse", book_id="x" * size)

    rig.replica.answer = long
    reply = await fetch(rig.mesh.edge, "GET", "/v1/books/b1")
    assert (reply.status, len(reply.json["bookId"])) == (200, size)


async def test_a_larger_body_is_refused(rig: Rig) -> None:
    """More than a message can be is refused, as gRPC and as JSON, and no use case sees it."""
    size = MESSAGE_BYTES + 1024
    assert (await rig.edge("PutBook", text="x" * size)).code is grpc.StatusCode.RESOURCE_EXHAUSTED
    reply = await fetch(rig.mesh.edge, "POST", "/v1/books", json.dumps({"text": "x" * size}).encode())
    assert (reply.status, reply.json["code"]) == (429, 8)
    assert not rig.replica.seen


async def test_too_many_headers_are_refused(rig: Rig) -> None:
    """More or larger headers than a client has reason to send are refused with 431."""
    many = {f"x-header-{number}": "x" for number in range(120)}
    assert (await fetch(rig.mesh.edge, "GET", "/v1/books/b1", headers=many)).status == 431
    assert (await fetch(rig.mesh.edge, "GET", "/v1/books/b1", headers={"x": "x" * 40_000})).status == 431


@pytest.mark.parametrize(("origin", "allowed"), [(ORIGIN, ORIGIN), ("https://evil.example", None)])
async def test_only_known_origins_may_call_from_browsers(rig: Rig, origin: str, allowed: str | None) -> None:
    """A preflight is answered for the origins of mesh.yaml and for no other."""
    asks = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    reply = await fetch(rig.mesh.edge, "OPTIONS", "/v1/books", headers=asks)
    assert reply.headers.get("access-control-allow-origin") == allowed


async def test_grpc_web(rig: Rig) -> None:
    """A browser's gRPC-Web call is answered in its own framing."""
    request = shelf.message("GetBookRequest", book_id="b1").SerializeToString()
    framed = b"\0" + len(request).to_bytes(4, "big") + request
    headers = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1", "origin": ORIGIN}
    reply = await fetch(rig.mesh.edge, "POST", shelf.path("GetBook"), framed, headers)
    assert (reply.status, reply.headers["access-control-allow-origin"]) == (200, ORIGIN)
    assert b"book" in reply.body
    assert b"grpc-status:0" in reply.body


async def test_health_through_the_edge(rig: Rig) -> None:
    """Whoever stands in front asks the edge, and its service answers; the mesh has one for each service instead."""
    assert await rig.edge.raw("/grpc.health.v1.Health/Check") == b"\x08\x01"
    with pytest.raises(grpc.aio.AioRpcError):
        await rig.call.raw("/grpc.health.v1.Health/Check")


async def test_what_happened_is_logged(rig: Rig) -> None:
    """Each call is a line of JSON with the run and the trace that it belongs to."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await rig.call(headers={"x-graphmesh-run": "run_1", "traceparent": trace})

    async def logged() -> bool:
        lines = [json.loads(line) for line in rig.log.read_text().splitlines() if line.startswith("{")]
        found = [line for line in lines if line.get("run") == "run_1"]
        return [(one["traceparent"], one["grpc_status"], one["service"]) for one in found] == [(trace, "OK", "shelf")]

    await eventually(logged)
