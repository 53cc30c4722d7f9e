"""Answers from the cache, caching by the vendor, and embeddings, over a real channel."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from graphmesh.model import v1 as pb
from graphmesh_chassis import metadata
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import BudgetExceeded, NotFound, ProviderUnavailable
from graphmesh_model.accounting.accounts import Accounts
from graphmesh_model.accounting.ledger_memory import MemoryLedger
from graphmesh_model.calling import ModelCall
from graphmesh_model.embedding import EmbeddingEntry
from graphmesh_model.embedding import embed as embedding_of
from graphmesh_model.errors import OutputInvalid
from graphmesh_model.settings import Settings
from pydantic import ValidationError

from tests.integration.model.served import running_models
from tests.integration.model.vendor_server import (
    Answer,
    Reply,
    Request,
    VendorServer,
    anthropic,
    failing,
    openai,
    openai_embeddings,
)

TOOL = pb.Tool(name="shop_Track", parameters_json='{"type": "object", "properties": {"parcel": {"type": "integer"}}}')


def _headers(tenant: str) -> list[tuple[str, str]]:
    return [(metadata.TENANT, tenant)]


async def generate(channel: Channel, text: str = "Hello", tenant: str = "shop", **options: Any) -> pb.GenerateResponse:
    prompt = pb.Prompt(messages=[pb.ChatMessage(user=pb.UserMessage(text=text))], **options)
    request = pb.GenerateRequest(prompt=prompt)
    rpc = pb.ModelService.Generate
    return await channel.unary(rpc, request, deadline=Deadline.after(60), headers=_headers(tenant))


async def stream(channel: Channel, text: str = "Hello", **options: Any) -> list[pb.StreamGenerateResponse]:
    prompt = pb.Prompt(messages=[pb.ChatMessage(user=pb.UserMessage(text=text))], **options)
    request, rpc = pb.StreamGenerateRequest(prompt=prompt), pb.ModelService.StreamGenerate
    return [
        event async for event in channel.stream(rpc, request, deadline=Deadline.after(60), headers=_headers("shop"))
    ]


@asynccontextmanager
async def caching(*replies: Answer, **cache: Any) -> AsyncIterator[tuple[VendorServer, Channel]]:
    async with VendorServer(*replies).serving() as server:
        price = {"input_micro_usd": 1_000_000, "output_micro_usd": 1_000_000}
        model = {"model": "openai:large", "base_url": server.url, "price": price, "cache": {"seconds": 60, **cache}}
        async with running_models(Settings.model_validate({"models": {"default": model}})) as served:
            yield server, served.channel


async def test_equal_prompts_of_a_tenant_are_answered_once() -> None:
    """The repetition costs nothing, says so and is counted; another prompt or tenant gets an answer of its own."""
    async with caching(openai("One."), openai("Two."), openai("Three.")) as (server, channel):
        first, second = await generate(channel), await generate(channel)
        assert (first.message, first.cached, second.cached) == (second.message, False, True)
        assert second.usage.HasField("cost_micro_usd")
        assert (second.usage.input_tokens, second.usage.cost_micro_usd) == (0, 0)
        assert (await generate(channel, tenant="other")).message.text == "Two."
        assert (await generate(channel, temperature=0.5)).message.text == "Three."
        assert len(server.requests) == 3
        usage = await channel.unary(
            pb.ModelService.ListUsage, pb.ListUsageRequest(), deadline=Deadline.after(60), headers=_headers("shop")
        )
        assert [(group.attempts, group.cache_hits) for group in usage.groups] == [(2, 1)]


async def test_cached_answer_is_streamed_like_a_new_one() -> None:
    calls = [("c1", "shop_Track", '{"parcel": 7}')]
    async with caching(openai("Wait.", calls=calls)) as (server, channel):
        *first, completed = await stream(channel, tools=[TOOL])
        *second, repeated = await stream(channel, tools=[TOOL])
        assert "".join(event.text_delta for event in second) == "".join(event.text_delta for event in first) == "Wait."
        assert [event.tool_call_delta.name for event in second if event.tool_call_delta.name] == ["shop_Track"]
        assert (repeated.completed.message, repeated.completed.cached) == (completed.completed.message, True)
        assert len(server.requests) == 1


async def test_cut_answers_and_failures_are_not_cached() -> None:
    async with caching(openai("Cut", finish="length"), failing(503), openai("Whole.")) as (_, channel):
        assert (await generate(channel)).message.text == "Cut"
        with pytest.raises(ProviderUnavailable):
            await generate(channel)
        assert (await generate(channel)).message.text == "Whole."


async def test_cache_is_bounded_for_each_tenant() -> None:
    """A tenant that floods the cache displaces its own answers."""
    async with caching(openai("x" * 400), max_bytes=4096) as (_, channel):
        await generate(channel, "kept", tenant="other")
        for number in range(20):
            await generate(channel, f"flood {number}")
        assert (await generate(channel, "kept", tenant="other")).cached
        assert (await generate(channel, "flood 19")).cached
        assert not (await generate(channel, "flood 0")).cached


async def test_vendor_caches_prompts_and_writes_are_priced() -> None:
    price = {
        "input_micro_usd": 1_000_000,
        "output_micro_usd": 0,
        "cached_input_micro_usd": 100_000,
        "cache_written_input_micro_usd": 2_000_000,
    }
    async with VendorServer(anthropic({"type": "text", "text": "Hi"})).serving() as server:
        url = server.url.removesuffix("/v1")
        model = {"model": "anthropic:large", "base_url": url, "price": price, "prompt_cache": True}
        async with running_models(Settings.model_validate({"models": {"default": model}})) as served:
            usage = (await generate(served.channel)).usage
    assert server.bodies[0]["cache_control"] == {"type": "ephemeral"}
    assert (usage.input_tokens, usage.cached_input_tokens, usage.cache_written_input_tokens) == (14, 3, 2)
    assert usage.cost_micro_usd == 9 + 1 + 4  # 9 tokens, 3 from the cache at a tenth, 2 written at twice the price


async def embed(channel: Channel, *texts: str, **options: Any) -> pb.EmbedResponse:
    request = pb.EmbedRequest(texts=texts, **options)
    return await channel.unary(pb.ModelService.Embed, request, deadline=Deadline.after(60), headers=_headers("shop"))


@asynccontextmanager
async def embedding(*replies: Answer, **others: Any) -> AsyncIterator[tuple[VendorServer, Channel]]:
    async with VendorServer(*replies).serving() as server:
        price = {"input_micro_usd": 1_000_000, "output_micro_usd": 0}
        own = {"model": "openai:embed", "base_url": server.url, "price": price, "max_batch": 2}
        given = {"embeddings": {"default": own}, "api_keys": {"default": "sk-1"}, **others}
        async with running_models(Settings.model_validate(given)) as served:
            yield server, served.channel


def directions(**vectors: Sequence[float]) -> Answer:
    """Answer with the vector of each text's first word."""

    def answer(request: Request) -> Reply:
        found = [vectors[text.split()[0]] for text in request.body["input"]]
        data = [{"object": "embedding", "index": at, "embedding": vector} for at, vector in enumerate(found)]
        return Reply(json.dumps({"object": "list", "data": data, "model": "e", "usage": {}}).encode())

    return answer


