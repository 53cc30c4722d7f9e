"""A vendor that fails, stalls or is flooded concerns the calls of its alias alone."""

import asyncio
import time
from typing import Any

import pytest
from graphmesh.model import v1 as pb
from graphmesh_chassis import metadata
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import GraphmeshError, ProviderMisconfigured, ProviderUnavailable, RateLimited
from graphmesh_model import bounded_http
from graphmesh_model.settings import Settings

from tests.integration.model.served import running_models
from tests.integration.model.vendor_server import Reply, VendorServer, always, failing, openai, openai_chunk, sse

STALL = always(Reply(then="stall"))


async def generate(channel: Channel, model: str = "", tenant: str = "shop", seconds: float = 60) -> pb.GenerateResponse:
    prompt = pb.Prompt(model=model, messages=[pb.ChatMessage(user=pb.UserMessage(text="Hello"))])
    return await channel.unary(
        pb.ModelService.Generate,
        pb.GenerateRequest(prompt=prompt),
        deadline=Deadline.after(seconds),
        headers=[(metadata.TENANT, tenant)],
    )


async def stream(channel: Channel, model: str = "") -> list[Any]:
    prompt = pb.Prompt(model=model, messages=[pb.ChatMessage(user=pb.UserMessage(text="Hello"))])
    request = pb.StreamGenerateRequest(prompt=prompt)
    return [
        event async for event in channel.stream(pb.ModelService.StreamGenerate, request, deadline=Deadline.after(60))
    ]


def settings(**models: Any) -> Settings:
    return Settings.model_validate({"models": models})


def vendor(server: VendorServer, **others: Any) -> dict[str, Any]:
    return {"model": "openai:large", "base_url": server.url, **others}


async def test_rejected_key_closes_its_own_alias_only() -> None:
    async with VendorServer(failing(401)).serving() as bad, VendorServer(openai("Hi")).serving() as good:
        limits = {"breaker": {"failures": 3, "cooling_seconds": 60, "max_cooling_seconds": 60}}
        async with running_models(settings(default=vendor(bad, limits=limits), other=vendor(good))) as served:
            for _ in range(3):
                with pytest.raises(ProviderMisconfigured):
                    await generate(served.channel)
            with pytest.raises(ProviderMisconfigured, match="rejects the API key") as refused:
                await generate(served.channel)
            assert refused.value.data["fault"] == "breaker_open"
            assert refused.value.retry_after
            assert len(bad.requests) == 3
            with pytest.raises(ProviderMisconfigured):  # the failures of one tenant may be its own fault
                await generate(served.channel, tenant="other")
            assert (await generate(served.channel, "other")).message.text == "Hi"


async def test_stall_is_waited_for_once() -> None:
    """The next call goes to the fallback at once."""
    async with VendorServer(STALL).serving() as bad, VendorServer(openai("Hi")).serving() as good:
        limits = {"answer_seconds": 3, "breaker": {"cooling_seconds": 60, "max_cooling_seconds": 60}}
        models = settings(default=vendor(bad, limits=limits, fallbacks=["other"]), other=vendor(good))
        async with running_models(models) as served:
            first, second = await generate(served.channel), await generate(served.channel)
            assert [attempt.fault for attempt in first.failed_attempts] == ["stalled"]
            assert [attempt.fault for attempt in second.failed_attempts] == ["breaker_open"]
            assert (len(bad.requests), len(good.requests)) == (1, 2)


async def test_stall_of_two_tenants_is_not_waited_for_by_a_third() -> None:
    """That of one tenant, however often, does not concern others."""
    async with VendorServer(openai("Hi"), *[STALL] * 9).serving() as bad:
        limits = {"answer_seconds": 3, "breaker": {"cooling_seconds": 60, "max_cooling_seconds": 60}}
        async with running_models(settings(default=vendor(bad, limits=limits))) as served:
            assert (await generate(served.channel, tenant="zero")).message.text == "Hi"
            for tenant, fault in (
                ("one", "stalled"),
                ("one", "breaker_open"),
                ("two", "stalled"),
                ("three", "breaker_open"),
            ):
                with pytest.raises(ProviderUnavailable) as failed:
                    await generate(served.channel, tenant=tenant)
                assert failed.value.data["fault"] == fault
            assert len(bad.requests) == 3


async def test_stalls_between_answers_to_others_concern_their_tenants_alone() -> None:
    replies = (STALL, openai("Hi"), STALL, failing(503), openai("Hi"))
    async with VendorServer(*replies).serving() as mixed:
        limits = {"answer_seconds": 3, "breaker": {"cooling_seconds": 60, "max_cooling_seconds": 60}}
        async with running_models(settings(default=vendor(mixed, limits=limits))) as served:
            for number in (0, 1, 2, 3, 4):
                if number in (1, 4):
                    assert (await generate(served.channel, tenant=f"t{number}")).message.text == "Hi"
                else:
                    with pytest.raises(ProviderUnavailable):
                        await generate(served.channel, tenant=f"t{number}")


