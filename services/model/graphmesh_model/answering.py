"""Answers a prompt with the model that it names: repairs an invalid answer once, then calls the fallback models."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

import structlog
from graphmesh_chassis.errors import (
    GraphmeshError,
    ProviderMisconfigured,
    ProviderUnavailable,
    RateLimited,
    RuleViolated,
)

from graphmesh_model import convert
from graphmesh_model.accounting.accounts import Accounts
from graphmesh_model.accounting.totals import of_usages
from graphmesh_model.answer_cache import events_of
from graphmesh_model.attempting import Events, attempt
from graphmesh_model.calling import ModelCall
from graphmesh_model.catalogue import Entry, Similar
from graphmesh_model.domain import Answer, Prompt, StreamEvent
from graphmesh_model.embedding import embed
from graphmesh_model.errors import OutputInvalid
from graphmesh_model.moderation import Moderation
from graphmesh_model.racing import Runner, first_to_answer
from graphmesh_model.similar_prompts import Place, Question, place_of
from graphmesh_model.validating import repair_prompt

log = structlog.get_logger()

FALLS_BACK = (ProviderUnavailable, ProviderMisconfigured, RateLimited, RuleViolated, OutputInvalid)
"""The errors after which another model may still answer."""
MAX_ATTEMPTS_LISTED = 8
EMBEDDING_SECONDS = 3.0
"""The longest time for which an answer waits until its prompt is compared with others."""


class Answering:
    """Answers prompts with the models of a chain: an alias and its fallbacks."""

    def __init__(self, accounts: Accounts, moderation: Moderation | None = None) -> None:
        self._accounts, self._moderation = accounts, moderation

    async def answer(self, chain: Sequence[Entry], prompt: Prompt, call: ModelCall) -> Answer:
        """Return the answer of the first model that gives a usable one.

        Raises:
            OutputInvalid, ProviderMisconfigured, ProviderUnavailable, RateLimited, RuleViolated: the error of the last
                model; its data lists all attempts and what they have used.
            BudgetExceeded, TokenLimit: a budget cannot pay for a further attempt.
        """
        async with aclosing(self.stream(chain, prompt, call)) as events:
            async for event in events:
                if isinstance(event, Answer):
                    return event
        raise AssertionError("a stream ends with its answer")

    def stream(self, chain: Sequence[Entry], prompt: Prompt, call: ModelCall) -> AsyncGenerator[StreamEvent, None]:
        """Stream the answer as events. Sent text cannot be retracted, so that after the first event there is neither a
        repair nor a fallback; an answer with a schema is sent when it is valid.

        With a moderation, all answers are sent when they are complete.

        Raises: as `answer`; RuleViolated by the moderation too.
        """
        events = self._events(chain, prompt, call)
        return self._moderation.moderated(prompt, call.tenant, events) if self._moderation else events

    async def _events(
        self, chain: Sequence[Entry], prompt: Prompt, call: ModelCall
    ) -> AsyncGenerator[StreamEvent, None]:
        stored, place = await self._stored(chain[0], call)
        if stored:
            await self._accounts.count_cache_hit(chain[0], call)
            for event in events_of(stored) if call.streamed else (stored,):
                yield event
            return
        runners = [
            Runner(
                entry.alias, self._of_entry(entry, prompt, call, len(chain) - index), entry.limits.hedge_after_seconds
            )
            for index, entry in enumerate(chain)
        ]
        try:
            first, rest = await first_to_answer(runners, FALLS_BACK)
            async with aclosing(rest):
                yield _kept(first, chain[0], call, place)
                async for event in rest:
                    yield _kept(event, chain[0], call, place)
        except GraphmeshError as error:
            _describe(error, call)
            raise

    async def _stored(self, entry: Entry, call: ModelCall) -> tuple[Answer | None, Place | None]:
        """Return the stored answer to the prompt, or to a similar one, and the place of a prompt that has none."""
        if not entry.cache:
            return None, None
        stored = entry.cache.find(call.tenant, call.prompt)
        if stored or not entry.similar or not call.question:
            return stored, None
        place = await self._place(entry.similar, call.question, call)
        return (entry.cache.find_similar(call.tenant, place, entry.similar.threshold) if place else None), place

    async def _place(self, similar: Similar, question: Question, call: ModelCall) -> Place | None:
        """Embed a question; None where that fails: its answer does not depend on it."""
        own = replace(call, failed=[])
        try:
            async with asyncio.timeout(min(EMBEDDING_SECONDS, call.deadline.remaining / 4)):
                made = await embed(self._accounts, similar.embedder, [question.text], own)
        except (GraphmeshError, TimeoutError) as error:
            log.warning("a prompt is not compared with others", alias=similar.embedder.alias, cause=str(error))
            return None
        return place_of(question, made.vectors[0])

    async def _of_entry(self, entry: Entry, prompt: Prompt, call: ModelCall, models_left: int) -> Events:
        """Yield the events of one model; an answer that is invalid before anything was sent is repaired once.

        Each model gets an equal share of the remaining time for its first event, so that a slow one leaves time for its
        fallbacks.
        """
        has_begun, invalid = False, None
        try:
            async with aclosing(self._attempt(entry, prompt, call, call.deadline.remaining / models_left)) as events:
                async for event in events:
                    has_begun = True
                    yield event
        except OutputInvalid as error:
            if has_begun:
                raise
            invalid = error
        if invalid is not None:
            log.warning("model repeats an invalid answer", **{**invalid.data, "alias": entry.alias})
            repaired = repair_prompt(prompt, invalid)
            async with aclosing(self._attempt(entry, repaired, call, call.deadline.remaining / models_left)) as events:
                async for event in events:
                    yield event

    async def _attempt(self, entry: Entry, prompt: Prompt, call: ModelCall, seconds: float) -> Events:
        """Yield the events of one attempt; those of an answer with a schema when it is valid."""
        held: list[StreamEvent] = []
        async with aclosing(attempt(self._accounts, entry, prompt, call, seconds)) as events:
            async for event in events:
                if prompt.response_schema is None:
                    yield event
                else:
                    held.append(event)
        for event in held:
            yield event


def _kept(event: StreamEvent, entry: Entry, call: ModelCall, place: Place | None) -> StreamEvent:
    """Store a first answer of the alias's own model in its cache."""
    if entry.cache and isinstance(event, Answer) and not event.failed_attempts:
        entry.cache.store(call.tenant, call.prompt, event, convert.response(event).ByteSize(), place)
    return event


def _describe(error: GraphmeshError, call: ModelCall) -> None:
    """Add the attempts to an error, and what they have used: its caller counts them for the budget of its run."""
    if not call.failed:
        return
    used = of_usages(attempt.usage for attempt in call.failed)
    attempts = (f"{one.alias}: {one.fault or one.reason}" for one in call.failed[-MAX_ATTEMPTS_LISTED:])
    error.data = {
        **error.data,
        "attempts": ", ".join(attempts),
        "input_tokens": str(used.input_tokens),
        "output_tokens": str(used.output_tokens),
        "cost_micro_usd": str(sum(attempt.cost_micro_usd or 0 for attempt in call.failed)),
    }
