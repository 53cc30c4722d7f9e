"""The model service over a real channel, with models of servers that speak the protocols of OpenAI and Anthropic."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from graphmesh.model import v1 as pb
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import (
    DeadlineExceeded,
    GraphmeshError,
    ProviderMisconfigured,
    ProviderUnavailable,
    RateLimited,
    RuleViolated,
)
from graphmesh_model.errors import OutputInvalid
from graphmesh_model.settings import Settings

from tests.integration.model.served import running_models
from tests.integration.model.vendor_server import (
    Answer,
    Reply,
    VendorServer,
    always,
    anthropic,
    failing,
    openai,
    openai_body,
    openai_chunk,
    sse,
)

KEY = "sk-0123456789-secret"
TOOL = pb.Tool(
    name="shop_Track",
    description="Tracks a parcel.",
    parameters_json='{"type": "object", "properties": {"parcel": {"type": "integer"}}}',
)
Generate = Callable[..., Any]


class Vendor:
    """A model service with one vendor's server behind its default alias."""

    def __init__(self, server: VendorServer, channel: Channel) -> None:
        self.server, self._channel = server, channel

    async def generate(self, text: str = "Hello", *, seconds: float = 60, **options: Any) -> pb.GenerateResponse:
        request = pb.GenerateRequest(prompt=_prompt(text, options))
        return await self._channel.unary(pb.ModelService.Generate, request, deadline=Deadline.after(seconds))

    async def stream(self, text: str = "Hello", *, seconds: float = 60, **options: Any) -> list[Any]:
        request = pb.StreamGenerateRequest(prompt=_prompt(text, options))
        stream = self._channel.stream(pb.ModelService.StreamGenerate, request, deadline=Deadline.after(seconds))
        return [event async for event in stream]

    async def completed(self, text: str = "Hello", **options: Any) -> pb.GenerateResponse:
        response: pb.GenerateResponse = (await self.stream(text, **options))[-1].completed
        return response


def _prompt(text: str, options: dict[str, Any]) -> pb.Prompt:
    messages = options.pop("messages", None) or [pb.ChatMessage(user=pb.UserMessage(text=text))]
    return pb.Prompt(messages=messages, **options)


@asynccontextmanager
async def vendor(*replies: Answer, model: str = "openai:large", **others: Any) -> AsyncIterator[Vendor]:
    async with VendorServer(*replies).serving() as server:
        url = server.url if model.startswith("openai") else server.url.removesuffix("/v1")
        default = {"model": model, "base_url": url, **others.pop("default", {})}
        settings = Settings.model_validate({"models": {"default": default, **others}, "api_keys": {"default": KEY}})
        async with running_models(settings) as served:
            yield Vendor(server, served.channel)


async def test_answers_and_streams_with_usage() -> None:
    usage = {
        "prompt_tokens": 90,
        "completion_tokens": 40,
        "total_tokens": 130,
        "prompt_tokens_details": {"cached_tokens": 64},
        "completion_tokens_details": {"reasoning_tokens": 12},
    }
    async with vendor(openai("Hi there", usage=usage)) as model:
        answer, streamed = await model.generate(), await model.completed()
        assert (answer.message.text, answer.model, answer.provider) == ("Hi there", "gpt-test-1", "openai")
        assert answer.usage == streamed.usage
        counts = (answer.usage.input_tokens, answer.usage.cached_input_tokens, answer.usage.reasoning_output_tokens)
        assert counts == (90, 64, 12)
        assert (answer.vendor_answer_id, streamed.message) == ("chatcmpl-1", answer.message)
        [first, second] = model.server.requests
        assert (first.key, first.path) == (KEY, "/v1/chat/completions")
        assert second.body["stream_options"] == {"include_usage": True}


async def test_parallel_tool_calls_are_calls_of_their_own() -> None:
    calls = [("c1", "shop_Track", '{"parcel": 7}'), ("c2", "shop_Track", '{"parcel": 7}')]
    async with vendor(openai(calls=calls)) as model:
        answer = await model.generate(tools=[TOOL])
        assert [(call.id, json.loads(call.arguments_json)) for call in answer.message.tool_calls] == [
            ("c1", {"parcel": 7}),
            ("c2", {"parcel": 7}),
        ]
        *deltas, last = await model.stream(tools=[TOOL])
        assert last.completed.message == answer.message
        assert [delta.tool_call_delta.index for delta in deltas] == [0, 0, 1, 1]


