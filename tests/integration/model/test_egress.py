"""The HTTP clients of vendors' packages call through the way out of the mesh, and a refusal states what to change."""

import os
from pathlib import Path
from typing import Any

import pytest
from graphmesh.model import v1 as pb
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.egress import REPLACED, VARIABLES, use_proxy
from graphmesh_chassis.errors import EgressRefused, ProviderUnavailable
from graphmesh_model.settings import Settings

from tests.integration.envoy.egress_harness import Names, egress_mesh
from tests.integration.envoy.envoy_harness import running_envoy
from tests.integration.model.served import running_models
from tests.integration.model.vendor_server import VendorServer, anthropic, openai, openai_embeddings

REFUSED = "https://unlisted.test/v1"
TEXT = {"type": "text", "text": "Hi"}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what `use_proxy` changes."""
    for name in (*VARIABLES, *REPLACED):
        monkeypatch.setenv(name, "http://proxy.invalid")


async def generate(channel: Channel, alias: str) -> str:
    prompt = pb.Prompt(model=alias, messages=[pb.ChatMessage(user=pb.UserMessage(text="Hello"))])
    request = pb.GenerateRequest(prompt=prompt)
    return (await channel.unary(pb.ModelService.Generate, request, deadline=Deadline.after(60))).message.text


async def embed(channel: Channel, alias: str) -> int:
    request = pb.EmbedRequest(model=alias, texts=["Hello"])
    return len((await channel.unary(pb.ModelService.Embed, request, deadline=Deadline.after(60))).embeddings)


def aliases(name: str, openai_url: str, anthropic_url: str) -> dict[str, Any]:
    return {
        f"openai-{name}": {"model": "openai:large", "base_url": openai_url},
        f"anthropic-{name}": {"model": "anthropic:large", "base_url": anthropic_url.removesuffix("/v1")},
    }


@pytest.mark.usefixtures("environment")
async def test_vendors_of_the_list_are_called_and_no_others(tmp_path: Path) -> None:
    async with (
        VendorServer(openai("Hi")).serving() as chat,
        VendorServer(anthropic(TEXT)).serving() as messages,
        VendorServer(openai_embeddings()).serving() as vectors,
        VendorServer(openai("Hi")).serving() as unlisted,
        Names({}).serving() as names,
    ):
        listed = [f"127.0.0.1:{one.port}" for one in (chat, messages, vectors)]
        mesh = egress_mesh(names, model={"hosts": [*listed, "absent.test"]})
        async with running_envoy(mesh, tmp_path):
            use_proxy(f"http://{mesh.egress_listeners['model'].target}")
            assert not {name for name in os.environ if name in REPLACED}
            models = {
                **aliases("listed", chat.url, messages.url),
                **aliases("plain", unlisted.url, unlisted.url),
                **aliases("refused", REFUSED, REFUSED),
                **aliases("absent", "https://absent.test/v1", "https://absent.test"),
            }
            embeddings = {
                "vectors": {"model": "openai:small", "base_url": vectors.url},
                "vectors-refused": {"model": "openai:small", "base_url": REFUSED},
            }
            settings = Settings.model_validate(
                {"models": {"default": {"model": "offline"}, **models}, "embeddings": embeddings}
            )
            async with running_models(settings) as served:
                for vendor in ("openai", "anthropic"):
                    assert await generate(served.channel, f"{vendor}-listed") == "Hi"
                    await refused(generate(served.channel, f"{vendor}-refused"), "unlisted.test:443")
                    await refused(generate(served.channel, f"{vendor}-plain"), f"127.0.0.1:{unlisted.port}")
                    with pytest.raises(ProviderUnavailable, match="unreachable"):
                        await generate(served.channel, f"{vendor}-absent")
                assert await embed(served.channel, "vectors") == 1
                await refused(embed(served.channel, "vectors-refused"), "unlisted.test:443")
        assert not unlisted.requests


async def refused(call: Any, host: str) -> None:
    with pytest.raises(EgressRefused) as error:
        await call
    key = "egress.workloads.model.hosts of mesh.yaml"
    assert error.value.message == f"The proxy of model refuses {host}: it is not in {key}"
    assert (error.value.data["workload"], error.value.data["host"]) == ("model", host)
