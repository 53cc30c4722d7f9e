"""What tenants use in a day, in every store: sums of each tenant and day, and effects up to their limit."""

import asyncio

from graphmesh_orchestrator.budgets.budget import NOTHING, Amounts

from tests.contract.orchestrator.stores import Stores

USED = Amounts(steps=3, tokens=100, cost=500)


async def test_sums_are_those_of_a_tenant_and_a_day(stores: Stores) -> None:
    await stores.usage.add(5, {"acme": USED, "other": Amounts(steps=1)})
    assert await stores.usage.add(5, {"acme": USED}) == {"acme": Amounts(6, 200, 1000)}
    assert await stores.usage.of(5, "acme") == Amounts(6, 200, 1000)
    assert await stores.usage.of(5, "other") == Amounts(steps=1)
    assert await stores.usage.of(6, "acme") == NOTHING


async def test_parallel_effects_never_exceed_their_limit(stores: Stores) -> None:
    begun = await asyncio.gather(*(stores.usage.begin_effects(5, "acme", 1, 3) for _ in range(12)))
    assert sorted(one for one in begun if one) == [1, 2, 3]
    assert await stores.usage.of(5, "acme") == Amounts(effects=3)
    assert await stores.usage.begin_effects(6, "acme", 1, 3) == 1
    assert await stores.usage.begin_effects(5, "other", 1, 3) == 1


async def test_several_effects_are_begun_together_or_not_at_all(stores: Stores) -> None:
    assert await stores.usage.begin_effects(5, "acme", 4, 3) is None
    assert await stores.usage.begin_effects(5, "acme", 2, 3) == 2
    assert await stores.usage.begin_effects(5, "acme", 2, 3) is None
    assert await stores.usage.begin_effects(5, "acme", 1, 3) == 3


async def test_effects_and_other_usage_do_not_touch_each_other(stores: Stores) -> None:
    await stores.usage.begin_effects(5, "acme", 1, 3)
    await stores.usage.add(5, {"acme": USED})
    await stores.usage.begin_effects(5, "acme", 1, 3)
    assert await stores.usage.of(5, "acme") == Amounts(3, 100, 500, 2)


async def test_many_tenants_are_stored_at_once(stores: Stores) -> None:
    tenants = {f"tenant_{number}": Amounts(steps=number) for number in range(2500)}
    assert await stores.usage.add(5, tenants) == tenants


async def test_earlier_days_are_deleted(stores: Stores) -> None:
    for day in (4, 5):
        await stores.usage.add(day, {"acme": USED})
    await stores.usage.delete_before(5)
    assert (await stores.usage.of(4, "acme"), await stores.usage.of(5, "acme")) == (NOTHING, USED)
