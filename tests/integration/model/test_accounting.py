"""What vendors bill is counted, over a real channel: every attempt, whatever ends it, held to budgets."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from graphmesh.model import v1 as pb
from graphmesh_chassis import metadata
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import (
    BudgetExceeded,
    DeadlineExceeded,
    GraphmeshError,
    InvalidRequest,
    ProviderUnavailable,
    ScopeMissing,
    TokenLimit,
)
from graphmesh_model.errors import OutputInvalid
from graphmesh_model.settings import Settings

from tests.integration.model.served import running_models
from tests.integration.model.vendor_server import (
    Answer,
    Reply,
    VendorServer,
    always,
    failing,
    openai,
    openai_chunk,
    sse,
)

PRICE = {"input_micro_usd": 1_000_000, "output_micro_usd": 2_000_000}
"""A millionth of a dollar for a token of input, two for one of output."""
SCHEMA = '{"type": "object", "required": ["topic"], "properties": {"topic": {"type": "string"}}}'
UNCOUNTED = sse(openai_chunk({"content": "one two three"}), openai_chunk({}, finish_reason="stop"), "[DONE]")
"""A stream of a server that ignores `stream_options`."""
LAST_MOMENT = datetime(2026, 11, 30, 23, 59, 59, 999_999, tzinfo=UTC)
"""The end of a day, and of a month."""


class Accounted:
    """A model service whose default alias is a vendor's server, its accounts, and the time that they go by."""

    def __init__(self, server: VendorServer) -> None:
        self.server, self.now = server, LAST_MOMENT

    @asynccontextmanager
    async def serving(self, settings: Settings) -> AsyncIterator[None]:
        async with running_models(settings, clock=lambda: self.now) as served:
            self._channel = served.channel
            yield

    async def generate(self, *, run: str = "", limits: str = "", tenant: str = "shop", **options: Any) -> Any:
        request = pb.GenerateRequest(prompt=_prompt(options))
        headers = _headers(tenant, run, limits)
        return await self._channel.unary(
            pb.ModelService.Generate, request, deadline=_deadline(options), headers=headers
        )

    async def stream(self, *, run: str = "", limits: str = "", tenant: str = "shop", **options: Any) -> list[Any]:
        request = pb.StreamGenerateRequest(prompt=_prompt(options))
        headers = _headers(tenant, run, limits)
        stream = self._channel.stream(
            pb.ModelService.StreamGenerate, request, deadline=_deadline(options), headers=headers
        )
        return [event async for event in stream]

    async def usage(self, *dimensions: str, tenant: str = "shop", **conditions: Any) -> Sequence[pb.UsageGroup]:
        group_by = [pb.UsageDimension.Value(f"USAGE_DIMENSION_{name.upper()}") for name in dimensions]
        request = pb.ListUsageRequest(group_by=group_by, **conditions)
        listed: pb.ListUsageResponse = await self._list(pb.ModelService.ListUsage, request, tenant)
        return listed.groups

    async def budgets(self, tenant: str = "shop", run: str = "") -> Sequence[pb.BudgetStatus]:
        request = pb.ListBudgetsRequest(run=run)
        listed: pb.ListBudgetsResponse = await self._list(pb.ModelService.ListBudgets, request, tenant)
        return listed.budgets

    async def settled(self, attempts: int) -> pb.UsageGroup:
        """Return the tenant's usage when it has so many attempts, as those of callers that left are settled later."""
        async with asyncio.timeout(60):
            while not (found := await self.usage()) or found[0].attempts < attempts:
                await asyncio.sleep(0.01)
        return found[0]

    async def _list(self, rpc: Any, request: Any, tenant: str) -> Any:
        headers = [(metadata.TENANT, tenant), (metadata.SCOPES, "model.usage.read")]
        return await self._channel.unary(rpc, request, deadline=Deadline.after(60), headers=headers)


def _deadline(options: dict[str, Any]) -> Deadline:
    return Deadline.after(options.pop("seconds", 60))


def _prompt(options: dict[str, Any]) -> pb.Prompt:
    given = {name: value for name, value in options.items() if name != "seconds"}
    return pb.Prompt(messages=[pb.ChatMessage(user=pb.UserMessage(text="How are you?"))], **given)


def _headers(tenant: str, run: str, limits: str) -> list[tuple[str, str]]:
    given = {metadata.TENANT: tenant, metadata.RUN: run, metadata.RUN_LIMITS: limits}
    return [(name, value) for name, value in given.items() if value]


