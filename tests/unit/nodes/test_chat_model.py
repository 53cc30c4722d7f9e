"""The mesh's model as a LangChain chat model: its requests to the service, and its conversion of responses."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any, Literal

import pytest
from graphmesh.billing.v1 import BillingService
from graphmesh.model import v1 as pb
from graphmesh_chassis.deadline import Deadline
from graphmesh_model import convert
from graphmesh_model.accounting.accounts import Accounts
from graphmesh_model.accounting.ledger_memory import MemoryLedger
from graphmesh_model.answering import Answering
from graphmesh_model.calling import ModelCall
from graphmesh_model.catalogue import Catalogue, Entry
from graphmesh_model.offline_provider import OfflineProvider
from graphmesh_nodes import GraphmeshChatModel, tool_schema
from graphmesh_nodes.errors import InvalidRequest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.utils import trim_messages
from langchain_core.tools import tool
from pydantic import BaseModel, Field, ValidationError

CHAIN = Catalogue([Entry("default", OfflineProvider())]).chain("")
DOCUMENT = "<document>Returns are free for 30 days.</document> "


class LocalModelClient:
    """Calls the model service's code in this process, and keeps the last prompt."""

    def __init__(self) -> None:
        self.prompt = pb.Prompt()
        self._answering = Answering(Accounts(MemoryLedger()))

    async def unary(self, rpc: Any, request: Any) -> Any:
        self.prompt = request.prompt
        prompt = convert.prompt(request.prompt)
        return convert.response(await self._answering.answer(CHAIN, prompt, ModelCall(Deadline.after(60))))

    async def stream(self, rpc: Any, request: Any) -> AsyncIterator[Any]:
        self.prompt = request.prompt
        prompt = convert.prompt(request.prompt)
        async for piece in self._answering.stream(CHAIN, prompt, ModelCall(Deadline.after(60), streamed=True)):
            yield convert.event(piece)


@pytest.fixture
def client() -> LocalModelClient:
    return LocalModelClient()


@pytest.fixture
def model(client: LocalModelClient) -> GraphmeshChatModel:
    return GraphmeshChatModel(client=client)


REASONED = pb.GenerateResponse(
    message=pb.AssistantMessage(
        blocks=[
            pb.ContentBlock(reasoning=pb.Reasoning(id="r1", text="Hm. So.", extras_json='{"signature": "s"}')),
            pb.ContentBlock(
                vendor_json='{"type": "non_standard", "value": {"type": "redacted_thinking", "data": "x"}}'
            ),
            pb.ContentBlock(text=pb.TextBlock(text="A cat.")),
        ],
        tool_calls=[pb.ToolCall(id="c1", name="see", arguments_json='{"a": 1}')],
        provider="anthropic",
    ),
    finish_reason=pb.FinishReason.FINISH_REASON_TOOL_CALLS,
    usage=pb.Usage(input_tokens=9, output_tokens=7, reasoning_output_tokens=3),
    model="large",
    provider="anthropic",
)
REASONED_EVENTS = [
    pb.StreamGenerateResponse(reasoning_delta=pb.ReasoningDelta(id="r1", text="Hm.")),
    pb.StreamGenerateResponse(reasoning_delta=pb.ReasoningDelta(text=" So.")),
    pb.StreamGenerateResponse(reasoning_delta=pb.ReasoningDelta(extras_json='{"signature": "s"}')),
    pb.StreamGenerateResponse(block=REASONED.message.blocks[1]),
    pb.StreamGenerateResponse(text_delta="A "),
    pb.StreamGenerateResponse(text_delta="cat."),
    pb.StreamGenerateResponse(tool_call_delta=pb.ToolCallDelta(id="c1", name="see", arguments_json='{"a"')),
    pb.StreamGenerateResponse(tool_call_delta=pb.ToolCallDelta(arguments_json=": 1}")),
    pb.StreamGenerateResponse(completed=REASONED),
]


class Recorder:
    """Keeps the prompt, and answers with reasoning, text and a tool call."""

    def __init__(self) -> None:
        self.prompt = pb.Prompt()
        self._answering = Answering(Accounts(MemoryLedger()))

    async def unary(self, rpc: Any, request: Any) -> Any:
        self.prompt = request.prompt
        return REASONED

    async def stream(self, rpc: Any, request: Any) -> AsyncIterator[Any]:
        self.prompt = request.prompt
        for event in REASONED_EVENTS:
            yield event


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


