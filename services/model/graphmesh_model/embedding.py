"""Embeds texts, in batches that are timed, charged and held to the limits of their alias as attempts of models are."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from graphmesh_model.accounting.accounts import Accounts
from graphmesh_model.accounting.prices import UNKNOWN, Prices
from graphmesh_model.accounting.totals import of_usages
from graphmesh_model.calling import ModelCall
from graphmesh_model.domain import Answer, Assistant, FinishReason, Prompt, Usage, User
from graphmesh_model.errors import OutputInvalid
from graphmesh_model.faults import Fault
from graphmesh_model.gate import DEFAULT_LIMITS, Gate, GateLimits
from graphmesh_model.vendor_errors import unavailable

if TYPE_CHECKING:
    from graphmesh_chassis.rates import Rates

MAX_DIMENSIONS = 16_384
MAX_PARALLEL = 4
"""Batches of one call that are with the vendor at a time."""
Vectors = Sequence[Sequence[float]]
T = TypeVar("T")


class Embedder(Protocol):
    """A vendor's model for embeddings. `embed` raises as Provider does."""

    @property
    def vendor(self) -> str: ...

    @property
    def model(self) -> str: ...

    @property
    def offline(self) -> bool: ...

    async def embed(self, texts: Sequence[str]) -> Vectors: ...

    async def close(self) -> None: ...


class EmbeddingEntry:
    """A model for embeddings under its alias."""

    max_output_tokens = 0

    def __init__(
        self,
        alias: str,
        provider: Embedder,
        prices: Prices = UNKNOWN,
        limits: GateLimits = DEFAULT_LIMITS,
        max_batch: int = 256,
        rates: "Rates | None" = None,
    ) -> None:
        self.alias, self.provider, self.prices, self.max_batch = alias, provider, prices, max_batch
        self.gate = Gate(alias, provider.vendor, limits, rates)


@dataclass(frozen=True)
class Embeddings:
    vectors: Vectors
    usage: Usage
    cost_micro_usd: int | None


async def embed(accounts: Accounts, entry: EmbeddingEntry, texts: Sequence[str], call: ModelCall) -> Embeddings:
    """Return a vector for each text.

    Raises:
        OutputInvalid: the vendor returned something else.
        BudgetExceeded, TokenLimit: a budget cannot pay for a batch.
        As Provider and Gate.
    """
    batches = [texts[at : at + entry.max_batch] for at in range(0, len(texts), entry.max_batch)]
    made = await _in_parallel([partial(_embed_batch, accounts, entry, batch, call) for batch in batches])
    vectors = [vector for found, _ in made for vector in found]
    answers = [answer for _, answer in made]
    costs = [answer.cost_micro_usd for answer in answers]
    cost = None if None in costs else sum(cost or 0 for cost in costs)
    return Embeddings(vectors, of_usages(answer.usage for answer in answers), cost)


async def _in_parallel(begins: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """Return the results in their order, of at most MAX_PARALLEL at a time.

    Raises:
        Exception: the first error; the others are cancelled, and have ended.
    """
    places = asyncio.Semaphore(MAX_PARALLEL)

    async def run(begin: Callable[[], Awaitable[T]]) -> T:
        async with places:
            return await begin()

    tasks = [asyncio.ensure_future(run(begin)) for begin in begins]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _embed_batch(
    accounts: Accounts, entry: EmbeddingEntry, texts: Sequence[str], call: ModelCall
) -> tuple[Vectors, Answer]:
    await entry.gate.check(call.tenant)
    prompt = Prompt(tuple(User(text) for text in texts))
    async with accounts.charge(entry, prompt, call) as charge, entry.gate.slot(call.tenant, call.deadline):
        charge.begin()
        vectors = await _timed(entry, texts)
        if not _are_vectors(vectors, len(texts)):
            message = f"The model {entry.provider.model} did not return one vector of the same length for each text"
            raise OutputInvalid(message, model=entry.provider.model, schema="embeddings")
        whole = Answer(Assistant(), FinishReason.STOP, Usage(0, 0), entry.provider.model, entry.provider.vendor)
        charge.observe(whole)
        return vectors, await charge.complete(whole)


async def _timed(entry: EmbeddingEntry, texts: Sequence[str]) -> Vectors:
    timeout = asyncio.timeout(entry.gate.limits.answer_seconds)
    try:
        async with timeout:
            return await entry.provider.embed(texts)
    except TimeoutError:
        if not timeout.expired():
            raise
        cause = f"nothing in {entry.gate.limits.answer_seconds} s"
        raise unavailable(entry.provider.vendor, Fault.STALLED, cause) from None


def _are_vectors(vectors: Vectors, count: int) -> bool:
    """Return whether there are so many lists of finite numbers, all of one length."""
    if len(vectors) != count or not 0 < len(vectors[0]) <= MAX_DIMENSIONS:
        return False
    return all(len(vector) == len(vectors[0]) and all(map(_is_number, vector)) for vector in vectors)


def _is_number(value: Any) -> bool:
    return isinstance(value, float | int) and math.isfinite(value)
