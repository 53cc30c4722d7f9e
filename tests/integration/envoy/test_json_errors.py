"""Every error has code, message and details, also where Envoy itself answers; a caller's fault is never INTERNAL."""

import gzip
import json
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2
from graphmesh.common.v1 import error_reason_pb2
from graphmesh_mesh.envoy.clusters import ClusterSettings
from graphmesh_mesh.envoy.limits import Limits, ListenerLimits
from graphmesh_mesh.envoy.replies import REPLIES
from grpc_health.v1 import health_pb2

from tests.integration.envoy import books_contract
from tests.integration.envoy.envoy_harness import EnvoyHarness, books_mesh, envoy_with_replica, error_info
from tests.integration.envoy.http_client import fetch

JSON = {"content-type": "application/json"}
REQUEST = b"\0\0\0\0\x04\n\x02b1"
COMPRESSED = b"\1" + REQUEST[1:]


def field_violations(reply: Any) -> list[str]:
    """Return the fields that the google.rpc.BadRequest of a reply names."""
    kind = "type.googleapis.com/google.rpc.BadRequest"
    found = [detail for detail in reply["details"] if detail["@type"] == kind]
    return [violation["field"] for detail in found for violation in detail["fieldViolations"]]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"text": 17}, ["text"]),
        ({"text": True}, ["text"]),
        ({"bookId": {"a": 1}}, ["book_id"]),
    ],
)
async def test_a_wrong_type_names_its_field(envoy: EnvoyHarness, body: Any, fields: list[str]) -> None:
    reply = await fetch(envoy.mesh.edge, "POST", "/v1/books", json.dumps(body).encode(), JSON)
    assert (reply.status, reply.json["code"]) == (400, code_pb2.INVALID_ARGUMENT)
    assert reply.json["details"][0] == error_info("INVALID_REQUEST")
    assert field_violations(reply.json) == fields


async def test_an_unknown_query_parameter_is_named(envoy: EnvoyHarness) -> None:
    reply = await fetch(envoy.mesh.edge, "GET", "/v1/books/b1?color=red")
    assert (reply.status, field_violations(reply.json)) == (400, ["color"])
    assert "color" in reply.json["message"]


@pytest.mark.parametrize(
    "body", [b'{"text":', b"{text}", b"[]", b"null", b'{"text":"\\ud800"}', b'{"text":"\xff"}', b"{}{}"]
)
async def test_malformed_json_has_details(envoy: EnvoyHarness, body: bytes) -> None:
    """It names no field."""
    reply = await fetch(envoy.mesh.edge, "POST", "/v1/books", body, JSON)
    assert (reply.status, reply.json["code"]) == (400, code_pb2.INVALID_ARGUMENT)
    assert reply.json["message"]
    assert reply.json["details"] == [error_info("INVALID_REQUEST")]


async def test_messages_of_the_transcoder_are_escaped(envoy: EnvoyHarness) -> None:
    """The message repeats text of the request."""
    body = json.dumps({"text": {'","details":[],"x":"': "\n"}}).encode()
    reply = await fetch(envoy.mesh.edge, "POST", "/v1/books", body, JSON)
    assert (reply.status, reply.json["details"][0]) == (400, error_info("INVALID_REQUEST"))


@pytest.mark.parametrize(
    ("headers", "status", "reason"),
    [({"x": "x" * 40_000}, 431, "INVALID_METADATA"), ({"x_y": "x"}, 400, "INVALID_REQUEST")],
)
async def test_refused_headers_have_details(
    envoy: EnvoyHarness, headers: dict[str, str], status: int, reason: str
) -> None:
    reply = await fetch(envoy.mesh.edge, "GET", "/v1/books/b1", headers=headers)
    assert (reply.status, reply.json["details"]) == (status, [error_info(reason)])


def test_reasons_of_envoy_s_replies_are_in_the_contract() -> None:
    known = {name.removeprefix("ERROR_REASON_") for name, _ in error_reason_pb2.ErrorReason.items()}
    assert {one.reason for one in REPLIES} <= known


GET_BOOK = books_contract.path("GetBook")
LARGE = b"\0\0\0\xff\xff" + bytes(0xFFFF)


