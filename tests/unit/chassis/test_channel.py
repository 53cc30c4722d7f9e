"""Calls without remaining time are not sent."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from graphmesh.billing.v1 import BillingService, GetChargeRequest
from graphmesh.sql.v1 import RunQueryRequest, SqlService
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import DeadlineExceeded


async def _unary(channel: Channel) -> Any:
    return await channel.unary(BillingService.GetCharge, GetChargeRequest(), deadline=Deadline.after(0))


async def _effect(channel: Channel) -> Any:
    return await channel.effect(BillingService.GetCharge, GetChargeRequest(), deadline=Deadline.after(0))


async def _stream(channel: Channel) -> Any:
    rpc = SqlService.RunQuery
    return [part async for part in channel.stream(rpc, RunQueryRequest(), deadline=Deadline.after(0))]


@pytest.mark.parametrize("make", [_unary, _effect, _stream])
async def test_call_after_its_deadline_is_not_sent(make: Callable[[Channel], Awaitable[Any]]) -> None:
    """gRPC would send it and race the response against the deadline: an effect after the end of its run."""
    async with Channel("127.0.0.1:1") as channel:
        with pytest.raises(DeadlineExceeded) as raised:
            await make(channel)
    assert not raised.value.may_have_happened
