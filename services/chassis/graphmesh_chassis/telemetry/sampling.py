"""The sampling decision of traces.

It is made first and costs nothing: a call whose `traceparent` is not sampled, or that has none and is not drawn by the
ratio, never reaches the instrumentation, which would double the cost of a small call.
"""

import random
import re
from contextvars import ContextVar, Token

from graphmesh_chassis import metadata

TRACEPARENT = "traceparent"
"""W3C Trace Context."""
NOT_SAMPLED = (TRACEPARENT, "00-" + "f" * 32 + "-" + "f" * 16 + "-00")
"""The header of calls made by a call that is not traced, so that no service further down draws again."""
SAMPLED = frozenset("13579bdf")
"""The last hexadecimal digits of a `traceparent` with the sampled flag."""

STATED = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
SPAN_ID = 16
"""Characters of the id of a span."""
MILLION = 1_000_000

_traced: ContextVar[bool | None] = ContextVar("graphmesh_traced", default=None)


def decide(headers: metadata.Metadata, ratio: float) -> bool:
    """Whether to trace the call with these headers; also kept for the calls that it makes.

    Args:
        ratio: the share of calls without a `traceparent` that are traced, and of those whose client exports no spans,
            as it states by `metadata.RUN_SPAN`: the mesh decides for these too.
    """
    parent = metadata.text(headers, TRACEPARENT)
    traced = parent[-1:] in SAMPLED if parent else random.random() < ratio
    if traced and parent and len(metadata.text(headers, metadata.RUN_SPAN)) == SPAN_ID:
        traced = is_drawn(parent[3:35], ratio)
    _traced.set(traced)
    return traced


def trace_id(headers: metadata.Metadata) -> str:
    """Return the trace that a call joins; empty where it joins none, or what it states is malformed."""
    stated = STATED.fullmatch(metadata.text(headers, TRACEPARENT))
    return stated[1] if stated else ""


def is_drawn(trace_id: str, ratio: float) -> bool:
    """Whether a trace is one of the share that is sampled, by its id alone: as Envoy's sampler by the ratio of ids."""
    try:
        return int.from_bytes(bytes.fromhex(trace_id[:16]), "little") % MILLION < ratio * MILLION
    except ValueError:
        return False


def is_traced() -> bool:
    """Whether the call of the current task is traced."""
    return _traced.get() is True


def is_excluded() -> bool:
    """Whether the current task has been decided not to be traced. Outside of calls and runs nothing is decided."""
    return _traced.get() is False


def set_traced(traced: bool) -> Token[bool | None]:
    """Decide for what the current task does from now on; `reset_traced` restores what held before."""
    return _traced.set(traced)


def reset_traced(token: Token[bool | None]) -> None:
    """Restore the decision before `set_traced`; in a task that has not set it, there is none to restore."""
    try:
        _traced.reset(token)
    except ValueError:
        return
