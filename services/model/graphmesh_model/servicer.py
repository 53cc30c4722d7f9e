"""ModelService: decode, use case, encode."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

from graphmesh.model import v1 as pb
from graphmesh_chassis import metadata
from graphmesh_chassis.calls import current_call, serialized
from graphmesh_chassis.errors import ProviderMisconfigured, ProviderUnavailable
from graphmesh_chassis.pages import page_of, page_size
from grpc.aio import UsageError

from graphmesh_model import convert, embedding, usage_convert
from graphmesh_model.accounting.accounts import Accounts
from graphmesh_model.answering import Answering
from graphmesh_model.calling import ModelCall, RunLimits
from graphmesh_model.catalogue import Catalogue, Entry
from graphmesh_model.domain import Answer
from graphmesh_model.moderation import Moderation
from graphmesh_model.similar_prompts import question_of

ALL_TENANTS = "model.usage.all"
"""The scope to read the usage of all tenants."""
MAX_RUN = 255
"""Characters of a run's id."""


class ModelServicer(pb.ModelServiceServicer):
    def __init__(self, catalogue: Catalogue, accounts: Accounts, moderation: Moderation | None = None) -> None:
        self._catalogue, self._accounts = catalogue, accounts
        self._answering = Answering(accounts, moderation)

    async def Generate(self, request: pb.GenerateRequest, context: Any) -> pb.GenerateResponse:
        chain = self._catalogue.chain(request.prompt.model)
        prompt = convert.prompt(request.prompt)
        async with _vendor_faults(context):
            answer = await self._answering.answer(chain, prompt, _prompt_call(chain, request.prompt))
        return convert.response(answer)  # held to the contract already, where a fallback could still answer

    async def StreamGenerate(
        self, request: pb.StreamGenerateRequest, context: Any
    ) -> AsyncIterator[pb.StreamGenerateResponse]:
        chain = self._catalogue.chain(request.prompt.model)
        stream = self._answering.stream(
            chain, convert.prompt(request.prompt), replace(_prompt_call(chain, request.prompt), streamed=True)
        )
        async with _vendor_faults(context), aclosing(stream) as pieces:
            async for piece in pieces:
                yield convert.event(piece) if isinstance(piece, Answer) else convert.checked(convert.event, piece)

    async def Embed(self, request: pb.EmbedRequest, context: Any) -> pb.EmbedResponse:
        entry = self._catalogue.embedding(request.model)
        async with _vendor_faults(context):
            made = await embedding.embed(self._accounts, entry, request.texts, _call())
        return pb.EmbedResponse(
            embeddings=[pb.Embedding(values=vector) for vector in made.vectors],
            usage=usage_convert.usage(made.usage, made.cost_micro_usd),
            model=entry.provider.model,
            provider=entry.provider.vendor,
        )

    async def ListModels(self, request: pb.ListModelsRequest, context: Any) -> pb.ListModelsResponse:
        now = self._accounts.now()
        return pb.ListModelsResponse(models=[convert.model(entry, now) for entry in self._catalogue])

    async def ListUsage(self, request: pb.ListUsageRequest, context: Any) -> pb.ListUsageResponse:
        caller, size = current_call().caller, page_size(request.page_size)
        if request.all_tenants:
            caller.require(frozenset({ALL_TENANTS}))
        conditions = usage_convert.usage_filter(request, "" if request.all_tenants else caller.tenant)
        after = usage_convert.position(request, conditions)
        found = await self._accounts.ledger.usage(conditions, after, size + 1)
        page = page_of(
            found, size, usage_convert.group, lambda group: usage_convert.token_of(group, conditions), max_bytes=None
        )
        return pb.ListUsageResponse(groups=page.messages, next_page_token=page.next_token)

    async def ListBudgets(self, request: pb.ListBudgetsRequest, context: Any) -> pb.ListBudgetsResponse:
        tenant = current_call().caller.tenant
        accounts = self._accounts.standing(tenant, request.run)
        balances = await self._accounts.ledger.balances(accounts)
        return pb.ListBudgetsResponse(budgets=map(usage_convert.budget, accounts, balances))


def _prompt_call(chain: Sequence[Entry], prompt: pb.Prompt) -> ModelCall:
    """Return the present call, with the prompt as the cache of its alias knows it, where it has one."""
    first, call = chain[0], _call()
    if not first.cache:
        return call
    return replace(call, prompt=serialized(prompt), question=question_of(prompt) if first.similar else None)


def _call() -> ModelCall:
    """Return the present call. Raises InvalidMetadata where its limits are malformed."""
    call = current_call()
    run = call.header(metadata.RUN)[:MAX_RUN]
    limits = usage_convert.run_limits(call.header(metadata.RUN_LIMITS)) if run else RunLimits()
    return ModelCall(call.deadline, call.caller.tenant, run, limits)


@asynccontextmanager
async def _vendor_faults(context: Any) -> AsyncIterator[None]:
    """Send the initial metadata before a vendor's fault. Envoy's breaker counts UNAVAILABLE without it, and one vendor
    that is down must not close the way to the others."""
    try:
        yield
    except (ProviderMisconfigured, ProviderUnavailable):
        with suppress(UsageError):  # a part of a stream was sent, so they were, too
            await context.send_initial_metadata(())
        raise
