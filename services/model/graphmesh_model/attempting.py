"""One attempt: one call of one alias's model, timed, charged and validated."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from graphmesh_chassis.errors import GraphmeshError

from graphmesh_model import convert
from graphmesh_model.accounting.accounts import Accounts
from graphmesh_model.calling import ModelCall
from graphmesh_model.catalogue import Entry
from graphmesh_model.domain import Answer, Prompt, StreamEvent, UsageSoFar
from graphmesh_model.faults import Fault
from graphmesh_model.validating import validate
from graphmesh_model.vendor_errors import unavailable

Events = AsyncGenerator[StreamEvent, None]


async def attempt(accounts: Accounts, entry: Entry, prompt: Prompt, call: ModelCall, seconds: float) -> Events:
    """Yield the events of an answer; the last one is the answer, validated, with its usage and cost.

    Whatever ends the attempt, its usage is counted. `seconds` bounds the time to the first event.

    Raises:
        OutputInvalid: the answer does not fit the prompt's schemas, or the contract.
        BudgetExceeded, TokenLimit: a budget cannot pay for the attempt; the vendor is not called.
        As Provider and Gate.
    """
    charge = accounts.charge(entry, prompt, call)
    try:
        await entry.gate.check(call.tenant)
    except GraphmeshError as error:
        charge.refuse(error)
        raise
    answer: Answer | None = None
    async with charge, entry.gate.slot(call.tenant, call.deadline):
        charge.begin()
        async with aclosing(_paced(entry, charge.prompt, call, seconds)) as events:
            async for event in events:
                charge.observe(event)
                if isinstance(event, Answer):
                    validate(event, prompt)
                    convert.checked(convert.response, event)
                    answer = await charge.complete(event)
                    break
                if not isinstance(event, UsageSoFar):
                    yield event
        if answer is None:
            raise unavailable(entry.provider.vendor, Fault.CUT_OFF, "the stream ended without an answer")
    yield replace(
        answer, failed_attempts=tuple(call.failed)
    )  # the gate has counted it, also where the caller reads no further


async def _paced(entry: Entry, prompt: Prompt, call: ModelCall, seconds: float) -> Events:
    """Yield the events of a provider. Raises ProviderUnavailable where one of them takes too long."""
    limits = entry.gate.limits
    events = entry.provider.stream(prompt) if call.streamed else _whole(entry, prompt)
    longest = limits.first_token_seconds if call.streamed else limits.answer_seconds
    seconds = seconds if longest is None else min(seconds, longest)
    async with aclosing(events):
        while True:
            timeout = asyncio.timeout(seconds)
            try:
                async with timeout:
                    event = await anext(events, None)
            except TimeoutError:
                if not timeout.expired():
                    raise
                raise unavailable(entry.provider.vendor, Fault.STALLED, f"nothing in {seconds:.1f} s") from None
            if event is None:
                return
            yield event
            seconds = limits.between_tokens_seconds


async def _whole(entry: Entry, prompt: Prompt) -> Events:
    yield await entry.provider.answer(prompt)
