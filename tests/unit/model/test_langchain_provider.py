"""LangChain's chat models as providers: nothing of the vendor comes through but its answers (F6)."""

from types import SimpleNamespace
from typing import Any

import pytest
from graphmesh_chassis.errors import GraphmeshError, ProviderUnavailable, RateLimited, RuleViolated
from graphmesh_model import langchain_provider
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
from graphmesh_model.langchain_provider import LangchainProvider, open_model
from langchain_core.messages import AIMessage
from langchain_core.messages.ai import UsageMetadata
from pydantic import SecretStr

from tests.unit.model.vendors import Vendor

HELLO = Prompt((User("Hello"),))
TRACK = Tool("shop_Track", "Tracks.", {"type": "object", "properties": {}})
USAGE = UsageMetadata(input_tokens=9, output_tokens=2, total_tokens=11, input_token_details={"cache_read": 5})


class VendorError(Exception):
    """What vendors' packages raise: their own class, with the HTTP response, and words that quote the prompt."""

    def __init__(self, status: int, **headers: str) -> None:
        super().__init__("you said: Hello")
        self.status_code = status
        self.response = SimpleNamespace(headers=headers)


def provider(vendor: Vendor) -> LangchainProvider:
    return LangchainProvider(vendor, "acme", "acme-large")


async def test_a_conversation_is_passed_on_whole() -> None:
    vendor = Vendor(message=AIMessage("Hi"), asked=[])
    call = ToolCall("c1", "shop_Track", {"order": 7})
    messages = (System("Be kind."), User("Where?"), Assistant("", (call,)), ToolResult("c1", "gone", is_error=True))
    await provider(vendor).answer(Prompt(messages, temperature=0.0, max_output_tokens=5, stop=("\n",)))
    [(asked, options)] = vendor.asked
    assert [message.type for message in asked] == ["system", "human", "ai", "tool"]
    assert isinstance(asked[2], AIMessage)
    assert (asked[2].tool_calls[0]["args"], asked[3].model_dump()["status"]) == ({"order": 7}, "error")
    assert options == {"temperature": 0.0, "max_tokens": 5, "stop": ["\n"]}


@pytest.mark.parametrize(
    ("choice", "bound"),
    [
        (ToolChoice(), None),
        (ToolChoice(ToolUse.REQUIRED), "any"),
        (ToolChoice(ToolUse.REQUIRED, "shop_Track"), "shop_Track"),
    ],
)
async def test_tools_are_offered_as_the_choice_says(choice: ToolChoice, bound: str | None) -> None:
    vendor = Vendor(asked=[])
    await provider(vendor).answer(Prompt(HELLO.messages, (TRACK,), choice))
    [(_, options)] = vendor.asked
    assert options["tool_choice"] == bound
    assert options["tools"][0]["function"]["name"] == "shop_Track"


async def test_tools_that_may_not_be_called_are_not_offered() -> None:
    vendor = Vendor(asked=[])
    await provider(vendor).answer(Prompt(HELLO.messages, (TRACK,), ToolChoice(ToolUse.NONE)))
    assert vendor.asked[0][1] == {"stop": None}


async def test_a_schema_is_asked_for_and_a_fence_around_the_answer_taken_off() -> None:
    vendor = Vendor(message=AIMessage('```json\n{"a": 1}\n```'), asked=[])
    answer = await provider(vendor).answer(Prompt(HELLO.messages, response_schema={"title": "A"}))
    assert answer.message.text == '{"a": 1}'
    assert '{"title": "A"}' in vendor.asked[0][0][0].text


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
async def test_vendors_name_their_reasons_differently(metadata: dict[str, str], reason: FinishReason) -> None:
    answer = await provider(Vendor(message=AIMessage("Hi", response_metadata=metadata))).answer(HELLO)
    assert answer.finish_reason is reason


async def test_the_answer_names_the_model_and_counts_its_tokens() -> None:
    """The model as the vendor spells it, with its date; what was asked for where the vendor does not say."""
    dated = AIMessage("Hi", usage_metadata=USAGE, response_metadata={"model_name": "acme-large-2026-01-01"})
    answer = await provider(Vendor(message=dated)).answer(HELLO)
    assert (answer.model, answer.provider, answer.usage) == ("acme-large-2026-01-01", "acme", Usage(9, 2, 5))
    assert (await provider(Vendor(message=AIMessage("Hi"))).answer(HELLO)).model == "acme-large"


@pytest.mark.parametrize(
    ("failure", "meaning"),
    [
        (VendorError(429, **{"retry-after": "7"}), RateLimited),
        (VendorError(400), RuleViolated),
        (VendorError(401), ProviderUnavailable),
        (VendorError(404), ProviderUnavailable),
        (VendorError(500), ProviderUnavailable),
        (ConnectionError("you said: Hello"), ProviderUnavailable),
        (TimeoutError(), ProviderUnavailable),
    ],
)
async def test_failures_are_the_meshs_own(failure: Exception, meaning: type[GraphmeshError]) -> None:
    """At once and in a stream; with the vendor's name and time to wait, and without its words (H5)."""
    silent = provider(Vendor(failure=failure))
    with pytest.raises(meaning) as at_once:
        await silent.answer(HELLO)
    with pytest.raises(meaning):
        [piece async for piece in silent.stream(HELLO)]
    assert at_once.value.data["provider"] == "acme"
    assert "Hello" not in str(at_once.value)
    assert at_once.value.retry_after == (7 if meaning is RateLimited else None)


async def test_a_mistake_in_this_process_is_not_blamed_on_the_vendor() -> None:
    with pytest.raises(KeyError):
        await provider(Vendor(failure=KeyError("x"))).answer(HELLO)


async def test_a_tool_call_that_is_no_json_is_no_answer() -> None:
    broken = AIMessage("", invalid_tool_calls=[{"name": "shop_Track", "args": "{", "id": "1", "error": "no JSON"}])
    with pytest.raises(OutputInvalid):
        await provider(Vendor(message=broken)).answer(HELLO)


def test_the_key_of_the_vendor_goes_to_langchain_and_retries_are_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """One retry owner: the remote node (D4)."""
    given: dict[str, Any] = {}

    def init_chat_model(name: str, **options: Any) -> Vendor:
        given.update(options, name=name)
        return Vendor()

    monkeypatch.setattr(
        langchain_provider, "import_module", lambda name: SimpleNamespace(init_chat_model=init_chat_model)
    )
    opened = open_model("acme:large:2", "", SecretStr("sk"), {"base_url": "http://127.0.0.1"})
    key = given.pop("api_key")
    assert (given, key.get_secret_value()) == (
        {"name": "acme:large:2", "max_retries": 0, "base_url": "http://127.0.0.1"},
        "sk",
    )
    assert (opened.vendor, opened.model) == ("acme", "large:2")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError("No module named 'langchain'")

    monkeypatch.setattr(langchain_provider, "import_module", missing)
    with pytest.raises(ImportError, match=r"acme:large needs LangChain with its package for acme: No module"):
        open_model("acme:large", "", None, {})
