"""Which calls are traced.

The choice comes first and costs nothing: a call whose `traceparent` says no, or that has none and is not drawn by the
ratio, never meets the instrumentation, which would double the cost of a small call.
"""

import random
from contextvars import ContextVar

from graphmesh_chassis import metadata

TRACEPARENT = "traceparent"
"""W3C Trace Context."""
NOT_SAMPLED = (TRACEPARENT, "00-" + "f" * 32 + "-" + "f" * 16 + "-00")
"""Sent with the calls of a call that is not traced, so that nobody further on draws again."""
SAMPLED = frozenset("13579bdf")
"""The last digits of a `traceparent` whose flags say that it is sampled."""

_traced: ContextVar[bool] = ContextVar("graphmesh_traced", default=False)


def decide(headers: metadata.Metadata, ratio: float) -> bool:
    """Whether the call with these headers is traced; remembered for the calls that it makes itself."""
    parent = metadata.text(headers, TRACEPARENT)
    traced = parent[-1:] in SAMPLED if parent else random.random() < ratio
    _traced.set(traced)
    return traced


def is_traced() -> bool:
    """Whether the call that this task works on is traced."""
    return _traced.get()