class Intent(BaseModel):
    """The topic of a message."""

    intent: Literal["refund", "parcel"] = Field(description="the topic")
    confidence: float


async def test_sends_the_whole_conversation(model: GraphmeshChatModel, client: LocalModelClient) -> None:
    call = {"id": "c1", "name": "shop_Track", "args": {"order": 7}}
    messages: list[BaseMessage] = [
        SystemMessage("Be kind."),
        HumanMessage([{"type": "text", "text": "Where is it?"}]),
        AIMessage("Let me see.", tool_calls=[call]),
        ToolMessage("gone", tool_call_id="c1", status="error"),
    ]
    await model.ainvoke(messages)
    system, user, assistant, result = client.prompt.messages
    assert (system.system.text, user.user.text) == ("Be kind.", "Where is it?")
    [sent] = assistant.assistant.tool_calls
    assert (assistant.assistant.text, sent.name, json.loads(sent.arguments_json)) == (
        "Let me see.",
        "shop_Track",
        {"order": 7},
    )
    assert result.tool_result == pb.ToolResult(tool_call_id="c1", text="gone", is_error=True)


async def test_arguments_of_a_call_override_those_of_the_model(client: LocalModelClient) -> None:
    model = GraphmeshChatModel(model="fast", temperature=0.5, max_tokens=9, client=client)
    await model.ainvoke("Hello")
    assert (client.prompt.model, client.prompt.temperature, client.prompt.max_output_tokens) == ("fast", 0.5, 9)
    await model.ainvoke("Hello", temperature=0.0, max_tokens=3, stop=["."])
    assert (client.prompt.temperature, client.prompt.max_output_tokens, list(client.prompt.stop)) == (0.0, 3, ["."])
    await GraphmeshChatModel(client=client).ainvoke("Hello")
    assert not client.prompt.HasField("temperature")


async def test_answer_has_model_and_usage(model: GraphmeshChatModel) -> None:
    answer = await model.ainvoke(DOCUMENT + "Are returns free?")
    assert answer.text == "Returns are free for 30 days."
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["total_tokens"] == 25
    assert answer.response_metadata == {
        "model_name": "offline-extractive-1",
        "model_provider": "graphmesh",
        "provider": "offline",
        "finish_reason": "stop",
        "offline": True,
        "cost_micro_usd": None,
    }


async def test_stream_adds_up_to_the_answer(model: GraphmeshChatModel) -> None:
    question = DOCUMENT + "Are returns free?"
    chunks = [chunk async for chunk in model.astream(question)]
    whole, at_once = sum(chunks[1:], chunks[0]), await model.ainvoke(question)
    assert len(chunks) > 3
    assert (whole.text, whole.usage_metadata) == (at_once.text, at_once.usage_metadata)
    assert whole.response_metadata == at_once.response_metadata


async def test_calls_tools_of_the_mesh_and_of_langchain(model: GraphmeshChatModel, client: LocalModelClient) -> None:
    """In one response and in a stream, with equal arguments, which the tool's schema parses."""

    @tool
    def track(parcel: int) -> str:
        """Track a parcel."""
        return ""

    refund = tool_schema(BillingService.Refund)
    bound = model.bind_tools([refund.openai, track])
    message = "Refund the charge ch_7: 5 EUR"
    answer = await bound.ainvoke(message)
    assert [offered.name for offered in client.prompt.tools] == ["billing_Refund", "track"]
    [call] = answer.tool_calls
    assert refund.parse(call["args"]).charge_id == "ch_7"
    assert answer.response_metadata["finish_reason"] == "tool_calls"
    chunks = [chunk async for chunk in bound.astream(message)]
    whole = sum(chunks[1:], chunks[0])
    assert isinstance(whole, AIMessage)
    assert whole.tool_calls == answer.tool_calls


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        (None, pb.ToolChoice()),
        ("auto", pb.ToolChoice(mode=pb.ToolChoiceMode.TOOL_CHOICE_MODE_AUTO)),
        ("none", pb.ToolChoice(mode=pb.ToolChoiceMode.TOOL_CHOICE_MODE_NONE)),
        ("any", pb.ToolChoice(mode=pb.ToolChoiceMode.TOOL_CHOICE_MODE_REQUIRED)),
        (True, pb.ToolChoice(mode=pb.ToolChoiceMode.TOOL_CHOICE_MODE_REQUIRED)),
        ("Intent", pb.ToolChoice(mode=pb.ToolChoiceMode.TOOL_CHOICE_MODE_REQUIRED, tool_name="Intent")),
    ],
)
async def test_tool_choices_of_langchain_are_converted(
    model: GraphmeshChatModel, client: LocalModelClient, choice: str | bool | None, sent: pb.ToolChoice
) -> None:
    await model.bind_tools([Intent], tool_choice=choice).ainvoke("Where is my parcel?")
    assert client.prompt.tool_choice == sent


