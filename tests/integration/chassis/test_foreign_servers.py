"""Servers that lack, or do not keep, the contract of their callers: each call ends with an error that says so."""

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
from graphmesh_chassis.foreign_responses import check_foreign_response
from graphmesh_contracts import service

from tests.integration.orchestrator.loop_steps import cpu_seconds
from tests.shipping.contract import NAME, contract

Reply = Callable[[Any], Awaitable[bytes]]
LARGE = b"\x0a" + bytes([0x80, 0x80, 0x80, 0x09]) + b"x" * (9 << 21)


@asynccontextmanager
async def channel_to(reply: Reply) -> AsyncIterator[Channel]:
    """Serve methods of the mesh and of a service of another team with serialized replies."""

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
            grpc.method_handlers_generic_handler(
                NAME, {"Ship": unary_handler, "ListParcels": unary_handler, "Track": stream_handler}
            ),
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
    return await channel.unary(BillingService.GetCharge, GetChargeRequest(), deadline=Deadline.after(60))


async def effect(channel: Channel) -> Any:
    return await channel.effect(BillingService.GetCharge, GetChargeRequest(), deadline=Deadline.after(60))


async def stream(channel: Channel) -> Any:
    return [one async for one in channel.stream(RunService.StreamRun, StreamRunRequest(), deadline=Deadline.after(60))]


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


@pytest.fixture(scope="module")
def shipping(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Handles on a service whose contract has rules for its responses."""
    folder = tmp_path_factory.mktemp("contracts")
    (folder / f"{NAME}.binpb").write_bytes(contract())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAPHMESH_DESCRIPTOR_SETS", str(folder))
        return service(NAME)


async def called(shipping: Any, rpc: str, response: Any) -> Any:
    """Call an RPC whose service answers with a response."""
    handle, deadline = getattr(shipping, rpc), Deadline.after(60)

    async def reply(context: Any) -> bytes:
        return bytes(response.SerializeToString())

    async with channel_to(reply) as channel:
        if rpc == "Track":
            return [one async for one in channel.stream(handle, handle.request(), deadline=deadline)]
        made = channel.effect if rpc == "Ship" else channel.unary
        return await made(handle, handle.request(), deadline=deadline)


LIES: dict[str, tuple[str, dict[str, Any], str]] = {
    "missing": ("Ship", {}, "parcel: "),
    "nested": ("ListParcels", {"parcels": [{"parcel_id": "x"}, {}]}, "parcels[1].parcel_id: "),
    "bound": ("Ship", {"parcel": {"parcel_id": "x" * 41}}, "parcel.parcel_id: "),
    "time": ("Ship", {"parcel": {"parcel_id": "x", "shipped": {"nanos": -1}}}, "parcel.shipped: is not a time"),
    "many": ("ListParcels", {"parcels": [{}] * 101}, "parcels: must contain at most 100, it contains 101"),
    "several": ("ListParcels", {"parcels": [{}] * 100}, "; and 97 more"),
    "stream": ("Track", {}, "city: "),
}


@pytest.mark.parametrize("lie", LIES)
async def test_response_that_breaks_the_rules_of_its_contract_is_an_error(shipping: Any, lie: str) -> None:
    """It names the service, the method and the field, and is bounded, however long a response is."""
    rpc, fields, named = LIES[lie]
    with pytest.raises(InvalidResponse) as raised:
        await called(shipping, rpc, getattr(shipping, rpc).response(**fields))
    message = raised.value.message
    assert message.startswith(f"shipping.{rpc}: the response breaks its contract: ")
    assert named in message
    assert len(message) < 1_000
    assert (raised.value.data["method"], raised.value.may_have_happened) == (f"/{NAME}/{rpc}", True)


async def test_response_with_too_many_elements_is_refused_unread(shipping: Any) -> None:
    """In the time that counting them takes: their rules would take seconds, for a million of them."""
    response = shipping.ListParcels.response(parcels=[{"parcel_id": "x"}] * 1_000_000)

    def refused() -> None:
        with pytest.raises(InvalidResponse, match=r"shipping\.ListParcels: the response has more than 10,000 elements"):
            check_foreign_response(response, shipping.ListParcels)

    assert cpu_seconds(refused) < 1


async def test_response_that_keeps_its_contract_arrives(shipping: Any) -> None:
    fields = {"parcels": [{"parcel_id": "x", "shipped": {"seconds": 1}}] * 100}
    assert await called(shipping, "ListParcels", shipping.ListParcels.response(**fields))


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
            await channel.unary(BillingService.Refund, BillingService.Refund.request(), deadline=Deadline.after(60))
        error: GraphmeshError = raised.value
        assert "billing.Refund" in str(error)
