"""Measures the usage of one attempt, also of one that fails."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from graphmesh_chassis.errors import GraphmeshError

from graphmesh_model.accounting.prices import Price
from graphmesh_model.accounting.tokens import count_prompt, count_text, images_in
from graphmesh_model.domain import (
    Answer,
    BlockDelta,
    Prompt,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageSoFar,
)
from graphmesh_model.errors import OutputInvalid
from graphmesh_model.faults import Fault

UNBILLED = frozenset(
    fault.value
    for fault in (
        Fault.RATE_LIMITED,
        Fault.KEY,
        Fault.ACCOUNT,
        Fault.MODEL,
        Fault.REFUSED,
        Fault.UNSUPPORTED,
        Fault.SERVER,
        Fault.UNREACHABLE,
        Fault.BREAKER_OPEN,
    )
)
"""The faults after which no vendor has generated anything."""
TOKENS_A_SECOND = 200
"""The speed of fast models: the bound of what a vendor has written of an answer that never arrived."""


class Meter:
    """Collects what one attempt sends and receives.

    The vendor's own counts are used where it states any. Otherwise the tokens of the prompt and of what has arrived are
    counted by a tokenizer, and marked as estimated.
    """

    def __init__(self, prompt: Prompt, max_output: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`max_output` is the most tokens that the vendor may write."""
        self._prompt, self._max_output, self._clock, self._began = prompt, max_output, clock, clock()
        self._stated: Usage | None = None
        self._received: list[str] = []
        self._is_complete = self._is_unbilled = False

    def observe(self, event: StreamEvent) -> None:
        match event:
            case UsageSoFar(usage=usage):
                self._stated = usage
            case TextDelta(text=text):
                self._received.append(text)
            case ToolCallDelta():
                self._received.append(f"{event.name}{event.arguments_json}")
            case ReasoningDelta():
                self._received.append(event.reasoning.text)
            case BlockDelta():
                pass
            case Answer():
                self._is_complete, self._stated = True, event.usage
                if not self._received:
                    calls = "".join(f"{call.name}{call.arguments}" for call in event.message.tool_calls)
                    self._received = [event.message.text, calls]

    def fail(self, error: GraphmeshError) -> None:
        """Note the error of the attempt."""
        if isinstance(error, OutputInvalid):
            self._is_complete, self._stated = True, error.usage or self._stated
        self._is_unbilled = error.data.get("fault") in UNBILLED

    async def usage(self) -> Usage:
        """Return the usage. Tokens are counted in a thread, since long texts take long."""
        if self._is_unbilled and not self._received:
            return Usage(0, 0)
        images = images_in(self._prompt)
        received = "".join(self._received)
        stated = self._stated
        if self._is_complete and stated and stated.input_tokens and (stated.output_tokens or not received):
            return replace(stated, images=images)
        read, written = await asyncio.to_thread(lambda: (count_prompt(self._prompt), count_text(received)))
        if not self._is_complete and not received:
            written = self._unseen_output()
        known = stated or Usage(0, 0)
        return replace(
            known,
            input_tokens=known.input_tokens or read,
            output_tokens=max(known.output_tokens, written),
            images=images,
            estimated=True,
        )

    def _unseen_output(self) -> int:
        """Return the most that the vendor can have written of an answer that has not arrived."""
        return min(int((self._clock() - self._began) * TOKENS_A_SECOND), self._max_output)


def cost_of(usage: Usage, price: Price | None) -> int | None:
    return price.cost(usage) if price else None