@pytest.mark.parametrize(
    ("reply", "limit"),
    [
        (STALL, "first_token_seconds"),
        (always(sse(then="stall")), "first_token_seconds"),
        (always(sse(openai_chunk({"content": "a"}), then="stall")), "between_tokens_seconds"),
        (always(sse(openai_chunk({}), then="repeat")), "first_token_seconds"),
    ],
    ids=["no response", "no token", "no second token", "empty tokens for ever"],
)
async def test_stream_that_stalls_ends_by_the_limit_of_its_alias(reply: Any, limit: str) -> None:
    async with (
        VendorServer(reply).serving() as bad,
        running_models(settings(default=vendor(bad, limits={limit: 0.3}))) as served,
    ):
        with pytest.raises(ProviderUnavailable) as stalled:
            await stream(served.channel)
        assert stalled.value.data["fault"] in ("stalled", "malformed")


async def test_flood_on_a_stalled_alias_is_not_noticed_by_others() -> None:
    """200 calls of one tenant wait for a vendor that answers nothing; the others' aliases, and their calls, do not."""
    async with VendorServer(STALL).serving() as bad, VendorServer(openai("Hi")).serving() as good:
        limits = {"max_concurrency": 4, "max_queue": 50}
        async with running_models(settings(default=vendor(bad, limits=limits), other=vendor(good))) as served:
            flood = [asyncio.create_task(generate(served.channel, seconds=60)) for _ in range(200)]
            async with asyncio.timeout(60):
                while len(bad.requests) < 4:
                    await asyncio.sleep(0.01)
            began = time.monotonic()
            for _ in range(10):
                assert (await generate(served.channel, "other", "watcher")).message.text == "Hi"
            assert time.monotonic() - began < 50
            refused = [task for task in flood if task.done()]
            assert {type(task.exception()) for task in refused} <= {RateLimited} | set(RateLimited.__subclasses__())
            assert len(bad.requests) <= 4
            for task in flood:
                task.cancel()
            await asyncio.gather(*flood, return_exceptions=True)


async def test_rate_of_a_tenant_is_its_own() -> None:
    async with VendorServer(openai("Hi")).serving() as good:
        limits = {"tenant_rate": {"calls": 2, "seconds": 3600}}
        async with running_models(settings(default=vendor(good, limits=limits))) as served:
            for _ in range(2):
                await generate(served.channel)
            with pytest.raises(RateLimited, match="rate of the tenant for the alias default") as refused:
                await generate(served.channel)
            assert refused.value.retry_after
            assert (await generate(served.channel, tenant="other")).message.text == "Hi"


@pytest.mark.parametrize(
    "reply",
    [
        failing(400),
        failing(413),
        failing(422),
        failing(404),
        failing(503),
        openai("\ud800"),
        openai(calls=[("c", "unknown", "{}")]),
        always(Reply(b"<html></html>", content_type="text/html")),
        always(Reply(b'{"id": "1", "choices": [', then="cut")),
        always(Reply(b"x" * 70_000, then="repeat")),
    ],
)
async def test_every_unusable_answer_falls_back(reply: Any) -> None:
    async with VendorServer(reply).serving() as bad, VendorServer(openai("Hi")).serving() as good:
        models = settings(default=vendor(bad, fallbacks=["other"]), other=vendor(good))
        async with running_models(models) as served:
            answer = await generate(served.channel)
            assert answer.message.text == "Hi"
            assert answer.failed_attempts[-1].fault
            assert all(attempt.reason != "INTERNAL" for attempt in answer.failed_attempts)


async def test_all_attempts_are_in_the_error() -> None:
    async with VendorServer(failing(400)).serving() as bad, VendorServer(failing(503)).serving() as worse:
        models = settings(default=vendor(bad, fallbacks=["other"]), other=vendor(worse))
        async with running_models(models) as served:
            with pytest.raises(GraphmeshError) as failed:
                await generate(served.channel)
            assert failed.value.data["attempts"] == "default: refused, other: server"


@pytest.mark.parametrize("name", ["openai:large", "anthropic:large"])
async def test_endless_answer_is_not_read_to_its_end(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_http, "MAX_BYTES", 1_000_000)
    async with VendorServer(always(Reply(b"x" * 70_000, then="repeat"))).serving() as bad:
        url = bad.url if name.startswith("openai") else bad.url.removesuffix("/v1")
        async with running_models(settings(default={"model": name, "base_url": url})) as served:
            with pytest.raises(ProviderUnavailable) as failed:
                await generate(served.channel)
            assert failed.value.data["fault"] == "too_large"
            await bad.closed_by_client.wait()