@asynccontextmanager
async def accounted(
    *replies: Answer, budgets: Any = None, default: Any = None, **others: Any
) -> AsyncIterator[Accounted]:
    async with VendorServer(*replies).serving() as server:
        own = {"model": "openai:large", "base_url": server.url, "price": PRICE}
        models = {"default": {**own, **(default or {})}, **{name: {**own, **given} for name, given in others.items()}}
        settings = Settings.model_validate({"models": models, "budgets": budgets or {}})
        model = Accounted(server)
        async with model.serving(settings):
            yield model


async def test_usage_is_listed_by_run_day_and_alias() -> None:
    async with accounted(openai("Fine.")) as model:
        await model.generate(run="run_1")
        await model.stream(run="run_1")
        await model.generate(run="run_2")
        await model.generate(tenant="other")
        runs = await model.usage("run", "alias", "model")
        found = [(group.run, group.alias, group.model, group.attempts) for group in runs]
        assert found == [("run_1", "default", "openai:large", 2), ("run_2", "default", "openai:large", 1)]
        assert (runs[0].usage.input_tokens, runs[0].usage.output_tokens, runs[0].usage.cost_micro_usd) == (18, 8, 34)
        [only] = await model.usage("day", run="run_2")
        assert (only.day, only.attempts, only.usage.estimated) == ("2026-11-30", 1, False)
        model.now += timedelta(microseconds=1)
        await model.generate(run="run_2")
        days = [(group.day, group.attempts) for group in await model.usage("day", run="run_2")]
        assert days == [("2026-11-30", 1), ("2026-12-01", 1)]
        with pytest.raises(ScopeMissing, match=r"model\.usage\.all"):
            await model.usage("tenant", all_tenants=True)


async def test_pages_of_usage_follow_each_other() -> None:
    async with accounted(openai("Fine.")) as model:
        for number in range(3):
            await model.generate(run=f"run_{number}")
        request = pb.ListUsageRequest(group_by=[pb.UsageDimension.USAGE_DIMENSION_RUN], page_size=2)
        first = await model._list(pb.ModelService.ListUsage, request, "shop")
        request.page_token = first.next_page_token
        second = await model._list(pb.ModelService.ListUsage, request, "shop")
        assert [group.run for page in (first, second) for group in page.groups] == ["run_0", "run_1", "run_2"]
        assert not second.next_page_token
        request.group_by[:] = [pb.UsageDimension.USAGE_DIMENSION_DAY]
        with pytest.raises(InvalidRequest, match="page_token"):
            await model._list(pb.ModelService.ListUsage, request, "shop")


async def test_stream_without_figures_is_estimated() -> None:
    async with accounted(always(UNCOUNTED)) as model:
        completed = (await model.stream())[-1].completed
        assert completed.usage.estimated
        assert (completed.usage.output_tokens, completed.usage.cost_micro_usd) == (3, completed.usage.input_tokens + 6)
        [total] = await model.usage()
        assert total.estimated_tokens == completed.usage.input_tokens + 3


async def test_stream_that_is_cut_off_costs_what_has_arrived() -> None:
    cut = sse(*[openai_chunk({"content": "word "}) for _ in range(20)], then="cut")
    async with accounted(always(cut)) as model:
        with pytest.raises(ProviderUnavailable) as failed:
            await model.stream()
        [total] = await model.usage()
        assert (total.attempts, total.failed_attempts, total.usage.estimated) == (1, 1, True)
        assert 20 <= total.usage.output_tokens <= 22
        assert failed.value.data["cost_micro_usd"] == str(total.usage.cost_micro_usd)


async def test_caller_that_leaves_pays_what_has_arrived() -> None:
    stalling = sse(*[openai_chunk({"content": "word "}) for _ in range(20)], then="stall")
    async with accounted(always(stalling)) as model:
        with pytest.raises(DeadlineExceeded):
            await model.stream(seconds=3)
        assert (await model.settled(1)).usage.output_tokens >= 20
        with pytest.raises(DeadlineExceeded):
            await model.generate(seconds=3)
        assert (await model.settled(2)).failed_attempts == 2


async def test_invalid_answers_are_paid_and_repaired_once() -> None:
    """The answer's own usage is that of the attempt that gave it."""
    async with accounted(openai("Well."), openai('{"topic": "ink"}')) as model:
        answer = await model.generate(response_schema_json=SCHEMA)
        assert answer.message.text == '{"topic": "ink"}'
        [failed] = answer.failed_attempts
        assert (failed.reason, failed.fault, failed.usage.cost_micro_usd) == ("OUTPUT_INVALID", "output", 17)
        [total] = await model.usage()
        assert (total.attempts, total.usage.cost_micro_usd) == (2, 34)
        repeated = model.server.bodies[1]["messages"]
        assert repeated[-2] == {"role": "assistant", "content": "Well."}
        assert "was not usable" in repeated[-1]["content"]