async def check_reply(envoy: EnvoyHarness, code: int, reason: str, **changes: Any) -> None:
    """Cause a reply of Envoy itself, in gRPC and in both forms of gRPC-Web, and compare its status and details."""
    for kind in ("application/grpc", "application/grpc-web+proto", "application/grpc-web-text"):
        body = changes.get("body", REQUEST)
        sent = b64encode(body) if kind.endswith("text") else body
        headers = {"content-type": kind, **changes.get("headers", {})}
        reply = await fetch(
            envoy.mesh.edge, changes.get("method", "POST"), changes.get("path", GET_BOOK), sent, headers
        )
        details, info = reply.headers.get("grpc-status-details-bin", ""), error_details_pb2.ErrorInfo()
        status = status_pb2.Status.FromString(b64decode(details + "=="))
        assert (status.code, reply.headers["grpc-status"]) == (code, str(code)), (kind, reply)
        assert status.message == reply.headers["grpc-message"] != ""
        assert status.details[0].Unpack(info)
        assert (info.domain, info.reason) == ("graphmesh", reason)


async def test_replies_of_envoy_in_grpc_have_details(tmp_path: Path) -> None:
    """Python's and Go's gRPC read them only where code and message are those of the status."""
    mesh = books_mesh(edge={"tenant_rate": {"calls": 20, "period": 3600}})
    settings = ClusterSettings(limits=Limits(edge=ListenerLimits(body_bytes=len(LARGE) - 1)))
    async with envoy_with_replica(mesh, tmp_path, settings) as envoy:
        await check_reply(envoy, code_pb2.UNIMPLEMENTED, "UNKNOWN_METHOD", path="/acme.v1.Unknown/Get")
        await check_reply(envoy, code_pb2.INVALID_ARGUMENT, "INVALID_METADATA", method="PUT")
        await check_reply(envoy, code_pb2.INVALID_ARGUMENT, "INVALID_METADATA", headers={"grpc-encoding": "zstd"})
        await check_reply(envoy, code_pb2.INVALID_ARGUMENT, "MESSAGE_TOO_LARGE", body=LARGE)
        busy = {"x-graphmesh-tenant": "busy"}
        for _ in range(20):
            await envoy.edge(headers=busy)
        await check_reply(envoy, code_pb2.RESOURCE_EXHAUSTED, "RATE_LIMITED", headers=busy)
        envoy.replica.health = health_pb2.HealthCheckResponse.NOT_SERVING
        await envoy.wait_for_no_replica()
        await check_reply(envoy, code_pb2.UNAVAILABLE, "CIRCUIT_OPEN", headers={"x-graphmesh-tenant": "other"})


async def test_a_missing_header_of_the_proxy_is_named_in_details(tmp_path: Path) -> None:
    async with envoy_with_replica(books_mesh(edge={"identity": "forwarded"}), tmp_path) as envoy:
        await check_reply(envoy, code_pb2.UNAUTHENTICATED, "UNAUTHENTICATED")
        identity = {"x-graphmesh-tenant": "acme", "x-graphmesh-subject": "ada"}
        missing = (await envoy.edge(headers=identity)).details
        assert missing == "the header x-graphmesh-scopes is missing"


@pytest.mark.parametrize(
    ("content_type", "body", "encoding"),
    [
        ("application/grpc-web-text", b"!!!!", ""),
        ("application/grpc-web-text+proto", b"AAAA*", ""),
        ("application/grpc-web-text+proto", b"AAA", ""),
        ("application/grpc-web+proto", COMPRESSED, ""),
        ("application/grpc-web+proto", COMPRESSED, "gzip"),
        ("application/grpc-web+proto", COMPRESSED, "zstd"),
        ("application/grpc", COMPRESSED, ""),
        ("application/grpc", COMPRESSED, "deflate"),
        ("application/grpc", COMPRESSED, "zstd"),
        ("application/grpc", b"\1\0\0\0\x0a" + gzip.compress(REQUEST[5:], mtime=0)[:10], "gzip"),
    ],
)
async def test_unreadable_encodings_are_the_caller_s_fault(
    envoy: EnvoyHarness, content_type: str, body: bytes, encoding: str
) -> None:
    """Base64 and compression that cannot be decoded: INVALID_ARGUMENT."""
    headers = {"content-type": content_type, "x-grpc-web": "1", **({"grpc-encoding": encoding} if encoding else {})}
    reply = await fetch(envoy.mesh.edge, "POST", books_contract.path("GetBook"), body, headers)
    assert reply.headers["grpc-status"] == str(code_pb2.INVALID_ARGUMENT)
    assert not envoy.replica.received


async def test_a_deadline_of_grpc_web_is_exceeded(envoy: EnvoyHarness) -> None:
    """And not UNAVAILABLE, which clients retry."""
    envoy.replica.handler = envoy.replica.block
    headers = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1", "grpc-timeout": "100m"}
    reply = await fetch(envoy.mesh.edge, "POST", books_contract.path("GetBook"), REQUEST, headers)
    assert reply.headers["grpc-status"] == str(code_pb2.DEADLINE_EXCEEDED)
