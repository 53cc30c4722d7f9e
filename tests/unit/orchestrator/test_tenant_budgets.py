"""The budgets of tenants in a process: what its runs use, when that is stored, and what begins at midnight."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from graphmesh_chassis.errors import DatabaseUnavailable, TokenLimit
from graphmesh_nodes.budget import Budget, Limits
from graphmesh_nodes.errors import EffectLimit, StepLimit
from graphmesh_orchestrator.budgets.budget import Amounts, DailyBudget
from graphmesh_orchestrator.budgets.daily_usage import MemoryDailyUsage
from graphmesh_orchestrator.budgets.tenant_budgets import TenantBudget, TenantBudgets
from graphmesh_orchestrator.db.memory_tables import MemoryTables
from graphmesh_orchestrator.runs.runs import MemoryRuns
from pydantic import ValidationError

EVENING = datetime(2026, 12, 1, 23, 0, tzinfo=UTC)
RENEWS = "2026-12-02T00:00:00Z"


class BrokenUsage(MemoryDailyUsage):
    """Fails to store as long as `is_broken`."""

    is_broken = False

    async def add(self, day: int, used: Mapping[str, Amounts]) -> Mapping[str, Amounts]:
        if self.is_broken:
            raise DatabaseUnavailable
        return await super().add(day, used)


@dataclass
class Processes:
    """Processes over one database, and its clock."""

    now: datetime = EVENING
    usage: BrokenUsage = field(default_factory=BrokenUsage)

    def start(self, **limits: int) -> TenantBudgets:
        runs = MemoryRuns(MemoryTables())
        budgets = {"small": DailyBudget(**limits, tenants=frozenset({"acme"}))}
        return TenantBudgets(budgets, self.usage, runs, lambda: self.now)


async def budget_of(process: TenantBudgets) -> TenantBudget:
    found = await process.of("acme")
    assert found
    return found


async def test_another_tenant_has_no_budget() -> None:
    assert await Processes().start(max_steps=1).of("other") is None


async def test_a_process_knows_what_others_have_stored() -> None:
    processes = Processes()
    one, two = processes.start(max_steps=3), processes.start(max_steps=3)
    (await budget_of(one)).use(steps=3)
    await one.store()
    with pytest.raises(StepLimit, match=f"3 steps of the 3 that the budget small .* renews at {RENEWS}") as refusal:
        await two.require("acme")
    assert refusal.value.retry_after == 3600
    assert refusal.value.data == {"budget": "small", "limit": "3", "used": "3", "scope": "tenant", "renews": RENEWS}


async def test_it_begins_anew_at_midnight() -> None:
    processes = Processes()
    process = processes.start(max_tokens=100)
    (await budget_of(process)).use(tokens=100)
    await process.store()
    with pytest.raises(TokenLimit):
        await process.require("acme")
    processes.now += timedelta(hours=1)
    await process.require("acme")
    assert (await budget_of(process)).today == Amounts()


async def test_nothing_is_lost_or_counted_twice_while_the_database_is_unavailable() -> None:
    processes = Processes()
    process = processes.start(max_steps=10)
    budget = await budget_of(process)
    budget.use(steps=2)
    processes.usage.is_broken = True
    with pytest.raises(DatabaseUnavailable):
        await process.store()
    budget.use(steps=3)
    assert budget.today == Amounts(steps=5)
    processes.usage.is_broken = False
    await process.store()
    await process.store()
    assert budget.today == await processes.usage.of(budget.day, "acme") == Amounts(steps=5)


async def test_the_lowest_limit_of_effects_holds_over_processes() -> None:
    processes = Processes()
    one, two = processes.start(max_effects=2), processes.start(max_effects=2)
    for process in (one, two):
        await (await budget_of(process)).begin_effect()
    for process in (one, two):
        with pytest.raises(EffectLimit, match=f"small allows in a day; it renews at {RENEWS}: nothing was sent"):
            await (await budget_of(process)).begin_effect()
    await one.require("acme")  # all but effects may be done


async def test_effects_that_were_taken_and_not_begun_are_given_back() -> None:
    """A process takes several at a time while many are left; together they begin exactly as many as there are."""
    processes = Processes()
    both = [processes.start(max_effects=100) for _ in range(2)]
    await (await budget_of(both[0])).begin_effect()
    assert (await processes.usage.of((await budget_of(both[0])).day, "acme")).effects == 6
    assert (await budget_of(both[0])).today.effects == 1
    begun = 1
    while begun < 100:
        for process in both:
            await (await budget_of(process)).begin_effect()
            begun += 1
            if begun == 100:
                break
            await process.store()
    for process in both:
        with pytest.raises(EffectLimit):
            await (await budget_of(process)).begin_effect()


async def test_a_run_ends_by_a_shared_budget_also_where_others_have_used_it() -> None:
    """Once, and by the same limit after midnight."""
    processes, ended = Processes(), list[bool]()
    shared = await budget_of(processes.start(max_steps=3))
    budget = Budget(Limits(max_steps=9), on_exhausted=lambda: ended.append(True), shared=shared)
    budget.begin_step()
    shared.use(steps=5)
    for _ in range(2):
        budget.begin_step()
    processes.now += timedelta(hours=1)
    assert (ended, isinstance(budget.error, StepLimit)) == ([True], True)


async def test_a_repeated_effect_is_counted_once_and_a_refused_one_never() -> None:
    shared = await budget_of(Processes().start(max_effects=1))
    budget = Budget(shared=shared)
    for _ in range(2):
        await budget.begin_effect("a" * 64)
    with pytest.raises(EffectLimit):
        await budget.begin_effect("b" * 64)
    assert (budget.usage.effects, shared.today.effects) == (1, 1)


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({}, "has no limit: max_steps, max_tokens, max_cost_micro_usd or max_effects"),
        ({"max_step": 5}, "max_step\n.*Extra inputs"),
        ({"max_steps": -1}, "max_steps\n.*greater than or equal to 0"),
    ],
)
def test_a_budget_that_breaks_a_rule_is_refused(fields: dict[str, int], rule: str) -> None:
    with pytest.raises(ValidationError, match=rule):
        DailyBudget(**fields)  # type: ignore[arg-type]


async def test_usage_that_is_stored_while_the_sums_are_read_is_counted_once() -> None:
    class Slow(BrokenUsage):
        async def of(self, day: int, tenant: str) -> Amounts:
            await process.store()
            return await super().of(day, tenant)

    processes = Processes(usage=Slow())
    process = processes.start(max_steps=10)
    budget = await budget_of(process)
    budget.use(steps=4)
    budget.read_at = float("-inf")
    assert (await budget_of(process)).today == Amounts(steps=4)
