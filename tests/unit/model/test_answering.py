"""Which model answers, at what price, and what is not passed on."""

import pytest
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import GraphmeshError, NotFound, ProviderUnavailable, RateLimited, RuleViolated
from graphmesh_model import answering
from graphmesh_model.catalogue import Catalogue, Entry
from graphmesh_model.domain import Answer, FinishReason, Piece, Price, Prompt, TextDelta, Tool, ToolCall, User
from graphmesh_model.errors import OutputInvalid

from tests.unit.model.scripted import Scripted, said

PROMPT = Prompt((User("Hello"),))
IN_JSON = Prompt((User("Hello"),), response_schema={"type": "object", "required": ["intent"]})
GONE = ProviderUnavailable(provider="scripted")


def catalogue(first: Scripted, *others: Scripted, price: Price | None = None) -> Catalogue:
    """`default`, and the others as its fallbacks."""
    names = tuple(f"other{place}" for place, _ in enumerate(others))
    entries = [Entry(name, other) for name, other in zip(names, others, strict=True)]
    return Catalogue([Entry("default", first, price, names), *entries])


async def ask(models: Catalogue, prompt: Prompt = PROMPT, seconds: float = 5) -> Answer:
    return await answering.answer(models.chain(""), prompt, Deadline.after(seconds))


async def listen(models: Catalogue, prompt: Prompt = PROMPT) -> list[Piece]:
    return [piece async for piece in answering.stream(models.chain(""), prompt, Deadline.after(5))]


def test_an_unknown_alias_is_not_found() -> None:
    with pytest.raises(NotFound):
        catalogue(Scripted(said("Hi"))).chain("gpt")


@pytest.mark.parametrize("failure", [GONE, RateLimited(retry_after=1)])
async def test_another_model_steps_in(failure: GraphmeshError) -> None:
    """For one that does not answer, in the order of the settings; the last failure is the answer if all fail."""
    models = catalogue(Scripted(failure), Scripted(GONE), Scripted(said("Hi")))
    assert (await ask(models)).message.text == "Hi"
    with pytest.raises(ProviderUnavailable):
        await ask(catalogue(Scripted(failure), Scripted(GONE)))


async def test_no_model_steps_in_for_a_refusal() -> None:
    """What is wrong with the prompt is wrong for all of them."""
    with pytest.raises(RuleViolated):
        await ask(catalogue(Scripted(RuleViolated(rule="provider_refused")), Scripted(said("Hi"))))


async def test_a_silent_model_leaves_time_for_the_next() -> None:
    models = catalogue(Scripted(said("late"), seconds=30), Scripted(said("in time")))
    assert (await ask(models, seconds=0.2)).message.text == "in time"


async def test_in_a_stream_another_model_steps_in_before_the_first_word_only() -> None:
    pieces = await listen(catalogue(Scripted(GONE), Scripted(said("Hi"))))
    assert [piece.text for piece in pieces if isinstance(piece, TextDelta)] == ["Hi"]
    with pytest.raises(ProviderUnavailable):
        await listen(catalogue(Scripted(GONE, speaks_first=True), Scripted(said("Hi"))))


async def test_the_price_is_that_of_the_model_that_answered() -> None:
    """600 tokens read at 2.5, 400 from the cache at 0.25 and 100 written at 10 micro-dollars; rounded up. A fallback
    without a price has none."""
    price = Price(2_500_000, 10_000_000, 250_001)
    assert (await ask(catalogue(Scripted(said("Hi")), price=price))).cost_micro_usd == 2601
    assert (await ask(catalogue(Scripted(GONE), Scripted(said("Hi")), price=price))).cost_micro_usd is None


@pytest.mark.parametrize("text", ["Hello!", '{"intent"', "{}", "[" * 100_000])
async def test_an_answer_that_does_not_fit_is_not_passed_on(text: str) -> None:
    """Neither at once nor at the end of a stream (H2)."""
    models = catalogue(Scripted(said(text)))
    with pytest.raises(OutputInvalid):
        await ask(models, IN_JSON)
    with pytest.raises(OutputInvalid):
        await listen(models, IN_JSON)


async def test_tool_calls_that_do_not_fit_are_not_passed_on() -> None:
    """Unknown tools, and arguments that are not of the tool's schema (H1, H2)."""
    tool = Tool("shop_Track", "", {"type": "object", "properties": {"id": {"type": "string"}}})
    prompt = Prompt((User("Hello"),), (tool,), response_schema=IN_JSON.response_schema)

    def wants(name: str, arguments: dict[str, object]) -> Catalogue:
        return catalogue(Scripted(said("", ToolCall("1", name, arguments), finish=FinishReason.TOOL_CALLS)))

    assert (await ask(wants("shop_Track", {"id": "7"}), prompt)).message.tool_calls
    for name, arguments in (("shop_Track", {"id": 7}), ("shop_Refund", {})):
        with pytest.raises(OutputInvalid):
            await ask(wants(name, dict(arguments)), prompt)
