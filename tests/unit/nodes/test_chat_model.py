"""The mesh's model as a LangChain chat model: what goes to the service, and what comes of its answers."""

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


class Nearby:
    """The model service without a network between; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked = pb.Prompt()

    async def unary(self, rpc: Any, request: Any) -> Any:
        self.asked = request.prompt
        prompt = convert.prompt(request.prompt)
        return convert.response(await answering.answer(CATALOGUE.chain(""), prompt, Deadline.after(5)))

    async def stream(self, rpc: Any, request: Any) -> AsyncIterator[Any]:
        self.asked = request.prompt
        prompt = convert.prompt(request.prompt)
        async for piece in answering.stream(CATALOGUE.chain(""), prompt, Deadline.after(5)):
            yield convert.event(piece)


@pytest.fixture
def mesh() -> Nearby:
    return Nearby()


@pytest.fixture
def model(mesh: Nearby) -> GraphmeshChatModel:
    return GraphmeshChatModel(client=mesh)


class Intent(BaseModel):
    """What the customer wants."""

    intent: Literal["refund", "parcel"] = Field(description="the topic")
    confidence: float


async def test_a_conversation_goes_to_the_service_whole(model: GraphmeshChatModel, mesh: Nearby) -> None:
    call = {"id": "c1", "name": "shop_Track", "args": {"order": 7}}
    messages: list[BaseMessage] = [
        SystemMessage("Be kind."),
        HumanMessage([{"type": "text", "text": "Where is it?"}]),
        AIMessage("Let me see.", tool_calls=[call]),
        ToolMessage("gone", tool_call_id="c1", status="error"),
    ]
    await model.ainvoke(messages)
    system, user, assistant, result = mesh.asked.messages
    assert (system.system.text, user.user.text) == ("Be kind.", "Where is it?")
    [wanted] = assistant.assistant.tool_calls
    assert (assistant.assistant.text, wanted.name, json.loads(wanted.arguments_json)) == (
        "Let me see.",
        "shop_Track",
        {"order": 7},
    )
    assert result.tool_result == pb.ToolResult(tool_call_id="c1", text="gone", is_error=True)


async def test_what_a_call_says_wins_over_what_the_model_was_made_with(mesh: Nearby) -> None:
    model = GraphmeshChatModel(model="fast", temperature=0.5, max_tokens=9, client=mesh)
    await model.ainvoke("Hello")
    assert (mesh.asked.model, mesh.asked.temperature, mesh.asked.max_output_tokens) == ("fast", 0.5, 9)
    await model.ainvoke("Hello", temperature=0.0, max_tokens=3, stop=["."])
    assert (mesh.asked.temperature, mesh.asked.max_output_tokens, list(mesh.asked.stop)) == (0.0, 3, ["."])
    await GraphmeshChatModel(client=mesh).ainvoke("Hello")
    assert not mesh.asked.HasField("temperature")


async def test_an_answer_says_who_gave_it_and_what_it_took(model: GraphmeshChatModel) -> None:
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


async def test_a_stream_adds_up_to_the_answer(model: GraphmeshChatModel) -> None:
    question = DOCUMENT + "Are returns free?"
    chunks = [chunk async for chunk in model.astream(question)]
    whole, at_once = sum(chunks[1:], chunks[0]), await model.ainvoke(question)
    assert len(chunks) > 3
    assert (whole.text, whole.usage_metadata) == (at_once.text, at_once.usage_metadata)
    assert whole.response_metadata == at_once.response_metadata


async def test_tools_of_the_mesh_and_of_langchain_are_asked_for(model: GraphmeshChatModel, mesh: Nearby) -> None:
    """At once and in a stream, with the same arguments; which the tool's own schema takes back."""

    @tool
    def track(parcel: int) -> str:
        """Track a parcel."""
        return ""

    refund = tool_schema(BillingService.Refund)
    bound = model.bind_tools([refund.openai, track])
    said = "Refund the charge ch_7: 5 EUR"
    answer = await bound.ainvoke(said)
    assert [offered.name for offered in mesh.asked.tools] == ["billing_Refund", "track"]
    [call] = answer.tool_calls
    assert refund.parse(call["args"]).charge_id == "ch_7"
    assert answer.response_metadata["finish_reason"] == "tool_calls"
    chunks = [chunk async for chunk in bound.astream(said)]
    whole = sum(chunks[1:], chunks[0])
    assert isinstance(whole, AIMessage)
    assert whole.tool_calls == answer.tool_calls


@pytest.mark.parametrize(
    ("choice", "asked"),
    [
        (None, pb.ToolChoice()),
        ("auto", pb.ToolChoice(mode=pb.ToolChoiceMode.TOOL_CHOICE_MODE_AUTO)),
        ("none", pb.ToolChoice(mode=pb.ToolChoiceMode.TOOL_CHOICE_MODE_NONE)),
        ("any", pb.ToolChoice(mode=pb.ToolChoiceMode.TOOL_CHOICE_MODE_REQUIRED)),
        (True, pb.ToolChoice(mode=pb.ToolChoiceMode.TOOL_CHOICE_MODE_REQUIRED)),
        ("Intent", pb.ToolChoice(mode=pb.ToolChoiceMode.TOOL_CHOICE_MODE_REQUIRED, tool_name="Intent")),
    ],
)
async def test_langchains_words_for_tool_choices_are_understood(
    model: GraphmeshChatModel, mesh: Nearby, choice: str | bool | None, asked: pb.ToolChoice
) -> None:
    await model.bind_tools([Intent], tool_choice=choice).ainvoke("Where is my parcel?")
    assert mesh.asked.tool_choice == asked


async def test_an_answer_of_a_class_is_one(model: GraphmeshChatModel) -> None:
    answer = await model.with_structured_output(Intent).ainvoke("Where is my parcel?")
    assert answer == Intent(intent="parcel", confidence=0.5)


async def test_an_answer_of_a_schema_comes_with_the_message_where_asked(model: GraphmeshChatModel) -> None:
    """Described choices reach the service as they are: the offline composer lives by them."""
    options = [{"const": "a", "description": "refund"}, {"const": "b", "description": "parcel"}]
    schema = {"title": "Topic", "type": "object", "properties": {"topic": {"oneOf": options}}}
    answer = await model.with_structured_output(schema, include_raw=True).ainvoke("Where is my parcel?")
    assert answer["parsed"] == {"topic": "b"}
    assert answer["parsing_error"] is None
    assert answer["raw"].response_metadata["offline"]


def test_its_sync_half_says_which_methods_to_use(model: GraphmeshChatModel) -> None:
    with pytest.raises(NotImplementedError, match="use ainvoke, astream and abatch"):
        model.invoke("Hello")
    with pytest.raises(NotImplementedError, match="use ainvoke, astream and abatch"):
        list(model.stream("Hello"))


async def test_what_is_no_text_is_refused_before_it_is_sent(model: GraphmeshChatModel, mesh: Nearby) -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}}
    with pytest.raises(ValueError, match="takes text only, not image_url"):
        await model.ainvoke([HumanMessage([image])])
    assert not mesh.asked.messages


def test_the_way_to_the_mesh_is_not_part_of_what_is_shown(model: GraphmeshChatModel) -> None:
    assert "Nearby" not in repr(model)
    assert "mesh" not in model.model_dump()
