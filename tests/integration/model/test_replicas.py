"""Two replicas of the model service: what is limited is limited over both."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from graphmesh.model import v1 as pb
from graphmesh_chassis import metadata
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import BudgetExceeded, GraphmeshError, RateLimited
from graphmesh_chassis.testing import Served, running
from graphmesh_model.__main__ import build
from graphmesh_model.settings import Settings

from tests.integration.model.vendor_server import VendorServer, openai

CALLS = 24
PRICE = {"input_micro_usd": 1_000_000, "output_micro_usd": 2_000_000}
"""A call with 20 tokens of input and 200 of output costs 420 millionths of a dollar."""
LAST_MOMENT = datetime(2026, 11, 30, 23, 59, 59, 999_999, tzinfo=UTC)
"""The end of a month, as the time of budgets."""
ANSWER = openai("Fine.", usage={"prompt_tokens": 20, "completion_tokens": 200, "total_tokens": 220})


def new_name() -> str:
    return f"n-{uuid4().hex[:12]}"


@asynccontextmanager
async def replicas(
    server: VendorServer, alias: str, database_url: str, limits: dict[str, Any], **settings: Any
) -> AsyncIterator[Sequence[Served]]:
    """Yield two services with the same settings, which share a database."""
    model = {"model": "openai:large", "base_url": server.url, "price": PRICE, "limits": limits}
    models = {"default": {"model": "offline"}, alias: model}
    made = Settings.model_validate(
        {"models": models, "database_url": database_url, "rate_answer_seconds": 60, **settings}
    )
    async with (
        build(made, lambda: LAST_MOMENT) as first,
        running(first, made) as one,
        build(made, lambda: LAST_MOMENT) as second,
        running(second, made) as other,
    ):
        yield one, other


async def outcomes(served: Sequence[Served], alias: str, tenant: str) -> list[GraphmeshError | None]:
    """Call both replicas at once. Return the errors of the calls; None of those that were answered."""

    hello = pb.ChatMessage(user=pb.UserMessage(text="Hello"))

    async def generate(number: int) -> GraphmeshError | None:
        prompt = pb.Prompt(model=alias, messages=[hello], max_output_tokens=200)
        try:
            await served[number % 2].channel.unary(
                pb.ModelService.Generate,
                pb.GenerateRequest(prompt=prompt),
                deadline=Deadline.after(60),
                headers=[(metadata.TENANT, tenant)],
            )
        except GraphmeshError as error:
            return error
        return None

    return list(await asyncio.gather(*map(generate, range(CALLS))))


async def test_rates_of_an_alias_hold_over_both(database_url: str, redis_url: str) -> None:
    alias = new_name()
    limits = {"tenant_rate": {"calls": 5, "seconds": 3600}, "rate": {"calls": 8, "seconds": 3600}}
    async with (
        VendorServer(ANSWER).serving() as server,
        replicas(server, alias, database_url, limits, redis_url=redis_url) as served,
    ):
        found = await outcomes(served, alias, new_name())
        assert found.count(None) == len(server.requests) == 5
        refused = [one for one in found if one]
        assert {type(one) for one in refused} == {RateLimited}
        assert {"rate": "tenant", "alias": alias, "calls": "5"}.items() <= refused[0].data.items()
        assert refused[0].retry_after
        others = [*await outcomes(served, alias, new_name()), *await outcomes(served, alias, new_name())]
        assert others.count(None) == 3
        assert {one.data["rate"] for one in others if one} <= {"alias", "tenant"}


@pytest.mark.parametrize(("failure_mode", "answered"), [("open", 5), ("closed", 0)])
async def test_without_redis_a_rate_fails_as_it_states(failure_mode: str, answered: int, tmp_path: Path) -> None:
    """Counted by each replica alone, here by one, or refused before a vendor is called."""
    alias, database_url = new_name(), f"sqlite+aiosqlite:///{tmp_path}/model.db"
    limits = {"rate": {"calls": 5, "seconds": 3600, "failure_mode": failure_mode}}
    async with (
        VendorServer(ANSWER).serving() as server,
        replicas(server, alias, database_url, limits, redis_url="redis://127.0.0.1:1/0") as (one, _),
    ):
        found = await outcomes([one, one], alias, "shop")
        assert found.count(None) == len(server.requests) == answered
        assert {type(error) for error in found if error} == {RateLimited}


async def test_budget_of_a_tenant_holds_over_both(database_url: str) -> None:
    """The refusal names it, and when it renews."""
    alias = new_name()
    budgets = {"trial": {"scope": "tenant", "period": "month", "max_cost_micro_usd": 1500}}
    async with (
        VendorServer(ANSWER).serving() as server,
        replicas(server, alias, database_url, {}, budgets=budgets) as served,
    ):
        found = await outcomes(served, alias, "shop")
        assert found.count(None) == len(server.requests) == 3
        refused = [one for one in found if one]
        assert {type(one) for one in refused} == {BudgetExceeded}
        assert {(one.data["budget"], one.data["scope"]) for one in refused} == {("trial", "tenant")}
        assert {one.data["renews"] for one in refused} == {"2026-12-01T00:00:00Z"}
