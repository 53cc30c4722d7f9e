"""Servers that do not have the contract which their callers have: each call ends with an error that says so."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from graphmesh.billing.v1 import BillingService, GetChargeRequest
from graphmesh.orchestrator.v1 import RunService, StreamRunRequest
from graphmesh_chassis import metadata
from graphmesh_chassis.channel import MAX_MESSAGE_BYTES, Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import FailedPrecondition, GraphmeshError, InvalidResponse, UnknownMethod

Reply = Callable[[Any], Awaitable[bytes]]
LARGE = b"\x0a" + bytes([0x80, 0x80, 0x80, 0x09]) + b"x" * (9 << 21)


@asynccontextmanager
async def channel_to(reply: Reply) -> AsyncIterator[Channel]:
    """Serve both methods with serialized replies."""

    async def unary(request: bytes, context: Any) -> bytes:
        return await reply(context)

    async def stream(request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield b""
        yield await reply(context)

    unary_handler: Any = grpc.unary_unary_rpc_method_handler(unary)
    stream_handler: Any = grpc.unary_stream_rpc_method_handler(stream)
    server = grpc.aio.server(options=[("grpc.max_send_message_length", -1)])
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(BillingService.NAME, {"GetCharge": unary_handler}),
            grpc.method_handlers_generic_handler(RunService.NAME, {"StreamRun": stream_handler}),
        )
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with Channel(f"127.0.0.1:{port}") as channel:
            yield channel
    finally:
        await server.stop(None)


async def unary(channel: Channel) -> Any:
    return await channel.unary(BillingService.GetCharge, GetChargeRequest(), deadline=Deadline.after(20))


async def effect(channel: Channel) -> Any:
    return await channel.effect(BillingService.GetCharge, GetChargeRequest(), deadline=Deadline.after(20))


async def stream(channel: Channel) -> Any:
    return [one async for one in channel.stream(RunService.StreamRun, StreamRunRequest(), deadline=Deadline.after(20))]


@pytest.mark.parametrize("call", [unary, effect, stream])
@pytest.mark.parametrize("content", [b"\xff\xff\xff\xff", b"\x0a\x05hello", LARGE], ids=["bytes", "type", "size"])
async def test_response_of_another_contract_is_an_error(
    call: Callable[[Channel], Awaitable[Any]], content: bytes
) -> None:
    """The call may have happened: the server has answered it."""

    async def reply(context: Any) -> bytes:
        return content

    async with channel_to(reply) as channel:
        with pytest.raises(
            InvalidResponse, match=f"another contract|bytes, and may have {MAX_MESSAGE_BYTES}"
        ) as raised:
            await call(channel)
    assert raised.value.may_have_happened
    assert not raised.value.retryable


async def test_details_that_are_no_status_are_ignored() -> None:
    async def reply(context: Any) -> bytes:
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "closed", ((metadata.STATUS_DETAILS, b"\xff\xff"),))
        return b""

    async with channel_to(reply) as channel:
        with pytest.raises(FailedPrecondition, match="closed"):
            await unary(channel)


async def test_method_that_does_not_exist_is_named() -> None:
    async def reply(context: Any) -> bytes:
        return b""

    async with channel_to(reply) as channel:
        with pytest.raises(UnknownMethod) as raised:
            await channel.unary(BillingService.Refund, BillingService.Refund.request(), deadline=Deadline.after(20))
        error: GraphmeshError = raised.value
        assert "billing.Refund" in str(error)