@pytest.mark.parametrize("id", ["", "call_0"])
async def test_tool_calls_without_ids_of_their_own_get_some(id: str) -> None:
    """In answers and in streams the same; the results refer to them."""
    calls = [(id, "shop_Track", '{"parcel": 7}'), (id, "shop_Track", '{"parcel": 8}')]
    async with vendor(openai(calls=calls)) as model:
        answer = await model.generate(tools=[TOOL])
        ids = [call.id for call in answer.message.tool_calls]
        assert len(set(ids)) == 2
        *deltas, last = await model.stream(tools=[TOOL])
        assert [delta.tool_call_delta.id for delta in deltas if delta.tool_call_delta.id] == ids
        assert last.completed.message == answer.message


async def test_streamed_tool_calls_without_a_number_are_told_apart() -> None:
    parts = [
        {"id": "c1", "function": {"name": "shop_Track", "arguments": '{"parcel"'}},
        {"function": {"arguments": ": 7}"}},
    ]
    parts.append({"id": "c2", "function": {"name": "shop_Track", "arguments": "{}"}})
    chunks = [openai_chunk({"tool_calls": [part]}) for part in parts]
    async with vendor(always(sse(*chunks, openai_chunk({}, finish_reason="tool_calls"), "[DONE]"))) as model:
        answer = await model.completed(tools=[TOOL])
        calls = [(call.id, json.loads(call.arguments_json)) for call in answer.message.tool_calls]
        assert calls == [("c1", {"parcel": 7}), ("c2", {})]


async def test_options_reach_the_vendor() -> None:
    schema = '{"title": "Topic", "type": "object", "properties": {"topic": {"type": "string"}}}'
    required = pb.ToolChoice(mode=pb.ToolChoiceMode.TOOL_CHOICE_MODE_REQUIRED, tool_name="shop_Track")
    async with vendor(openai('{"topic": "parcels"}')) as model:
        await model.generate(temperature=0.5, top_p=0.9, max_output_tokens=50, stop=["END"])
        await model.generate(response_schema_json=schema, strict=True)
        await model.stream(response_schema_json=schema, strict=True)
        await model.generate(tools=[TOOL], tool_choice=required, parallel_tool_calls=False, strict=True)
        plain, strict, streamed, tools = model.server.bodies
    assert (plain["temperature"], plain["top_p"], plain["stop"]) == (0.5, 0.9, ["END"])
    assert 50 in (plain.get("max_tokens"), plain.get("max_completion_tokens"))
    assert strict["response_format"]["json_schema"]["strict"] is True
    assert strict["response_format"] == streamed["response_format"]
    assert tools["tools"][0]["function"]["strict"] is True
    assert tools["tool_choice"]["function"]["name"] == "shop_Track"
    assert tools["parallel_tool_calls"] is False


MEDIA = [
    pb.ContentBlock(text=pb.TextBlock(text="What is this?")),
    pb.ContentBlock(image=pb.Media(url="https://example.org/cat.png")),
    pb.ContentBlock(image=pb.Media(data=b"png", mime_type="image/png")),
    pb.ContentBlock(file=pb.Media(data=b"pdf", mime_type="application/pdf", name="invoice.pdf")),
]


def user(*blocks: pb.ContentBlock) -> list[pb.ChatMessage]:
    return [pb.ChatMessage(user=pb.UserMessage(blocks=blocks))]


async def test_images_and_files_reach_the_vendor() -> None:
    async with vendor(openai("A cat.")) as model:
        assert (await model.generate(messages=user(*MEDIA))).message.text == "A cat."
        [body] = model.server.bodies
    text, linked, inline, file = body["messages"][0]["content"]
    assert (text["text"], linked["image_url"]["url"]) == ("What is this?", "https://example.org/cat.png")
    assert inline["image_url"]["url"] == "data:image/png;base64,cG5n"
    assert file["file"] == {"filename": "invoice.pdf", "file_data": "data:application/pdf;base64,cGRm"}


async def test_images_of_tools_reach_the_vendor() -> None:
    call = pb.ToolCall(id="c1", name="shop_Track", arguments_json="{}")
    result = pb.ToolResult(tool_call_id="c1", blocks=MEDIA[:2])
    messages = [
        pb.ChatMessage(user=pb.UserMessage(text="Track it.")),
        pb.ChatMessage(assistant=pb.AssistantMessage(tool_calls=[call])),
        pb.ChatMessage(tool_result=result),
    ]
    async with vendor(anthropic({"type": "text", "text": "A cat."}), model="anthropic:large") as model:
        await model.generate(messages=messages, tools=[TOOL])
        [body] = model.server.bodies
    [returned] = body["messages"][-1]["content"]
    assert [part["type"] for part in returned["content"]] == ["text", "image"]


