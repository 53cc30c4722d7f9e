"""LangChain's chat models as providers: requests are forwarded, answers and errors are translated."""

from types import SimpleNamespace

import pytest
from graphmesh_chassis.errors import (
    GraphmeshError,
    ProviderMisconfigured,
    ProviderUnavailable,
    RateLimited,
    RuleViolated,
)
from graphmesh_model.domain import (
    Assistant,
    FinishReason,
    Prompt,
    System,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    ToolUse,
    Usage,
    User,
)
from graphmesh_model.errors import OutputInvalid
from graphmesh_model.langchain_provider import LangchainProvider
from langchain_core.messages import AIMessage
from langchain_core.messages.ai import UsageMetadata

from tests.unit.model.fake_chat_model import FakeChatModel

HELLO = Prompt((User("Hello"),))
TRACK = Tool("shop_Track", "Tracks.", {"type": "object", "properties": {}})
USAGE = UsageMetadata(input_tokens=9, output_tokens=2, total_tokens=11, input_token_details={"cache_read": 5})


class VendorError(Exception):
    """An error as vendors' packages raise it: their own class, an HTTP response, a message that quotes the prompt."""

    def __init__(self, status: int, **headers: str) -> None:
        super().__init__("you said: Hello")
        self.status_code = status
        self.response = SimpleNamespace(headers=headers)


def provider(vendor: FakeChatModel) -> LangchainProvider:
    return LangchainProvider(vendor, "acme", "acme-large")


async def test_conversation_and_options_are_forwarded() -> None:
    vendor = FakeChatModel(message=AIMessage("Hi"), calls=[])
    call = ToolCall("c1", "shop_Track", {"order": 7})
    messages = (System("Be kind."), User("Where?"), Assistant("", (call,)), ToolResult("c1", "gone", is_error=True))
    await provider(vendor).answer(Prompt(messages, temperature=0.0, max_output_tokens=5, stop=("\n",)))
    [(messages_sent, options)] = vendor.calls
    assert [message.type for message in messages_sent] == ["system", "human", "ai", "tool"]
    assert isinstance(messages_sent[2], AIMessage)
    assert (messages_sent[2].tool_calls[0]["args"], messages_sent[3].model_dump()["status"]) == ({"order": 7}, "error")
    assert options == {"temperature": 0.0, "max_tokens": 5, "stop": ["\n"]}


@pytest.mark.parametrize(
    ("choice", "bound"),
    [
        (ToolChoice(), None),
        (ToolChoice(ToolUse.REQUIRED), "any"),
        (ToolChoice(ToolUse.REQUIRED, "shop_Track"), "shop_Track"),
    ],
)
async def test_tool_choice_is_forwarded(choice: ToolChoice, bound: str | None) -> None:
    vendor = FakeChatModel(calls=[])
    await provider(vendor).answer(Prompt(HELLO.messages, (TRACK,), choice))
    [(_, options)] = vendor.calls
    assert options["tool_choice"] == bound
    assert options["tools"][0]["function"]["name"] == "shop_Track"


async def test_tool_choice_none_forwards_no_tools() -> None:
    vendor = FakeChatModel(calls=[])
    await provider(vendor).answer(Prompt(HELLO.messages, (TRACK,), ToolChoice(ToolUse.NONE)))
    assert vendor.calls[0][1] == {"stop": None}


async def test_response_schema_is_an_instruction_and_a_fence_is_removed() -> None:
    vendor = FakeChatModel(message=AIMessage('```json\n{"a": 1}\n```'), calls=[])
    answer = await provider(vendor).answer(Prompt(HELLO.messages, response_schema={"title": "A"}))
    assert answer.message.text == '{"a": 1}'
    assert '{"title": "A"}' in vendor.calls[0][0][0].text


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"finish_reason": "stop"}, FinishReason.STOP),
        ({"finish_reason": "length"}, FinishReason.LENGTH),
        ({"stop_reason": "max_tokens"}, FinishReason.LENGTH),
        ({"finish_reason": "SAFETY"}, FinishReason.CONTENT_FILTER),
        ({}, FinishReason.STOP),
    ],
)
async def test_vendor_finish_reasons_are_mapped(metadata: dict[str, str], reason: FinishReason) -> None:
    answer = await provider(FakeChatModel(message=AIMessage("Hi", response_metadata=metadata))).answer(HELLO)
    assert answer.finish_reason is reason


async def test_answer_has_vendor_model_name_and_usage() -> None:
    """The model name is the vendor's dated one, or the requested one if the response has none."""
    dated = AIMessage("Hi", usage_metadata=USAGE, response_metadata={"model_name": "acme-large-2026-01-01"})
    answer = await provider(FakeChatModel(message=dated)).answer(HELLO)
    assert (answer.model, answer.provider, answer.usage) == ("acme-large-2026-01-01", "acme", Usage(9, 2, 5))
    assert (await provider(FakeChatModel(message=AIMessage("Hi"))).answer(HELLO)).model == "acme-large"


@pytest.mark.parametrize(
    ("failure", "meaning"),
    [
        (VendorError(429, **{"retry-after": "7"}), RateLimited),
        (VendorError(400), RuleViolated),
        (VendorError(401), ProviderMisconfigured),
        (VendorError(402), ProviderMisconfigured),
        (VendorError(404), ProviderMisconfigured),
        (VendorError(500), ProviderUnavailable),
        (ConnectionError("you said: Hello"), ProviderUnavailable),
        (TimeoutError(), ProviderUnavailable),
    ],
)
async def test_vendor_errors_are_translated(failure: Exception, meaning: type[GraphmeshError]) -> None:
    """In unary calls and streams; with the vendor's name and retry delay, without its message."""
    failing = provider(FakeChatModel(failure=failure))
    with pytest.raises(meaning) as at_once:
        await failing.answer(HELLO)
    with pytest.raises(meaning):
        [piece async for piece in failing.stream(HELLO)]
    assert at_once.value.data["provider"] == "acme"
    assert "Hello" not in str(at_once.value)
    assert at_once.value.retry_after == (7 if meaning is RateLimited else None)


async def test_exceptions_of_any_type_are_translated() -> None:
    """LangChain's packages raise builtin exceptions where a vendor sends what they do not expect."""
    with pytest.raises(ProviderUnavailable, match="KeyError"):
        await provider(FakeChatModel(failure=KeyError("Hello"))).answer(HELLO)


async def test_tool_call_with_invalid_json_is_rejected() -> None:
    broken = AIMessage("", invalid_tool_calls=[{"name": "shop_Track", "args": "{", "id": "1", "error": "no JSON"}])
    with pytest.raises(OutputInvalid):
        await provider(FakeChatModel(message=broken)).answer(HELLO)
