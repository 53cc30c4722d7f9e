"""Every store lets only the newest epoch of a run through (design invariant 4): in memory, on SQLite, on PostgreSQL."""

import asyncio
from typing import Any

import pytest
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import Fenced, InvalidMetadata

from tests.contract.chassis.test_effects import Shop, any_url, shop
from tests.integration.chassis.probe import Probe, Question

__all__ = ["any_url", "shop"]


async def add(shop: Shop, key: str, epoch: object, run: str = "run_1", tenant: str = "acme") -> Any:
    assert shop.served
    headers = [
        ("idempotency-key", key),
        ("x-graphmesh-tenant", tenant),
        ("x-graphmesh-run", run),
        ("x-graphmesh-epoch", str(epoch)),
    ]
    return await shop.served.channel.unary(
        Probe.Change, Question(number=1), deadline=Deadline.after(10), headers=headers
    )


async def test_an_epoch_that_is_over_changes_nothing(shop: Shop) -> None:
    """After the new owner's first effect the old one is refused, and told; the new one goes on."""
    await add(shop, "a", epoch=1)
    await add(shop, "b", epoch=2)
    with pytest.raises(Fenced) as refusal:
        await add(shop, "c", epoch=1)
    assert refusal.value.data == {"run": "run_1", "epoch": "1"}
    await add(shop, "d", epoch=2)
    assert await shop.tally() == (3, 3)


async def test_the_new_owner_gets_what_the_old_one_did(shop: Shop) -> None:
    """The same effect under the same key in the next epoch is a repeat: the stored answer, no second entry."""
    first = await add(shop, "a", epoch=1)
    assert await add(shop, "a", epoch=2) == first
    assert await shop.tally() == (1, 1)


async def test_epochs_are_of_one_run_of_one_tenant(shop: Shop) -> None:
    """Another run, and another tenant's run of the same name, have epochs of their own."""
    await add(shop, "a", epoch=9)
    await add(shop, "b", epoch=1, run="run_2")
    await add(shop, "c", epoch=1, tenant="other")


async def test_whoever_comes_first_the_lower_epoch_is_never_the_later(shop: Shop) -> None:
    """Of fifty calls of rising epochs at once, none is done after one of a higher epoch."""
    done: list[int] = []

    async def attempt(epoch: int) -> None:
        try:
            await add(shop, f"k{epoch}", epoch)
            done.append(epoch)
        except Fenced:
            pass

    await asyncio.gather(*(attempt(epoch) for epoch in range(50)))
    assert max(done) == 49
    assert (await shop.tally())[0] == len(done)


@pytest.mark.parametrize("epoch", ["-1", "1.5", "x", "1" * 19])
async def test_an_epoch_is_a_number(shop: Shop, epoch: str) -> None:
    """Anything else is refused by the name of its header, and nothing is done."""
    with pytest.raises(InvalidMetadata, match="x-graphmesh-epoch"):
        await add(shop, "a", epoch)
    assert await shop.tally() == (0, 0)
