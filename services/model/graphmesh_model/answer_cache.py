"""The cache of one alias: answers to prompts that are equal in every byte, or similar, for the same tenant."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from graphmesh_model import json_text
from graphmesh_model.domain import (
    Answer,
    BlockDelta,
    FinishReason,
    Reasoning,
    ReasoningDelta,
    StreamEvent,
    Text,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from graphmesh_model.similar_prompts import Place

MAX_COMPARED = 500
"""The stored answers with which a prompt is compared: those that were used last."""
TENANT_SHARE = 4
"""A tenant has one part of so many at most, so that it does not displace the answers of all others."""


@dataclass(frozen=True)
class CacheLimits:
    seconds: float
    """The time for which an answer is kept."""
    max_bytes: int = 64 * 1024 * 1024
    """In each replica."""


@dataclass(frozen=True)
class _Stored:
    answer: Answer
    expires: float
    size: int
    place: Place | None


class AnswerCache:
    def __init__(self, limits: CacheLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._tenants: dict[str, OrderedDict[bytes, _Stored]] = {}
        """The answers of each tenant, the one that was used longest ago first."""
        self._sizes: dict[str, int] = {}

    def find(self, tenant: str, prompt: bytes) -> Answer | None:
        """Return the stored answer to a serialized prompt, at no cost."""
        answers, key = self._tenants.get(tenant), _key(prompt)
        stored = answers.get(key) if answers else None
        if answers is None or stored is None:
            return None
        if stored.expires <= self._clock():
            self._remove(tenant, key)
            return None
        answers.move_to_end(key)
        return stored.answer

    def find_similar(self, tenant: str, place: Place, threshold: float) -> Answer | None:
        """Return the stored answer to the most similar prompt, at no cost, if it is similar enough."""
        answers, now = self._tenants.get(tenant), self._clock()
        recent = islice(reversed(answers.values()), MAX_COMPARED) if answers else ()
        compared = [(place.similarity(one.place), one.answer) for one in recent if one.place and one.expires > now]
        similarity, answer = max(compared, key=lambda one: one[0], default=(0.0, None))
        return replace(answer, cache_similarity=similarity) if answer and similarity >= threshold else None

    def store(self, tenant: str, prompt: bytes, answer: Answer, size: int, place: Place | None = None) -> None:
        """Store a complete answer of `size` bytes; one that was cut off or withheld is not worth a repetition."""
        size += place.size if place else 0
        is_whole = answer.finish_reason in (FinishReason.STOP, FinishReason.TOOL_CALLS)
        if not is_whole or size > self._limits.max_bytes // TENANT_SHARE:
            return
        free = replace(answer, usage=Usage(0, 0), cost_micro_usd=0, failed_attempts=(), cached=True)
        key = _key(prompt)
        self._remove(tenant, key)
        stored = _Stored(
            free, self._clock() + self._limits.seconds, size, place if not answer.message.tool_calls else None
        )
        self._tenants.setdefault(tenant, OrderedDict())[key] = stored
        self._sizes[tenant] = self._sizes.get(tenant, 0) + size
        while self._sizes[tenant] > self._limits.max_bytes // TENANT_SHARE:
            self._remove(tenant, next(iter(self._tenants[tenant])))
        while sum(self._sizes.values()) > self._limits.max_bytes:
            largest = max(self._sizes, key=lambda one: self._sizes[one])
            self._remove(largest, next(iter(self._tenants[largest])))

    def _remove(self, tenant: str, key: bytes) -> None:
        answers = self._tenants.get(tenant)
        if answers is None or (stored := answers.pop(key, None)) is None:
            return
        self._sizes[tenant] -= stored.size
        if not answers:
            del self._tenants[tenant], self._sizes[tenant]


def events_of(answer: Answer) -> Iterator[StreamEvent]:
    """Yield a stored answer as the events of a stream."""
    message, reasoning = answer.message, 0
    for block in message.blocks or (Text(message.text),):
        match block:
            case Text(text=text):
                if text:
                    yield TextDelta(text)
            case Reasoning():
                yield ReasoningDelta(reasoning, block)
                reasoning += 1
            case _:
                yield BlockDelta(block)
    for index, call in enumerate(message.tool_calls):
        yield ToolCallDelta(index, call.id, call.name, json_text.dumps(call.arguments))
    yield answer


def _key(prompt: bytes) -> bytes:
    return hashlib.sha256(prompt).digest()
