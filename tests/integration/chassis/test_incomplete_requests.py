"""Calls whose request ends before its message is complete, which no gRPC client sends."""

import asyncio

import pytest
from graphmesh_chaos.http2_connection import Http2Connection
from graphmesh_mesh.service import Listener

from tests.integration.chassis.probe import NAME, Question, echo, probing

MESSAGE = Question(number=300).SerializeToString()
FRAME = b"\0" + len(MESSAGE).to_bytes(4, "big") + MESSAGE


@pytest.mark.parametrize("body", [b"", FRAME[:3], FRAME[:-1]], ids=["none", "half of its head", "half of its message"])
@pytest.mark.parametrize("path", [f"/{NAME}/Ask", "/grpc.health.v1.Health/Check", f"/{NAME}/Unknown"])
async def test_an_incomplete_request_is_refused_at_once(path: str, body: bytes) -> None:
    """Without a deadline it would stay open indefinitely, and hold a place at Envoy."""
    async with probing({"Ask": echo}) as served:
        host, _, port = served.address.rpartition(":")
        headers = {
            ":method": "POST",
            ":scheme": "http",
            ":path": path,
            ":authority": "probe",
            "content-type": "application/grpc",
            "te": "trailers",
        }
        async with asyncio.timeout(60), Http2Connection.open(Listener(address=host, port=int(port))) as connection:
            await connection.wait_for_ends([connection.send(headers, body)])