@pytest.mark.parametrize(
    ("name", "blocks", "refused"),
    [
        ("openai:large", [pb.ContentBlock(file=pb.Media(url="https://example.org/a.pdf"))], "file"),
        ("openai:large", [pb.ContentBlock(video=pb.Media(url="https://example.org/a.mp4"))], "video"),
        ("openai:gpt-3.5-turbo", MEDIA[:2], "image"),
        ("anthropic:large", [pb.ContentBlock(audio=pb.Media(data=b"wav", mime_type="audio/wav"))], "audio"),
    ],
)
async def test_media_that_a_model_does_not_take_are_refused_by_name(
    name: str, blocks: list[pb.ContentBlock], refused: str
) -> None:
    async with vendor(openai("Hi"), model=name) as model:
        for call in (model.generate, model.stream):
            with pytest.raises(RuleViolated, match=f"does not take .*{refused}"):
                await call(messages=user(*blocks))
        assert not model.server.requests


async def test_reasoning_is_streamed_and_returns_to_its_vendor() -> None:
    """With its signature, and with blocks that only the vendor reads; another vendor gets neither."""
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "sig"}
    hidden = {"type": "redacted_thinking", "data": "xyz"}
    call = {"type": "tool_use", "id": "t1", "name": "shop_Track", "input": {"parcel": 7}}
    reply = anthropic(thought, hidden, {"type": "text", "text": "Wait."}, call)
    async with vendor(reply, model="anthropic:large") as model:
        answer = await model.generate(tools=[TOOL])
        *deltas, last = await model.stream(tools=[TOOL])
        assert "".join(delta.reasoning_delta.text for delta in deltas) == "Hm."
        assert [delta.tool_call_delta.index for delta in deltas if delta.tool_call_delta.name] == [0]
        assert last.completed.message == answer.message
        assert (answer.usage.cached_input_tokens, answer.usage.cache_written_input_tokens) == (3, 2)
        result = pb.ToolResult(tool_call_id="t1", text="gone")
        history = [
            pb.ChatMessage(user=pb.UserMessage(text="Where?")),
            pb.ChatMessage(assistant=answer.message),
            pb.ChatMessage(tool_result=result),
        ]
        await model.generate(messages=history, tools=[TOOL])
        sent = model.server.bodies[-1]["messages"][1]["content"]
    assert sent == [thought, hidden, {"type": "text", "text": "Wait."}, call]
    async with vendor(openai("Hi")) as other:
        await other.generate(messages=history, tools=[TOOL])
        assert other.server.bodies[0]["messages"][1]["content"] in ("Wait.", [{"type": "text", "text": "Wait."}])


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
async def test_reasoning_beside_the_content_is_a_block(field: str) -> None:
    """Reasoning of servers that add it to OpenAI's protocol, which has no place to send it back."""
    whole = {"role": "assistant", "content": "A cat.", field: "Hm. So."}
    body = openai_body([{"index": 0, "message": whole, "finish_reason": "stop"}])
    parts: list[dict[str, Any]] = [
        {"role": "assistant", field: "Hm."},
        {"content": None, field: " So."},
        {"content": "A cat."},
    ]
    stream = sse(*map(openai_chunk, parts), openai_chunk({}, finish_reason="stop"), "[DONE]")
    async with vendor(always(body), always(stream), openai("Yes.")) as model:
        answer = await model.generate()
        *deltas, last = await model.stream()
        assert [delta.reasoning_delta.text for delta in deltas if delta.reasoning_delta.text] == ["Hm.", " So."]
        assert last.completed.message == answer.message
        assert [block.WhichOneof("block") for block in answer.message.blocks] == ["reasoning", "text"]
        question = pb.ChatMessage(user=pb.UserMessage(text="What is it?"))
        await model.generate(messages=[question, pb.ChatMessage(assistant=answer.message), question])
        sent = model.server.bodies[-1]["messages"][1]
    assert "Hm." not in json.dumps(sent)
    assert "A cat." in json.dumps(sent)


FAULTS: list[tuple[str, Answer, type[GraphmeshError]]] = [
    ("rate limit", failing(429, **{"retry-after": "7"}), RateLimited),
    ("no credit", failing(429, code="insufficient_quota"), ProviderMisconfigured),
    ("bad key", failing(401), ProviderMisconfigured),
    ("unknown model", failing(404), ProviderMisconfigured),
    ("bad request", failing(400, code="context_length_exceeded"), RuleViolated),
    ("server error", failing(500), ProviderUnavailable),
    ("overloaded", failing(529), ProviderUnavailable),
    ("malformed JSON", always(Reply(b'{"id": ')), ProviderUnavailable),
    ("HTML", always(Reply(b"<html>Log in</html>", content_type="text/html")), ProviderUnavailable),
    ("no choices", always(openai_body([])), ProviderUnavailable),
    ("null choices", always(openai_body(None)), ProviderUnavailable),
    ("a number", always(Reply(b"3")), ProviderUnavailable),
    ("an error as success", always(Reply(b'{"error": {"message": "busy"}}')), ProviderUnavailable),
    ("a cut body", always(Reply(b'{"id": "1", "choices": [', then="cut")), ProviderUnavailable),
]