async def test_structured_output_of_a_class(model: GraphmeshChatModel) -> None:
    answer = await model.with_structured_output(Intent).ainvoke("Where is my parcel?")
    assert answer == Intent(intent="parcel", confidence=0.5)


async def test_structured_output_of_a_schema_with_the_raw_message(model: GraphmeshChatModel) -> None:
    """Descriptions of choices reach the service unchanged: the offline composer needs them."""
    options = [{"const": "a", "description": "refund"}, {"const": "b", "description": "parcel"}]
    schema = {"title": "Topic", "type": "object", "properties": {"topic": {"oneOf": options}}}
    answer = await model.with_structured_output(schema, include_raw=True).ainvoke("Where is my parcel?")
    assert answer["parsed"] == {"topic": "b"}
    assert answer["parsing_error"] is None
    assert answer["raw"].response_metadata["offline"]


def test_synchronous_methods_are_for_nodes_of_a_run(model: GraphmeshChatModel) -> None:
    with pytest.raises(RuntimeError, match="only by nodes of a run"):
        model.invoke("Hello")
    with pytest.raises(RuntimeError, match="only by nodes of a run"):
        list(model.stream("Hello"))


async def test_tokens_are_counted_approximately(model: GraphmeshChatModel) -> None:
    """`trim_messages` counts with the model that it is given."""
    messages = [HumanMessage(f"message {number}") for number in range(9)]
    kept = trim_messages(messages, max_tokens=20, token_counter=model)
    assert 0 < len(kept) < 9
    assert kept[-1] == messages[-1]


PNG = base64.b64encode(b"png").decode()
IMAGE = pb.ContentBlock(image=pb.Media(data=b"png", mime_type="image/png"))
LINK = pb.ContentBlock(image=pb.Media(url="https://example.org/cat.png"))
PDF = pb.ContentBlock(file=pb.Media(data=b"png", mime_type="application/pdf", name="a.pdf"))


