"""The mesh's model as a LangChain chat model: its requests to the service, and its conversion of responses."""

import json
from collections.abc import AsyncIterator
from typing import Any, Literal

import pytest
from graphmesh.billing.v1 import BillingService
from graphmesh.model import v1 as pb
from graphmesh_chassis.deadline import Deadline
from graphmesh_model import answering, convert
from graphmesh_model.catalogue import Catalogue, Entry
from graphmesh_model.offline_provider import OfflineProvider
from graphmesh_nodes import GraphmeshChatModel, tool_schema
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel, Field

CATALOGUE = Catalogue([Entry("default", OfflineProvider())])
DOCUMENT = "<document>Returns are free for 30 days.</document> "


class LocalModelClient:
    """Calls the model service's code in this process, and keeps the last prompt."""

    def __init__(self) -> None:
        self.prompt = pb.Prompt()

    async def unary(self, rpc: Any, request: Any) -> Any:
        self.prompt = request.prompt
        prompt = convert.prompt(request.prompt)
        return convert.response(await answering.answer(CATALOGUE.chain(""), prompt, Deadline.after(5)))

    async def stream(self, rpc: Any, request: Any) -> AsyncIterator[Any]:
        self.prompt = request.prompt
        prompt = convert.prompt(request.prompt)
        async for piece in answering.stream(CATALOGUE.chain(""), prompt, Deadline.after(5)):
            yield convert.event(piece)


@pytest.fixture
def client() -> LocalModelClient:
    return LocalModelClient()


@pytest.fixture
def model(client: LocalModelClient) -> GraphmeshChatModel:
    return GraphmeshChatModel(client=client)


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
        "model_provider": "offline",
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


def test_synchronous_methods_name_the_asynchronous_ones(model: GraphmeshChatModel) -> None:
    with pytest.raises(NotImplementedError, match="use ainvoke, astream and abatch"):
        model.invoke("Hello")
    with pytest.raises(NotImplementedError, match="use ainvoke, astream and abatch"):
        list(model.stream("Hello"))


async def test_images_are_refused_before_the_call(model: GraphmeshChatModel, client: LocalModelClient) -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}}
    with pytest.raises(ValueError, match="takes text only, not image_url"):
        await model.ainvoke([HumanMessage([image])])
    assert not client.prompt.messages


def test_client_is_not_serialized(model: GraphmeshChatModel) -> None:
    assert "LocalModelClient" not in repr(model)
    assert "client" not in model.model_dump()