@pytest.mark.parametrize(("reply", "error"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS])
async def test_faults_have_their_error(reply: Answer, error: type[GraphmeshError]) -> None:
    """In answers and in streams, after one request, without the vendor's words."""
    async with vendor(reply) as model:
        for number, call in enumerate((model.generate, model.stream), start=1):
            with pytest.raises(error) as failed:
                await call("my diagnosis")
            assert "diagnosis" not in f"{failed.value}{failed.value.data}"
            if error is RateLimited:  # the vendor is not called again before that time
                assert len(model.server.requests) == 1
                assert failed.value.retry_after
                assert 6 < failed.value.retry_after <= 7
            else:
                assert len(model.server.requests) == number
                assert failed.value.retry_after is None


CUTS = {
    "empty": sse("[DONE]"),
    "malformed event": sse(openai_chunk({"content": "a"}), "{bad"),
    "a number": sse("3"),
    "error event": sse(openai_chunk({"content": "a"}), {"error": {"message": "overloaded", "code": "x"}}),
    "cut": sse(openai_chunk({"content": "a"}), then="cut"),
    "no end": sse(openai_chunk({"content": "a"})),
}


@pytest.mark.parametrize("reply", CUTS.values(), ids=CUTS.keys())
async def test_broken_streams_are_unavailable(reply: Reply) -> None:
    async with vendor(always(reply)) as model:
        with pytest.raises(ProviderUnavailable):
            await model.stream()


LIES: dict[str, Answer] = {
    "text that is no Unicode": openai("\ud800"),
    "too long an id": openai(calls=[("c" * 1000, "shop_Track", "{}")]),
    "arguments of another type": openai(calls=[("c", "shop_Track", "[1]")]),
    "cut arguments": openai(calls=[("c", "shop_Track", '{"parcel": 10')], finish="length"),
    "no tool calls": openai(finish="tool_calls"),
    "an unknown tool": openai(calls=[("c", "shop_Pay", "{}")]),
}


@pytest.mark.parametrize("reply", LIES.values(), ids=LIES.keys())
async def test_invalid_answers_are_refused(reply: Answer) -> None:
    """Streamed arguments that were cut off would be a valid call with another amount."""
    async with vendor(reply) as model:
        for call in (model.generate, model.stream):
            with pytest.raises((OutputInvalid, ProviderUnavailable)):
                await call(tools=[TOOL])


async def test_impossible_counts_are_estimated() -> None:
    async with vendor(
        openai("Hi", usage={"prompt_tokens": -5, "completion_tokens": 10**30, "total_tokens": 0})
    ) as model:
        usage = (await model.generate()).usage
        assert 1 <= usage.output_tokens <= usage.input_tokens <= 20
        assert usage.estimated


@pytest.mark.parametrize("reply", [Reply(then="stall"), sse(openai_chunk({"content": "a"}), then="stall")])
async def test_stall_ends_with_the_deadline_and_hangs_up(reply: Reply) -> None:
    async with vendor(always(reply)) as model:
        with pytest.raises(DeadlineExceeded):
            await model.stream(seconds=2)
        await model.server.closed_by_client.wait()


async def test_endless_stream_is_bounded() -> None:
    part = sse(openai_chunk({"content": "a" * 50_000}), then="repeat")
    async with vendor(always(part)) as model:
        with pytest.raises(OutputInvalid, match="characters"):
            await model.stream()
        await model.server.closed_by_client.wait()


@pytest.mark.parametrize("reply", [failing(401), failing(429), failing(500), always(Reply(b"3"))])
async def test_other_model_answers_instead(reply: Answer) -> None:
    demo = {"model": "offline"}
    async with vendor(reply, default={"fallbacks": ["demo"]}, demo=demo) as model:
        assert (await model.generate()).offline
        assert (await model.completed()).offline


async def test_key_and_prompt_are_in_no_log(capsys: pytest.CaptureFixture[str]) -> None:
    """Vendors quote both in their errors."""
    async with vendor(failing(401), failing(500), failing(400), failing(429)) as model:
        for _ in range(4):
            with pytest.raises(GraphmeshError) as failed:
                await model.generate("my diagnosis")
            assert KEY not in f"{failed.value}{failed.value.data}"
    written = "".join(capsys.readouterr())
    assert "/graphmesh.model.v1.ModelService/Generate" in written
    assert KEY not in written
    assert "diagnosis" not in written
