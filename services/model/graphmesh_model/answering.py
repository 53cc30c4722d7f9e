"""Answers a prompt with the model that it names, or with a fallback model."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import TypeVar

import structlog
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import DependencyError, ProviderMisconfigured, ProviderUnavailable, RateLimited

from graphmesh_model import json_text
from graphmesh_model.catalogue import Entry
from graphmesh_model.domain import Answer, FinishReason, Prompt, StreamEvent
from graphmesh_model.errors import OutputInvalid
from graphmesh_model.schemas import schema_violation

log = structlog.get_logger()
Result = TypeVar("Result")
Chain = tuple[Entry, ...]
Stream = AsyncGenerator[StreamEvent, None]


async def answer(chain: Chain, prompt: Prompt, deadline: Deadline) -> Answer:
    """Return the answer of the first available model of `chain`, validated against the prompt's schemas, and priced.

    Raises:
        OutputInvalid: the answer does not fit the response schema, or a tool call its tool's parameters.
        ProviderMisconfigured, ProviderUnavailable, RateLimited: the last model of the chain failed as well.
        RuleViolated: a vendor refused the prompt.
    """
    entry, answer = await _first_available(chain, deadline, lambda entry: entry.provider.answer(prompt))
    return _validate_and_price(entry, answer, prompt)


async def stream(chain: Chain, prompt: Prompt, deadline: Deadline) -> AsyncGenerator[StreamEvent, None]:
    """Stream the answer as events. A fallback is used only before the first event: sent text cannot be retracted.

    Raises: as `answer`; OutputInvalid comes with the last event.
    """
    entry, (first, rest) = await _first_available(chain, deadline, lambda entry: _start(entry.provider.stream(prompt)))
    async with aclosing(rest):
        yield _validate_if_complete(entry, first, prompt)
        async for event in rest:
            yield _validate_if_complete(entry, event, prompt)


async def _start(events: Stream) -> tuple[StreamEvent, Stream]:
    return await anext(events), events


def _validate_if_complete(entry: Entry, event: StreamEvent, prompt: Prompt) -> StreamEvent:
    return _validate_and_price(entry, event, prompt) if isinstance(event, Answer) else event


async def _first_available(
    chain: Chain, deadline: Deadline, call: Callable[[Entry], Awaitable[Result]]
) -> tuple[Entry, Result]:
    """Return the first entry that answers, with its result.

    Each entry gets an equal share of the remaining time, so that a slow model leaves time for its fallbacks.
    """
    *preferred, last = chain
    for index, entry in enumerate(preferred):
        try:
            return entry, await _with_timeout(deadline.remaining / (len(chain) - index), entry, call)
        except (ProviderUnavailable, ProviderMisconfigured, RateLimited) as error:
            log.warning("model skipped for a fallback", alias=entry.alias, reason=error.reason, **error.data)
    return last, await call(last)


async def _with_timeout(seconds: float, entry: Entry, call: Callable[[Entry], Awaitable[Result]]) -> Result:
    try:
        async with asyncio.timeout(seconds):
            return await call(entry)
    except TimeoutError as error:
        cause = f"no answer in {seconds:.1f} s"
        raise ProviderUnavailable(provider=entry.provider.vendor, cause=cause) from error


def _validate_and_price(entry: Entry, answer: Answer, prompt: Prompt) -> Answer:
    """Return `answer` with its cost.

    Raises:
        OutputInvalid: a tool call or the text does not fit its schema.
    """
    _validate_tool_calls(answer, prompt)
    _validate_text(answer, prompt)
    return replace(answer, cost_micro_usd=entry.price.cost(answer.usage) if entry.price else None)


def _validate_tool_calls(answer: Answer, prompt: Prompt) -> None:
    for call in answer.message.tool_calls:
        parameters = prompt.parameters_of(call.name)
        where = "$: no such tool" if parameters is None else schema_violation(call.arguments, parameters)
        if where is not None:
            raise _output_invalid(answer, f"tool {call.name}", where)


def _validate_text(answer: Answer, prompt: Prompt) -> None:
    has_no_text = answer.finish_reason in (FinishReason.TOOL_CALLS, FinishReason.CONTENT_FILTER)
    if prompt.response_schema is None or has_no_text:
        return
    try:
        value = json_text.loads(answer.message.text)
    except ValueError as error:
        raise _output_invalid(answer, "response", f"$: not JSON, finished by {answer.finish_reason.value}") from error
    if where := schema_violation(value, prompt.response_schema):
        raise _output_invalid(answer, "response", where)


def _output_invalid(answer: Answer, schema: str, where: str) -> DependencyError:
    message = f"The answer of {answer.model} does not fit the schema of the {schema}: {where}"
    return OutputInvalid(message, model=answer.model, schema=schema, where=where)
