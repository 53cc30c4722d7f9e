"""What every provider of models keeps to (F6)."""

import json
from collections.abc import Callable

import pytest
from graphmesh_model.domain import (
    Answer,
    Assistant,
    FinishReason,
    Piece,
    Prompt,
    TextDelta,
    Tool,
    ToolCallDelta,
    ToolChoice,
    ToolUse,
    User,
)
from graphmesh_model.langchain_provider import LangchainProvider
from graphmesh_model.offline_provider import OfflineProvider
from graphmesh_model.provider import Provider
from langchain_core.messages import AIMessage
from langchain_core.messages.ai import UsageMetadata

from tests.unit.model.vendors import Vendor

SAID = User("<document>Parcels take three days.</document> Where is parcel 7?")
TRACK = Tool(
    "shop_Track",
    "Tracks a parcel.",
    {"type": "object", "properties": {"parcel": {"type": "integer"}}, "required": ["parcel"]},
)
SCHEMA = {"type": "object", "properties": {"days": {"type": "string"}}, "required": ["days"]}

TEXT = Prompt((SAID,))
TOOL = Prompt((SAID,), (TRACK,), ToolChoice(ToolUse.REQUIRED))
JSON = Prompt((SAID,), response_schema=SCHEMA)


def offline(prompt: Prompt) -> Provider:
    return OfflineProvider()


def langchain(prompt: Prompt) -> Provider:
    """A vendor that answers as a good one would."""
    call = {"type": "tool_call", "id": "c1", "name": "shop_Track", "args": {"parcel": 7}}
    text = json.dumps({"days": "three"}) if prompt.response_schema else "Parcels take three days."
    said = AIMessage("", tool_calls=[call]) if prompt.tools else AIMessage(text)
    said.usage_metadata = UsageMetadata(input_tokens=9, output_tokens=4, total_tokens=13)
    return LangchainProvider(Vendor(message=said), "acme", "acme-large")


pytestmark = pytest.mark.parametrize("make", [offline, langchain])
Make = Callable[[Prompt], Provider]


async def streamed(make: Make, prompt: Prompt) -> tuple[list[Piece], Answer]:
    *deltas, last = [piece async for piece in make(prompt).stream(prompt)]
    assert isinstance(last, Answer)
    return deltas, last


async def test_an_answer_says_who_gave_it_and_what_it_took(make: Make) -> None:
    provider = make(TEXT)
    answer = await provider.answer(TEXT)
    assert (answer.provider, answer.model, answer.offline) == (provider.vendor, provider.model, provider.offline)
    assert answer.usage.input_tokens > answer.usage.output_tokens > 0
    assert answer.finish_reason is FinishReason.STOP


@pytest.mark.parametrize("prompt", [TEXT, TOOL, JSON])
async def test_a_stream_ends_with_the_answer_that_comes_at_once(make: Make, prompt: Prompt) -> None:
    _, last = await streamed(make, prompt)
    assert last == await make(prompt).answer(prompt)


async def test_the_text_of_a_stream_is_that_of_its_answer(make: Make) -> None:
    deltas, last = await streamed(make, TEXT)
    assert "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)) == last.message.text
    assert len(deltas) > 1


async def test_a_tool_that_has_to_be_called_is(make: Make) -> None:
    answer = await make(TOOL).answer(TOOL)
    [call] = answer.message.tool_calls
    assert (call.name, call.arguments) == ("shop_Track", {"parcel": 7})
    assert answer.finish_reason is FinishReason.TOOL_CALLS


async def test_the_deltas_of_a_tool_call_add_up_to_it(make: Make) -> None:
    """The first one has its id and name; the arguments come in any number of pieces."""
    deltas, last = await streamed(make, TOOL)
    [call] = last.message.tool_calls
    pieces = [delta for delta in deltas if isinstance(delta, ToolCallDelta)]
    assert (pieces[0].index, pieces[0].id, pieces[0].name) == (0, call.id, call.name)
    assert json.loads("".join(piece.arguments_json for piece in pieces)) == call.arguments


async def test_with_a_schema_the_text_is_json(make: Make) -> None:
    answer = await make(JSON).answer(JSON)
    assert set(json.loads(answer.message.text)) == {"days"}
    assert answer.message == Assistant(answer.message.text)