@asynccontextmanager
async def sharing(embedder: Answer, *replies: Answer) -> AsyncIterator[tuple[VendorServer, Channel]]:
    async with VendorServer(*replies).serving() as server, VendorServer(embedder).serving() as embedding:
        cache = {"seconds": 60, "similar": {"threshold": 0.9, "embeddings": "words"}}
        models = {"default": {"model": "openai:large", "base_url": server.url, "cache": cache}}
        words = {"model": "openai:embed", "base_url": embedding.url}
        given = {"models": models, "embeddings": {"words": words}, "api_keys": {"words": "sk-1"}}
        async with running_models(Settings.model_validate(given)) as served:
            yield server, served.channel


async def test_similar_prompts_of_a_tenant_share_an_answer() -> None:
    """It says how similar; nothing but the words of the last message may differ."""
    vectors = directions(open=[1, 0], opened=[0.95, 0.3], close=[0, 1])
    async with sharing(vectors, *(openai(f"Answer {number}.") for number in range(9))) as (server, channel):
        first, similar = await generate(channel, "open 7"), await generate(channel, "opened 7")
        assert (similar.message, similar.cached) == (first.message, True)
        assert similar.cache_similarity == pytest.approx(0.9536, abs=1e-3)
        *_, streamed = await stream(channel, "opened 7 now")
        assert (streamed.completed.message, streamed.completed.cached) == (first.message, True)
        equal = await generate(channel, "open 7")
        assert (equal.cached, equal.cache_similarity) == (True, 0)
        for other in (
            await generate(channel, "close 7"),
            await generate(channel, "opened 8"),
            await generate(channel, "opened 7", tenant="other"),
            await generate(channel, "opened 7", temperature=0.5),
            await generate(channel, "opened 7", tools=[TOOL]),
        ):
            assert not other.cached
        assert len(server.requests) == 6


