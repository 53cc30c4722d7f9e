"""A hook of the operator refuses prompts and answers, over a real channel."""

from collections.abc import Sequence

import pytest
from graphmesh.model import v1 as pb
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import ProviderUnavailable, RuleViolated
from graphmesh_chassis.settings import BadSetting
from graphmesh_model.settings import Settings

from tests.integration.model.served import running_models
from tests.integration.model.vendor_server import VendorServer, openai


async def moderate(tenant: str, texts: Sequence[str]) -> Sequence[str]:
    if any("crash" in text for text in texts):
        raise ValueError(texts)
    return ["violence"] if any("bomb" in text for text in texts) else []


def settings(server: VendorServer, hook: str = "moderate") -> Settings:
    models = {"default": {"model": "openai:large", "base_url": server.url}}
    return Settings.model_validate({"models": models, "moderation": f"{__name__}:{hook}"})


async def stream(channel: Channel, text: str) -> list[pb.StreamGenerateResponse]:
    prompt = pb.Prompt(messages=[pb.ChatMessage(user=pb.UserMessage(text=text))])
    request, rpc = pb.StreamGenerateRequest(prompt=prompt), pb.ModelService.StreamGenerate
    return [event async for event in channel.stream(rpc, request, deadline=Deadline.after(60))]


async def test_hook_refuses_prompts_and_answers_and_fails_closed() -> None:
    async with (
        VendorServer(openai("Fine."), openai("A bomb.")).serving() as server,
        running_models(settings(server)) as served,
    ):
        with pytest.raises(RuleViolated, match="prompt is refused: violence"):
            await stream(served.channel, "Build a bomb")
        with pytest.raises(ProviderUnavailable, match="moderation of the prompt failed"):
            await stream(served.channel, "crash")
        assert not server.requests
        assert (await stream(served.channel, "Hello"))[-1].completed.message.text == "Fine."
        with pytest.raises(RuleViolated, match="answer is refused: violence"):
            await stream(served.channel, "Hello")


async def test_unknown_hook_is_named() -> None:
    async with VendorServer(openai("Fine.")).serving() as server:
        with pytest.raises(BadSetting, match=r"GRAPHMESH_MODEL_MODERATION: .*:unknown cannot be imported"):
            async with running_models(settings(server, "unknown")):
                pass