@pytest.mark.parametrize(
    ("block", "sent"),
    [
        ({"type": "image", "base64": PNG, "mime_type": "image/png"}, IMAGE),
        ({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}, IMAGE),
        ({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}, IMAGE),
        ({"type": "image", "source_type": "base64", "mime_type": "image/png", "data": PNG}, IMAGE),
        ({"type": "image", "url": "https://example.org/cat.png"}, LINK),
        ({"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}}, LINK),
        ({"type": "file", "base64": PNG, "mime_type": "application/pdf", "filename": "a.pdf"}, PDF),
        ({"type": "file", "file_id": "file_1"}, pb.ContentBlock(file=pb.Media(file_id="file_1"))),
        (
            {"type": "audio", "base64": PNG, "mime_type": "audio/wav"},
            pb.ContentBlock(audio=pb.Media(data=b"png", mime_type="audio/wav")),
        ),
        (
            {"type": "text-plain", "text": "notes", "mime_type": "text/plain", "title": "n.txt"},
            pb.ContentBlock(file=pb.Media(data=b"notes", mime_type="text/plain", name="n.txt")),
        ),
    ],
)
async def test_media_of_users_and_tools_are_sent(
    recorder: Recorder, block: dict[str, Any], sent: pb.ContentBlock
) -> None:
    """In LangChain's form, and in those of vendors that LangChain knows."""
    text: dict[str, Any] = {"type": "text", "text": "Look."}
    messages: list[BaseMessage] = [
        HumanMessage([text, block]),
        AIMessage("", tool_calls=[{"id": "c1", "name": "see", "args": {}}]),
        ToolMessage([block], tool_call_id="c1"),
    ]
    await GraphmeshChatModel(client=recorder).ainvoke(messages)
    user, _, result = recorder.prompt.messages
    assert list(user.user.blocks) == [pb.ContentBlock(text=pb.TextBlock(text="Look.")), sent]
    assert list(result.tool_result.blocks) == [sent]


@pytest.mark.parametrize(
    ("message", "rule"),
    [
        (HumanMessage([{"type": "image", "base64": "?", "mime_type": "image/png"}]), "base64 is invalid"),
        (HumanMessage([{"type": "hologram", "data": "x"}]), "does not take: hologram"),
        (HumanMessage([{"type": "image", "url": "https://a.org", "detail": "low"}]), "image with detail"),
        (
            HumanMessage([{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]),
            "text with cache_control",
        ),
        (SystemMessage([{"type": "image", "url": "https://a.org"}]), "system message"),
    ],
)
async def test_contents_that_the_service_does_not_take_are_refused_by_name(
    recorder: Recorder, message: BaseMessage, rule: str
) -> None:
    with pytest.raises(InvalidRequest, match=rule) as refused:
        await GraphmeshChatModel(client=recorder).ainvoke([HumanMessage("a"), message])
    assert [violation.field for violation in refused.value.violations] == ["messages[1]"]
    assert not recorder.prompt.messages


async def test_reasoning_is_streamed_in_blocks_and_sent_back(recorder: Recorder) -> None:
    """The streamed message has the content of the unary one, and both are sent back unchanged."""
    model = GraphmeshChatModel(client=recorder)
    answer = await model.ainvoke("What is it?")
    chunks = [chunk async for chunk in model.astream("What is it?")]
    streamed = sum(chunks[1:], chunks[0])
    types = ["reasoning", "non_standard", "text", "tool_call"]
    assert [block["type"] for block in answer.content_blocks] == types
    assert [block["type"] for block in streamed.content_blocks] == types
    assert [chunk.content_blocks[0]["type"] for chunk in chunks[:3]] == ["reasoning"] * 3
    assert (answer.text, streamed.text) == ("A cat.", "A cat.")
    assert answer.usage_metadata is not None
    assert answer.usage_metadata.get("output_token_details", {}).get("reasoning") == 3
    for message in (answer, streamed):
        assert isinstance(message, AIMessage)
        await model.ainvoke([HumanMessage("What is it?"), message, ToolMessage("seen", tool_call_id="c1")])
        assert recorder.prompt.messages[1].assistant == REASONED.message


@pytest.mark.parametrize(
    ("options", "field", "value"),
    [
        ({"top_p": 0.5}, "top_p", 0.5),
        ({"strict": True}, "strict", True),
        ({"parallel_tool_calls": False}, "parallel_tool_calls", False),
        ({"max_completion_tokens": 7}, "max_output_tokens", 7),
        ({"response_format": {"type": "json_object"}}, "response_schema_json", '{"type": "object"}'),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"title": "A"}}}},
            "response_schema_json",
            '{"title": "A"}',
        ),
    ],
)
async def test_options_are_sent(recorder: Recorder, options: dict[str, Any], field: str, value: Any) -> None:
    bound = GraphmeshChatModel(client=recorder).bind_tools([Intent], **options)
    await bound.ainvoke("Hello")
    assert getattr(recorder.prompt, field) == value
    assert recorder.prompt.tools[0].name == "Intent"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"logprobs": True}, "logprobs"),
        ({"response_format": "xml"}, "response_format"),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
    ],
)
async def test_unknown_options_are_refused_by_name(recorder: Recorder, options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await GraphmeshChatModel(client=recorder).bind(**options).ainvoke("Hello")
    assert [violation.field for violation in refused.value.violations] == [field]
    with pytest.raises(ValidationError, match="nonsense"):
        GraphmeshChatModel(nonsense=1)  # type: ignore[call-arg]


async def test_tools_that_a_vendor_executes_are_refused_by_name(recorder: Recorder) -> None:
    with pytest.raises(InvalidRequest, match="web_search"):
        await GraphmeshChatModel(client=recorder).bind_tools([{"type": "web_search"}]).ainvoke("Hello")


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
async def test_methods_of_structured_output(model: GraphmeshChatModel, client: LocalModelClient, method: Any) -> None:
    answering = model.with_structured_output(Topic, method=method, strict=method == "json_schema" or None)
    assert await answering.ainvoke("Where is my parcel?") == Topic(topic="parcel")
    assert client.prompt.strict == (method == "json_schema")
    assert len(client.prompt.tools) == (method == "function_calling")


class Topic(BaseModel):
    """The topic of a message."""

    topic: Literal["parcel"] = "parcel"


def test_client_is_not_serialized(model: GraphmeshChatModel) -> None:
    assert "LocalModelClient" not in repr(model)
    assert "client" not in model.model_dump()
