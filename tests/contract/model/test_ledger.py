"""The contract of every ledger: accounts that add up, over parallel attempts, crashes and processes."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from graphmesh_chassis.database import open_database
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import BudgetExceeded, TokenLimit
from graphmesh_model.__main__ import MIGRATIONS
from graphmesh_model.accounting.budgets import Budget, Need, Period, Scope
from graphmesh_model.accounting.ledger import Ledger, Reservation, Settlement, Subject, UsageFilter
from graphmesh_model.accounting.ledger_memory import MemoryLedger
from graphmesh_model.accounting.ledger_sql import SqlLedger
from graphmesh_model.domain import Usage

NEED = Need(input_tokens=100, input_cost=100, output_tokens=400, output_micro_usd=1_000_000)
NOW = datetime(2026, 11, 30, 23, 59, 59, 999_999, tzinfo=UTC)
"""The last moment of a day."""
DAILY = Budget("daily", Scope.TENANT, Period.DAY, max_cost=1000)


@pytest_asyncio.fixture
async def ledger(store_url: str) -> AsyncIterator[Ledger]:
    if not store_url:
        yield MemoryLedger()
        return
    async with open_database(store_url, MIGRATIONS) as database:
        yield SqlLedger(database, lambda: NOW)


def reservation(
    id: str, *budgets: Budget, run: str = "run_1", tenant: str = "shop", waits: float = 0, **changes: Any
) -> Reservation:
    accounts = tuple(budget.account(tenant, run, NOW) for budget in budgets)
    subject = Subject(tenant, run, "large", "openai:gpt-5")
    made = Reservation(
        id,
        subject,
        NOW,
        NOW + timedelta(seconds=120),
        NEED,
        accounts,
        True,
        Deadline.after(waits),
    )
    return replace(made, **changes)


def used(cost: int | None, *, failed: bool = False, estimated: bool = False) -> Settlement:
    return Settlement(Usage(60, 40, cached_input_tokens=10, estimated=estimated), cost, failed)


async def test_settlement_replaces_the_reservation(ledger: Ledger) -> None:
    first = reservation("a", DAILY)
    await ledger.reserve(first)
    [held] = await ledger.balances(first.accounts)
    assert (held.spent_cost, held.reserved_cost, held.reserved_tokens) == (0, 500, 500)
    await ledger.settle(first, used(70))
    await ledger.settle(first, used(70))
    [balance] = await ledger.balances(first.accounts)
    assert (balance.spent_cost, balance.reserved_cost, balance.spent_tokens, balance.reserved_tokens) == (70, 0, 100, 0)
    [total] = await ledger.usage(UsageFilter(()), None, 10)
    assert (total.total.attempts, total.total.cost, total.total.usage.cached_input_tokens) == (1, 70, 10)


async def test_attempt_without_a_call_uses_nothing(ledger: Ledger) -> None:
    first = reservation("a", DAILY)
    await ledger.reserve(first)
    await ledger.settle(first, None)
    [balance] = await ledger.balances(first.accounts)
    assert (balance.spent_cost, balance.reserved_cost) == (0, 0)
    assert [group.total.attempts for group in await ledger.usage(UsageFilter(()), None, 10)] in ([], [0])


async def test_parallel_attempts_never_spend_more_than_the_budget(ledger: Ledger) -> None:
    """Each uses all that it has reserved; the others wait for it, and are refused when nothing is left."""

    async def attempt(number: int) -> int:
        one = reservation(f"r{number}", DAILY, waits=60)
        try:
            need = await ledger.reserve(one)
        except BudgetExceeded:
            return 0
        await asyncio.sleep(0)
        await ledger.settle(one, replace(used(need.cost), usage=Usage(need.input_tokens, need.output_tokens)))
        return need.cost

    spent = sum(await asyncio.gather(*map(attempt, range(12))))
    [balance] = await ledger.balances(reservation("x", DAILY).accounts)
    assert (balance.spent_cost, balance.reserved_cost) == (spent, 0)
    assert 500 < spent <= DAILY.max_cost


async def test_budget_pays_for_a_shorter_answer(ledger: Ledger) -> None:
    """Of 400 that are left, 100 pay for the input and 300 for output; of 300, less than the least output is left."""
    first = reservation("a", DAILY)
    await ledger.reserve(first)
    await ledger.settle(first, used(600))
    shorter = await ledger.reserve(reservation("b", DAILY))
    assert (shorter.output_tokens, shorter.cost) == (300, 400)
    second = reservation("b", DAILY)
    await ledger.settle(second, used(100))
    with pytest.raises(BudgetExceeded) as refused:
        await ledger.reserve(reservation("c", DAILY))
    assert refused.value.data["budget"] == "daily"
    assert refused.value.data["renews"] == "2026-12-01T00:00:00Z"


async def test_limits_of_tokens_refuse_too(ledger: Ledger) -> None:
    budget = Budget("run", Scope.RUN, Period.TOTAL, max_tokens=300)
    with pytest.raises(TokenLimit, match=r"budget run of 300 tokens .* it does not renew"):
        await ledger.reserve(reservation("a", budget))


async def test_accounts_are_separate(ledger: Ledger) -> None:
    """By tenant and by run; an attempt is held to each of its budgets."""
    per_run = Budget("per run", Scope.RUN, Period.TOTAL, max_cost=500)
    await ledger.reserve(reservation("a", per_run))
    for other in (reservation("b", per_run, run="run_2"), reservation("c", per_run, tenant="other")):
        assert (await ledger.reserve(other)).cost == 500
    with pytest.raises(BudgetExceeded):
        await ledger.reserve(reservation("d", DAILY, per_run))


async def test_waits_for_what_is_reserved(ledger: Ledger) -> None:
    tight = replace(DAILY, max_cost=500)
    first, second = reservation("a", tight), reservation("b", tight, waits=60)
    await ledger.reserve(first)
    waiting = asyncio.create_task(ledger.reserve(second))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await ledger.settle(first, used(10))
    assert (await waiting).cost == 490


async def test_usage_is_listed_by_dimension(ledger: Ledger) -> None:
    for number, (run, tenant, cost) in enumerate(
        [("run_1", "shop", 5), ("run_2", "shop", None), ("run_1", "other", 7)]
    ):
        one = reservation(str(number), run=run, tenant=tenant)
        await ledger.reserve(one)
        await ledger.settle(one, used(cost, failed=True, estimated=cost is None))
    free = Subject("shop", "", "demo", "offline:offline-extractive-1")
    await ledger.count(free, NOW, used(0))
    await ledger.count(free, NOW, used(0))
    by_run = await ledger.usage(UsageFilter(("run", "alias"), tenant="shop"), None, 2)
    assert [(group.run, group.alias, group.total.attempts) for group in by_run] == [
        ("", "demo", 2),
        ("run_1", "large", 1),
    ]
    [last] = await ledger.usage(UsageFilter(("run", "alias"), tenant="shop"), ("run_1", "large"), 2)
    assert (last.run, last.total.unpriced_tokens, last.total.estimated_tokens, last.total.cost) == (
        "run_2",
        100,
        100,
        0,
    )
    day = "2026-11-30"
    [today] = await ledger.usage(UsageFilter(("day",), first_day=day, last_day=day), None, 2)
    assert (today.day, today.total.attempts, today.total.failed_attempts, today.total.cost) == (day, 5, 3, 12)
    assert not await ledger.usage(UsageFilter(("day",), last_day="2000-01-01"), None, 2)


@pytest.mark.parametrize("store_url", ["sqlite", "postgresql"], indirect=True)
async def test_crashed_attempt_is_charged_and_blocks_nothing(ledger: SqlLedger) -> None:
    """Also while another process waits for what it has reserved, and when the same attempt is settled after all."""
    tight = replace(DAILY, max_cost=1000)
    crashed = reservation("a", tight, expires=NOW - timedelta(seconds=1))
    await ledger.reserve(crashed)
    assert (await ledger.reserve(reservation("b", tight, waits=10, need=replace(NEED, output_tokens=350)))).cost == 450
    await ledger.expire(NOW)
    await ledger.settle(crashed, used(1))
    [balance] = await ledger.balances(crashed.accounts)
    assert (balance.spent_cost, balance.reserved_cost) == (500, 450)
    [total] = await ledger.usage(UsageFilter(()), None, 10)
    assert (total.total.cost, total.total.estimated_tokens, total.total.failed_attempts) == (500, 500, 1)


@pytest.mark.parametrize("store_url", ["sqlite", "postgresql"], indirect=True)
async def test_processes_share_the_accounts(ledger: SqlLedger, store_url: str) -> None:
    async with open_database(store_url, MIGRATIONS) as database:
        ledgers = [ledger, SqlLedger(database, lambda: NOW)]

        async def attempt(number: int) -> int:
            own, one = ledgers[number % 2], reservation(f"r{number}", DAILY, waits=60)
            try:
                need = await own.reserve(one)
            except BudgetExceeded:
                return 0
            await own.settle(one, used(need.cost))
            return need.cost

        spent = sum(await asyncio.gather(*map(attempt, range(6))))
        [balance] = await ledger.balances(reservation("x", DAILY).accounts)
        assert (balance.spent_cost, balance.reserved_cost) == (spent, 0)
        assert spent <= DAILY.max_cost
