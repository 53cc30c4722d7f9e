"""Answering a prompt with the model that it names, or with one that steps in for it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import TypeVar

import structlog
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import DependencyError, ProviderUnavailable, RateLimited

from graphmesh_model import json_text
from graphmesh_model.catalogue import Entry
from graphmesh_model.domain import Answer, FinishReason, Piece, Prompt
from graphmesh_model.errors import OutputInvalid
from graphmesh_model.schemas import misfit

log = structlog.get_logger()
Result = TypeVar("Result")
Chain = tuple[Entry, ...]


async def answer(chain: Chain, prompt: Prompt, deadline: Deadline) -> Answer:
    """The answer of the first model of `chain` that gives one; checked against the prompt's schemas, and priced."""
    entry, given = await _first(chain, deadline, lambda entry: entry.provider.answer(prompt))
    return _finished(entry, given, prompt)


async def stream(chain: Chain, prompt: Prompt, deadline: Deadline) -> AsyncGenerator[Piece, None]:
    """The same in pieces. The chain is followed up to the first piece: what was said cannot be taken back."""
    entry, (first, rest) = await _first(chain, deadline, lambda entry: _begun(entry.provider.stream(prompt)))
    async with aclosing(rest):
        yield _checked(entry, first, prompt)
        async for piece in rest:
            yield _checked(entry, piece, prompt)


async def _begun(pieces: AsyncGenerator[Piece, None]) -> tuple[Piece, AsyncGenerator[Piece, None]]:
    return await anext(pieces), pieces


def _checked(entry: Entry, piece: Piece, prompt: Prompt) -> Piece:
    return _finished(entry, piece, prompt) if isinstance(piece, Answer) else piece


async def _first(chain: Chain, deadline: Deadline, ask: Callable[[Entry], Awaitable[Result]]) -> tuple[Entry, Result]:
    """What the first entry that can be asked says. Each one has its share of the time, or none is left to step in."""
    *preferred, last = chain
    for place, entry in enumerate(preferred):
        try:
            return entry, await _within(deadline.remaining / (len(chain) - place), entry, ask)
        except (ProviderUnavailable, RateLimited) as error:
            log.warning(
                "model stepped over", alias=entry.alias, reason=error.reason, cause=type(error.__cause__).__name__
            )
    return last, await ask(last)


async def _within(seconds: float, entry: Entry, ask: Callable[[Entry], Awaitable[Result]]) -> Result:
    try:
        async with asyncio.timeout(seconds):
            return await ask(entry)
    except TimeoutError as error:
        raise ProviderUnavailable(provider=entry.provider.vendor) from error


def _finished(entry: Entry, given: Answer, prompt: Prompt) -> Answer:
    """`given` with its price, once it is known to fit.

    Raises:
        OutputInvalid: a tool call or the text does not fit its schema.
    """
    _check_tool_calls(given, prompt)
    _check_text(given, prompt)
    return replace(given, cost_micro_usd=entry.price.cost(given.usage) if entry.price else None)


def _check_tool_calls(given: Answer, prompt: Prompt) -> None:
    for call in given.message.tool_calls:
        parameters = prompt.parameters_of(call.name)
        where = "$: no such tool" if parameters is None else misfit(call.arguments, parameters)
        if where is not None:
            raise _unfit(given, f"tool {call.name}", where)


def _check_text(given: Answer, prompt: Prompt) -> None:
    held_back = given.finish_reason in (FinishReason.TOOL_CALLS, FinishReason.CONTENT_FILTER)
    if prompt.response_schema is None or held_back:
        return
    try:
        value = json_text.read(given.message.text)
    except ValueError as error:
        raise _unfit(given, "response", f"$: not JSON, finished by {given.finish_reason.value}") from error
    if where := misfit(value, prompt.response_schema):
        raise _unfit(given, "response", where)


def _unfit(given: Answer, schema: str, where: str) -> DependencyError:
    message = f"The answer of {given.model} does not fit the schema of the {schema}: {where}"
    return OutputInvalid(message, model=given.model, schema=schema, where=where)