async def test_prompt_that_cannot_be_compared_is_answered() -> None:
    async with sharing(failing(503), openai("One."), openai("Two.")) as (_, channel):
        answers = [await generate(channel, text) for text in ("open", "opened", "open")]
        assert [answer.message.text for answer in answers] == ["One.", "Two.", "One."]
        assert answers[2].cached


def test_sharing_needs_an_embedder() -> None:
    cache = {"seconds": 60, "similar": {"threshold": 0.9}}
    with pytest.raises(ValidationError, match=r"models\.default\.cache\.similar needs .*no alias default"):
        Settings.model_validate({"models": {"default": {"model": "offline", "cache": cache}}})


async def test_batches_are_embedded_in_parallel_and_end_with_the_first_error() -> None:
    """Of five batches four are sent at a time; the vectors keep the order of the texts."""
    arrived = asyncio.Semaphore(0)
    together = asyncio.Event()

    class Slow:
        vendor, model, offline = "slow", "embed", False

        async def embed(self, texts: Sequence[str]) -> list[list[float]]:
            arrived.release()
            await together.wait()
            if "bad" in texts:
                raise ProviderUnavailable(provider="slow")
            return [[float(len(text))] for text in texts]

        async def close(self) -> None:
            pass

    entry, accounts = EmbeddingEntry("words", Slow(), max_batch=1), Accounts(MemoryLedger())
    for texts in (["a", "bb", "ccc", "dddd", "eeeee"], ["a", "bad", "a", "a", "a"]):
        together.clear()
        made = asyncio.create_task(embedding_of(accounts, entry, texts, ModelCall(Deadline.after(60))))
        async with asyncio.timeout(60):
            for _ in range(4):
                await arrived.acquire()
        assert arrived.locked()
        together.set()
        if "bad" in texts:
            with pytest.raises(ProviderUnavailable):
                await made
        else:
            assert (await made).vectors == [[1], [2], [3], [4], [5]]
            await arrived.acquire()


async def test_texts_are_embedded_in_batches() -> None:
    async with embedding(openai_embeddings()) as (server, channel):
        response = await embed(channel, "a", "bb", "ccc")
        assert [list(vector.values) for vector in response.embeddings] == [[1, 0, 0], [2, 0, 0], [3, 0, 0]]
        assert sorted(body["input"] for body in server.bodies) == [["a", "bb"], ["ccc"]]
        assert (response.provider, response.usage.estimated) == ("openai", True)
        assert response.usage.cost_micro_usd == response.usage.input_tokens > 0
        with pytest.raises(NotFound):
            await embed(channel, "a", model="unknown")


async def test_incomplete_embeddings_are_refused_and_counted() -> None:
    async with embedding(openai_embeddings(missing=1), failing(503)) as (_, channel):
        with pytest.raises(OutputInvalid, match="one vector"):
            await embed(channel, "a", "b")
        with pytest.raises(ProviderUnavailable):
            await embed(channel, "a")


async def test_embeddings_are_held_to_budgets() -> None:
    budgets = {"small": {"scope": "tenant", "max_cost_micro_usd": 30, "aliases": ["default"]}}
    models = {"default": {"model": "offline"}}
    async with embedding(openai_embeddings(), budgets=budgets, models=models) as (server, channel):
        with pytest.raises(BudgetExceeded, match="budget small"):
            await embed(channel, "word " * 50)
        assert not server.requests