@pytest.mark.parametrize("streamed", [False, True])
async def test_answer_that_stays_invalid_costs_both_attempts(streamed: bool) -> None:
    async with accounted(openai("Well.")) as model:
        with pytest.raises(OutputInvalid) as failed:
            await (model.stream if streamed else model.generate)(response_schema_json=SCHEMA)
        assert failed.value.data["attempts"] == "default: output, default: output"
        used = [failed.value.data[name] for name in ("input_tokens", "output_tokens", "cost_micro_usd")]
        assert used == ["18", "8", "34"]


@pytest.mark.parametrize("reply", [failing(500), failing(429), failing(400), failing(401)])
async def test_refused_calls_cost_nothing(reply: Answer) -> None:
    async with accounted(reply) as model:
        with pytest.raises(GraphmeshError):
            await model.generate()
        [total] = await model.usage()
        assert (total.failed_attempts, total.usage.input_tokens, total.usage.cost_micro_usd) == (1, 0, 0)


async def test_daily_budget_names_itself_and_its_renewal() -> None:
    """It pays for shorter answers as long as they are worth it, and other tenants have budgets of their own.

    It has renewed at midnight.
    """
    budgets = {"trial": {"scope": "tenant", "period": "day", "max_cost_micro_usd": 700}}
    async with accounted(openai("Fine."), budgets=budgets) as model:
        await model.generate()
        [body] = model.server.bodies
        assert int(body.get("max_completion_tokens") or body["max_tokens"]) < 350
        [status] = await model.budgets()
        assert (status.name, status.spent_cost_micro_usd, status.reserved_cost_micro_usd) == ("trial", 17, 0)
        assert status.renew_time.ToDatetime(UTC) == datetime(2026, 12, 1, tzinfo=UTC)
        with pytest.raises(BudgetExceeded) as refused:
            await _until_refused(model)
        assert (refused.value.data["budget"], refused.value.data["scope"]) == ("trial", "tenant")
        assert refused.value.data["renews"] == "2026-12-01T00:00:00Z"
        assert len(model.server.requests) < 15
        assert (await model.generate(tenant="other")).message.text == "Fine."
        model.now += timedelta(microseconds=1)
        assert (await model.generate()).message.text == "Fine."


async def _until_refused(model: Accounted) -> None:
    for _ in range(20):
        await model.generate()


async def test_parallel_calls_never_cost_more_than_the_budget() -> None:
    budgets = {"trial": {"scope": "tenant", "period": "total", "max_cost_micro_usd": 1500}}
    spending = openai("Fine.", usage={"prompt_tokens": 20, "completion_tokens": 200, "total_tokens": 220})
    async with accounted(spending, budgets=budgets) as model:
        calls = (model.generate(max_output_tokens=200) for _ in range(20))
        ended = await asyncio.gather(*calls, return_exceptions=True)
        paid = [one for one in ended if isinstance(one, pb.GenerateResponse)]
        assert {type(one) for one in ended} == {pb.GenerateResponse, BudgetExceeded}
        assert 0 < 420 * len(paid) <= 1500
        assert len(model.server.requests) == len(paid) == 3


async def test_limits_of_a_run_are_exact() -> None:
    async with accounted(openai("Fine.")) as model:
        for limits, error in (("cost=400", BudgetExceeded), ("tokens=200", TokenLimit)):
            with pytest.raises(error, match=r"budget run of \d+"):
                await model.generate(run="run_1", limits=limits)
        assert not model.server.requests
        await model.generate(run="run_2", limits="cost=2000,tokens=2000")
        with pytest.raises(GraphmeshError, match="cost=NUMBER"):
            await model.generate(run="run_2", limits="cost=-1")


async def test_price_is_that_of_the_day() -> None:
    prices = [{"since": "2000-01-01", **PRICE}, {"since": "2099-01-01", "input_micro_usd": 0, "output_micro_usd": 0}]
    async with accounted(openai("Fine."), default={"price": prices}) as model:
        assert (await model.generate()).usage.cost_micro_usd == 17


async def test_fallback_and_hedge_are_counted_as_attempts_of_their_own() -> None:
    """The hedge answers while the first model stalls; the attempt that lost is counted too."""
    hedging = {"fallbacks": ["second"], "limits": {"hedge_after_seconds": 1}}
    async with accounted(always(Reply(then="stall")), openai("Fine."), default=hedging, second={}) as model:
        answer = await model.generate()
        assert answer.message.text == "Fine."
        await model.settled(2)
        aliases = await model.usage("alias")
        assert [(group.alias, group.attempts, group.failed_attempts) for group in aliases] == [
            ("default", 1, 1),
            ("second", 1, 0),
        ]
