"""The contract of every model provider."""

import json
from collections.abc import Callable

import pytest
from graphmesh_model.domain import (
    Answer,
    Assistant,
    FinishReason,
    Prompt,
    StreamEvent,
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

from tests.unit.model.fake_chat_model import FakeChatModel

QUESTION = User("<document>Parcels take three days.</document> Where is parcel 7?")
TRACK = Tool(
    "shop_Track",
    "Tracks a parcel.",
    {"type": "object", "properties": {"parcel": {"type": "integer"}}, "required": ["parcel"]},
)
SCHEMA = {"type": "object", "properties": {"days": {"type": "string"}}, "required": ["days"]}

TEXT = Prompt((QUESTION,))
TOOL = Prompt((QUESTION,), (TRACK,), ToolChoice(ToolUse.REQUIRED))
JSON = Prompt((QUESTION,), response_schema=SCHEMA)


def offline(prompt: Prompt) -> Provider:
    return OfflineProvider()


def langchain(prompt: Prompt) -> Provider:
    """A vendor that answers correctly."""
    call = {"type": "tool_call", "id": "c1", "name": "shop_Track", "args": {"parcel": 7}}
    text = json.dumps({"days": "three"}) if prompt.response_schema else "Parcels take three days."
    message = AIMessage("", tool_calls=[call]) if prompt.tools else AIMessage(text)
    message.usage_metadata = UsageMetadata(input_tokens=9, output_tokens=4, total_tokens=13)
    return LangchainProvider(FakeChatModel(message=message), "acme", "acme-large")


pytestmark = pytest.mark.parametrize("make", [offline, langchain])
Make = Callable[[Prompt], Provider]


async def streamed(make: Make, prompt: Prompt) -> tuple[list[StreamEvent], Answer]:
    *deltas, last = [event async for event in make(prompt).stream(prompt)]
    assert isinstance(last, Answer)
    return deltas, last


async def test_answer_names_its_model_and_usage(make: Make) -> None:
    provider = make(TEXT)
    answer = await provider.answer(TEXT)
    assert (answer.provider, answer.model, answer.offline) == (provider.vendor, provider.model, provider.offline)
    assert answer.usage.input_tokens > answer.usage.output_tokens > 0
    assert answer.finish_reason is FinishReason.STOP


@pytest.mark.parametrize("prompt", [TEXT, TOOL, JSON])
async def test_stream_ends_with_the_unary_answer(make: Make, prompt: Prompt) -> None:
    _, last = await streamed(make, prompt)
    assert last == await make(prompt).answer(prompt)


async def test_text_deltas_concatenate_to_the_answer(make: Make) -> None:
    deltas, last = await streamed(make, TEXT)
    assert "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)) == last.message.text
    assert len(deltas) > 1


async def test_required_tool_is_called(make: Make) -> None:
    answer = await make(TOOL).answer(TOOL)
    [call] = answer.message.tool_calls
    assert (call.name, call.arguments) == ("shop_Track", {"parcel": 7})
    assert answer.finish_reason is FinishReason.TOOL_CALLS


async def test_tool_call_deltas_concatenate_to_the_call(make: Make) -> None:
    """The first delta has its id and name; the arguments arrive in any number of deltas."""
    deltas, last = await streamed(make, TOOL)
    [call] = last.message.tool_calls
    parts = [delta for delta in deltas if isinstance(delta, ToolCallDelta)]
    assert (parts[0].index, parts[0].id, parts[0].name) == (0, call.id, call.name)
    assert json.loads("".join(part.arguments_json for part in parts)) == call.arguments


async def test_response_schema_makes_json(make: Make) -> None:
    answer = await make(JSON).answer(JSON)
    assert set(json.loads(answer.message.text)) == {"days"}
    assert answer.message == Assistant(answer.message.text)
