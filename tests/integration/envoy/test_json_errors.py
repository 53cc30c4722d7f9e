"""Every error has code, message and details, also where Envoy itself answers; a caller's fault is never INTERNAL."""

import gzip
import json
from typing import Any

import pytest
from google.rpc import code_pb2
from graphmesh.common.v1 import error_reason_pb2
from graphmesh_mesh.envoy.listeners import REASONS_OF_503, REPLIES

from tests.integration.envoy import books_contract
from tests.integration.envoy.envoy_harness import EnvoyHarness, error_info
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
    assert {reason for _, reason in REPLIES.values()} | set(REASONS_OF_503.values()) <= known


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
