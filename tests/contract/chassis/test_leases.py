"""Every store makes an effect only while the lease of its run holds: in memory, on SQLite, on PostgreSQL."""

import asyncio
from typing import Any

import pytest
from graphmesh_chassis.calls import current_call
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.effects import Effect
from graphmesh_chassis.errors import InvalidMetadata, LeaseExpired, RuleViolated

from tests.contract.chassis.test_effects import Tally, TallyServer, any_url, respond, server
from tests.integration.chassis.probe import Probe, Question

__all__ = ["any_url", "server"]


async def add(server: TallyServer, lease: str, epoch: int = 1) -> Any:
    """Add one under a lease that holds for so many milliseconds."""
    assert server.served
    headers = [
        ("idempotency-key", "k"),
        ("x-graphmesh-tenant", "acme"),
        ("x-graphmesh-run", "run_1"),
        ("x-graphmesh-epoch", str(epoch)),
        ("x-graphmesh-lease", lease),
    ]
    return await server.served.channel.unary(
        Probe.Change, Question(number=1), deadline=Deadline.after(60), headers=headers
    )


async def wait_for_the_lease() -> None:
    lease = current_call().lease
    assert lease
    while lease.remaining > 0:
        await asyncio.sleep(lease.remaining)


async def test_effect_is_refused_after_the_lease(server: TallyServer) -> None:
    """Nothing is changed, and the next worker makes the effect under the same key."""
    with pytest.raises(LeaseExpired) as refused:
        await add(server, "0")
    assert refused.value.data == {"run": "run_1"}
    assert not refused.value.may_have_happened
    assert await server.tally() == (0, 0)
    await add(server, "60000", epoch=2)
    assert await server.tally() == (1, 1)


async def test_effect_that_outlasts_the_lease_is_rolled_back(server: TallyServer) -> None:
    async def outlast(effect: Effect[Tally], question: Any) -> Any:
        await wait_for_the_lease()
        return await respond(effect, question)

    server.then = outlast
    with pytest.raises(LeaseExpired):
        await add(server, "100")
    server.then = respond
    assert await server.tally() == (0, 0)
    assert (await add(server, "60000", epoch=2)).number == 1


async def test_refusal_that_outlasts_the_lease_is_no_outcome(server: TallyServer) -> None:
    """The next worker may get another one; it alone decides the run."""

    async def refuse(effect: Effect[Tally], question: Any) -> Any:
        await wait_for_the_lease()
        raise RuleViolated("too much", rule="cap")

    server.then = refuse
    with pytest.raises(LeaseExpired):
        await add(server, "100")
    server.then = respond
    assert (await add(server, "60000", epoch=2)).number == 1


@pytest.mark.parametrize("lease", ["-1", "1.5", "x", "1" * 10])
async def test_malformed_lease_is_refused(server: TallyServer, lease: str) -> None:
    """The error names the header, and nothing is changed."""
    with pytest.raises(InvalidMetadata, match="x-graphmesh-lease"):
        await add(server, lease)
    assert await server.tally() == (0, 0)
