"""A channel closes a connection that passes no byte any more, though both sides believe that it is open."""

import asyncio

import pytest
from graphmesh_chaos.tcp_proxy import LOOPBACK, tcp_proxy
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import GraphmeshError

from tests.integration.chassis.probe import Probe, Question, echo, probing

FAR_DEADLINE = 120.0
"""Seconds; the call would last so long if nothing but its deadline ended it."""


async def is_answered(channel: Channel) -> bool:
    try:
        await channel.unary(Probe.Ask, Question(), deadline=Deadline.after(FAR_DEADLINE))
    except GraphmeshError:
        return False
    return True


async def test_a_call_on_a_half_dead_connection_ends() -> None:
    """It may have happened. Calls get a new connection as soon as the old one is closed."""
    async with probing({"Ask": echo}) as served:
        port = int(served.address.rpartition(":")[2])
        async with tcp_proxy(LOOPBACK, port) as proxy, Channel(f"{LOOPBACK}:{proxy.port}") as channel:
            await channel.unary(Probe.Ask, Question(), deadline=Deadline.after(FAR_DEADLINE))
            proxy.lose_connections()
            proxy.heal()
            with pytest.raises(GraphmeshError) as lost:
                await channel.unary(Probe.Ask, Question(), deadline=Deadline.after(FAR_DEADLINE))
            async with asyncio.timeout(FAR_DEADLINE):
                while not await is_answered(channel):
                    await asyncio.sleep(0.05)
    assert (lost.value.reason, lost.value.may_have_happened) == ("CONNECTION_LOST", True)
