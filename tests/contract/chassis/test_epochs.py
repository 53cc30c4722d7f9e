"""Every store refuses all but the newest epoch of a run: in memory, on SQLite, on PostgreSQL."""

import asyncio
from typing import Any

import pytest
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import Fenced, InvalidMetadata

from tests.contract.chassis.test_effects import TallyServer, any_url, server
from tests.integration.chassis.probe import Probe, Question

__all__ = ["any_url", "server"]


async def add(server: TallyServer, key: str, epoch: object, run: str = "run_1", tenant: str = "acme") -> Any:
    assert server.served
    headers = [
        ("idempotency-key", key),
        ("x-graphmesh-tenant", tenant),
        ("x-graphmesh-run", run),
        ("x-graphmesh-epoch", str(epoch)),
    ]
    return await server.served.channel.unary(
        Probe.Change, Question(number=1), deadline=Deadline.after(60), headers=headers
    )


async def test_earlier_epoch_is_fenced(server: TallyServer) -> None:
    """After the first effect of the new epoch the old one is refused, and the new one continues."""
    await add(server, "a", epoch=1)
    await add(server, "b", epoch=2)
    with pytest.raises(Fenced) as refusal:
        await add(server, "c", epoch=1)
    assert refusal.value.data == {"run": "run_1", "epoch": "1"}
    await add(server, "d", epoch=2)
    assert await server.tally() == (3, 3)


async def test_repeat_in_the_next_epoch_gets_the_stored_response(server: TallyServer) -> None:
    """The same key in the next epoch is a repeat, without a second entry."""
    first = await add(server, "a", epoch=1)
    assert await add(server, "a", epoch=2) == first
    assert await server.tally() == (1, 1)


async def test_epochs_of_other_runs_and_tenants_are_independent(server: TallyServer) -> None:
    """Another tenant's run of the same id is another run."""
    await add(server, "a", epoch=9)
    await add(server, "b", epoch=1, run="run_2")
    await add(server, "c", epoch=1, tenant="other")


async def test_no_effect_commits_after_one_of_a_higher_epoch(server: TallyServer) -> None:
    """Of fifty concurrent calls with different epochs, the highest succeeds and no refused one leaves an entry."""
    done: list[int] = []

    async def attempt(epoch: int) -> None:
        try:
            await add(server, f"k{epoch}", epoch)
            done.append(epoch)
        except Fenced:
            pass

    await asyncio.gather(*(attempt(epoch) for epoch in range(50)))
    assert max(done) == 49
    assert (await server.tally())[0] == len(done)


@pytest.mark.parametrize("epoch", ["-1", "1.5", "x", "1" * 19])
async def test_malformed_epoch_is_refused(server: TallyServer, epoch: str) -> None:
    """The error names the header, and nothing is changed."""
    with pytest.raises(InvalidMetadata, match="x-graphmesh-epoch"):
        await add(server, "a", epoch)
    assert await server.tally() == (0, 0)
