"""The model service over a real channel, with every hook."""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from graphmesh.model import v1 as pb
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import InvalidRequest, NotFound, ScopeMissing
from graphmesh_model.errors import OutputInvalid
from graphmesh_model.settings import Settings

from tests.integration.model.served import running_models

Models = pb.ModelService
QUESTION = pb.ChatMessage(
    user=pb.UserMessage(text="<document>Returns are free for 30 days.</document> Are returns free?")
)
CHARGE = {
    "type": "object",
    "required": ["charge_id"],
    "properties": {"charge_id": {"type": "string", "pattern": "^ch_"}},
}


@pytest_asyncio.fixture
async def channel() -> AsyncIterator[Channel]:
    async with running_models(Settings()) as served:
        yield served.channel


async def generate(channel: Channel, prompt: pb.Prompt, *headers: tuple[str, str]) -> pb.GenerateResponse:
    return await channel.unary(
        Models.Generate, pb.GenerateRequest(prompt=prompt), deadline=Deadline.after(60), headers=headers
    )


async def test_default_model_is_offline_and_free(channel: Channel) -> None:
    """The cost is a known 0, not an unknown cost."""
    answer = await generate(channel, pb.Prompt(messages=[QUESTION]))
    assert answer.message.text == "Returns are free for 30 days."
    assert (answer.model, answer.provider, answer.offline) == ("offline-extractive-1", "offline", True)
    assert answer.usage.HasField("cost_micro_usd")
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.cost_micro_usd) == (18, 7, 0)


async def test_offline_answers_are_deterministic(channel: Channel) -> None:
    first, second = [await generate(channel, pb.Prompt(messages=[QUESTION])) for _ in range(2)]
    assert first == second


async def test_stream_ends_with_the_completed_answer(channel: Channel) -> None:
    prompt = pb.Prompt(messages=[QUESTION])
    stream = channel.stream(Models.StreamGenerate, pb.StreamGenerateRequest(prompt=prompt), deadline=Deadline.after(60))
    *deltas, last = [event async for event in stream]
    assert last.completed == await generate(channel, prompt)
    assert "".join(delta.text_delta for delta in deltas) == last.completed.message.text


async def test_tool_call_arguments_fit_the_schema(channel: Channel) -> None:
    prompt = pb.Prompt(
        messages=[pb.ChatMessage(user=pb.UserMessage(text="Refund charge ch_7"))],
        tools=[pb.Tool(name="billing_Refund", description="Refund a charge", parameters_json=json.dumps(CHARGE))],
    )
    answer = await generate(channel, prompt)
    [call] = answer.message.tool_calls
    assert (call.name, json.loads(call.arguments_json)) == ("billing_Refund", {"charge_id": "ch_7"})
    assert answer.finish_reason == pb.FinishReason.FINISH_REASON_TOOL_CALLS


async def test_missing_required_value_is_named(channel: Channel) -> None:
    prompt = pb.Prompt(messages=[QUESTION], response_schema_json=json.dumps(CHARGE))
    stream = channel.stream(Models.StreamGenerate, pb.StreamGenerateRequest(prompt=prompt), deadline=Deadline.after(60))
    with pytest.raises(OutputInvalid, match="charge_id"):
        await generate(channel, prompt)
    with pytest.raises(OutputInvalid, match="charge_id"):
        [event async for event in stream]


@pytest.mark.parametrize(
    ("prompt", "field"),
    [
        (pb.Prompt(), "prompt.messages"),
        (pb.Prompt(messages=[pb.ChatMessage()]), "prompt.messages[0].content"),
        (pb.Prompt(messages=[QUESTION], temperature=3), "prompt.temperature"),
        (pb.Prompt(messages=[QUESTION], response_schema_json="{"), "prompt.response_schema_json"),
        (
            pb.Prompt(messages=[QUESTION], tools=[pb.Tool(name="a", parameters_json="[]")]),
            "prompt.tools[0].parameters_json",
        ),
        (pb.Prompt(messages=[QUESTION], tools=[pb.Tool(name="a"), pb.Tool(name="a")]), "prompt.tools"),
        (pb.Prompt(messages=[QUESTION], tool_choice=pb.ToolChoice(tool_name="a")), "prompt"),
        (
            pb.Prompt(messages=[QUESTION], tool_choice=pb.ToolChoice(mode=pb.ToolChoiceMode.TOOL_CHOICE_MODE_REQUIRED)),
            "prompt",
        ),
    ],
)
async def test_invalid_prompt_names_the_field(channel: Channel, prompt: pb.Prompt, field: str) -> None:
    """JSON text inside a field is validated like the field itself."""
    with pytest.raises(InvalidRequest) as refused:
        await generate(channel, prompt)
    assert [violation.field for violation in refused.value.violations] == [field]


async def test_invalid_arguments_in_history_name_the_field(channel: Channel) -> None:
    call = pb.ToolCall(id="1", name="a", arguments_json="[]")
    earlier = pb.ChatMessage(assistant=pb.AssistantMessage(tool_calls=[call]))
    with pytest.raises(InvalidRequest) as refused:
        await generate(channel, pb.Prompt(messages=[earlier, QUESTION]))
    [violation] = refused.value.violations
    assert violation.field == "prompt.messages[0].assistant.tool_calls[0].arguments_json"


async def test_unknown_alias_is_not_found(channel: Channel) -> None:
    with pytest.raises(NotFound):
        await generate(channel, pb.Prompt(model="gpt", messages=[QUESTION]))


async def test_list_models_describes_the_offline_model(channel: Channel) -> None:
    listed = await channel.unary(Models.ListModels, pb.ListModelsRequest(), deadline=Deadline.after(60))
    [model] = listed.models
    assert (model.alias, model.provider, model.offline) == ("default", "offline", True)
    assert "not a language model" in model.description


async def test_generate_requires_its_scope(channel: Channel) -> None:
    with pytest.raises(ScopeMissing):
        await generate(channel, pb.Prompt(messages=[QUESTION]), ("x-graphmesh-scopes", "model.read"))
