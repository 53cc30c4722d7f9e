"""Fallbacks, cost and validation of answers."""

from dataclasses import replace
from datetime import date

import pytest
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import GraphmeshError, NotFound, ProviderUnavailable, RateLimited, RuleViolated
from graphmesh_model.accounting.accounts import Accounts
from graphmesh_model.accounting.ledger_memory import MemoryLedger
from graphmesh_model.accounting.prices import UNKNOWN, Price, Prices
from graphmesh_model.answering import Answering
from graphmesh_model.calling import ModelCall
from graphmesh_model.catalogue import Catalogue, Entry
from graphmesh_model.domain import Answer, FinishReason, Prompt, StreamEvent, TextDelta, Tool, ToolCall, User
from graphmesh_model.errors import OutputInvalid

from tests.unit.model.scripted_provider import ScriptedProvider, reply

PROMPT = Prompt((User("Hello"),))
IN_JSON = Prompt((User("Hello"),), response_schema={"type": "object", "required": ["intent"]})
UNAVAILABLE = ProviderUnavailable(provider="scripted")


def catalogue(first: ScriptedProvider, *others: ScriptedProvider, prices: Prices = UNKNOWN) -> Catalogue:
    """A catalogue of `default`, with the others as its fallbacks."""
    names = tuple(f"other{index}" for index, _ in enumerate(others))
    entries = [Entry(name, other) for name, other in zip(names, others, strict=True)]
    return Catalogue([Entry("default", first, prices, names), *entries])


async def generate(models: Catalogue, prompt: Prompt = PROMPT, seconds: float = 60) -> Answer:
    return await Answering(Accounts(MemoryLedger())).answer(
        models.chain(""), prompt, ModelCall(Deadline.after(seconds))
    )


async def stream(models: Catalogue, prompt: Prompt = PROMPT) -> list[StreamEvent]:
    call = ModelCall(Deadline.after(60), streamed=True)
    return [event async for event in Answering(Accounts(MemoryLedger())).stream(models.chain(""), prompt, call)]


def test_unknown_alias_is_not_found() -> None:
    with pytest.raises(NotFound):
        catalogue(ScriptedProvider(reply("Hi"))).chain("gpt")


@pytest.mark.parametrize("failure", [UNAVAILABLE, RateLimited(retry_after=1)])
async def test_falls_back_in_configured_order(failure: GraphmeshError) -> None:
    """If all models fail, the error of the last one is raised."""
    models = catalogue(ScriptedProvider(failure), ScriptedProvider(UNAVAILABLE), ScriptedProvider(reply("Hi")))
    assert (await generate(models)).message.text == "Hi"
    with pytest.raises(ProviderUnavailable):
        await generate(catalogue(ScriptedProvider(failure), ScriptedProvider(UNAVAILABLE)))


async def test_rejected_prompt_falls_back() -> None:
    """Another model may have a larger context, or take images."""
    rejecting = ScriptedProvider(RuleViolated(rule="provider_refused"))
    assert (await generate(catalogue(rejecting, ScriptedProvider(reply("Hi"))))).message.text == "Hi"
    with pytest.raises(RuleViolated):
        await generate(catalogue(rejecting))


async def test_slow_model_leaves_time_for_its_fallback() -> None:
    models = catalogue(ScriptedProvider(reply("late"), seconds=30), ScriptedProvider(reply("in time")))
    assert (await generate(models, seconds=6)).message.text == "in time"


async def test_stream_falls_back_only_before_the_first_event() -> None:
    events = await stream(catalogue(ScriptedProvider(UNAVAILABLE), ScriptedProvider(reply("Hi"))))
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["Hi"]
    with pytest.raises(ProviderUnavailable):
        await stream(catalogue(ScriptedProvider(UNAVAILABLE, streams_text_first=True), ScriptedProvider(reply("Hi"))))


async def test_cost_uses_the_price_of_the_answering_model() -> None:
    """600 input tokens at 2.5, 400 cached ones at 0.25 and 100 output tokens at 10 micro-dollars, rounded up.

    The cost of a model without a price is unknown.
    """
    price = Prices([(date.min, Price(2_500_000, 10_000_000, 250_001, 2_500_000, 10_000_000))])
    assert (await generate(catalogue(ScriptedProvider(reply("Hi")), prices=price))).cost_micro_usd == 2601
    assert (
        await generate(catalogue(ScriptedProvider(UNAVAILABLE), ScriptedProvider(reply("Hi")), prices=price))
    ).cost_micro_usd is None


@pytest.mark.parametrize("text", ["Hello!", '{"intent"', "{}", "[" * 100_000])
async def test_answer_that_violates_the_schema_is_rejected(text: str) -> None:
    """In the unary answer and at the end of a stream."""
    models = catalogue(ScriptedProvider(reply(text)))
    with pytest.raises(OutputInvalid):
        await generate(models, IN_JSON)
    with pytest.raises(OutputInvalid):
        await stream(models, IN_JSON)


async def test_invalid_tool_calls_are_rejected() -> None:
    """Unknown tools, and arguments that violate the tool's schema, unless the caller checks them itself."""
    tool = Tool("shop_Track", "", {"type": "object", "properties": {"id": {"type": "string"}}})
    prompt = Prompt((User("Hello"),), (tool,), response_schema=IN_JSON.response_schema)

    def wants(name: str, arguments: dict[str, object]) -> Catalogue:
        return catalogue(ScriptedProvider(reply("", ToolCall("1", name, arguments), finish=FinishReason.TOOL_CALLS)))

    assert (await generate(wants("shop_Track", {"id": "7"}), prompt)).message.tool_calls
    for name, arguments in (("shop_Track", {"id": 7}), ("shop_Refund", {})):
        with pytest.raises(OutputInvalid):
            await generate(wants(name, dict(arguments)), prompt)
        unchecked = await generate(wants(name, dict(arguments)), replace(prompt, unchecked_tool_calls=True))
        assert unchecked.message.tool_calls[0].arguments == arguments
