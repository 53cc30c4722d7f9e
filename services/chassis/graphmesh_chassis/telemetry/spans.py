"""Spans of the code of the mesh, where the present call or run is traced; elsewhere they cost a comparison.

with spans.span("claim", attributes={names.EPOCH: epoch}) as claim:
    ...
    claim.set({names.END: "fenced"})
"""

import random
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal, Protocol

from graphmesh_chassis.telemetry.sampling import is_traced

Kind = Literal["internal", "client", "server", "producer", "consumer"]
Value = str | int | float | bool
Attributes = Mapping[str, Value]
"""By the names of `names`. Contents of messages are none of them."""


class Span(Protocol):
    """An open span."""

    def set(self, attributes: Attributes, /) -> None:
        """Set attributes; a later value replaces an earlier one."""

    def fail(self, reason: str, /) -> None:
        """End the span as an error, with the reason as its type."""


@dataclass(frozen=True)
class Finished:
    """A span that has ended, of which the process may have seen neither the beginning nor the end."""

    name: str
    traceparent: str
    """The span's own, of W3C Trace Context: 00-TRACE-SPAN-FLAGS."""
    parent: str
    """The traceparent, or the id, of its parent; empty for the root of the trace."""
    start: int
    """Nanoseconds since 1970."""
    end: int
    kind: Kind = "internal"
    attributes: Attributes = field(default_factory=dict)
    reason: str = ""
    """The type of its error; empty where it has none."""
    links: Sequence[str] = ()
    """The traceparents of spans of other traces."""


class SpanSource(Protocol):
    """Whatever records the spans of a process."""

    def span(
        self, name: str, kind: Kind, attributes: Attributes, own: str, parent: str
    ) -> AbstractContextManager[Span]:
        """Open a span. The reason of an exception that leaves the context is its error, and never its text."""

    def joined(self, traceparent: str) -> AbstractContextManager[None]:
        """Make the span with this traceparent the present one."""

    def present(self) -> str:
        """Return the traceparent of the present span; empty without one."""

    def begun(self) -> int:
        """Return when the present span has begun, in nanoseconds since 1970; 0 where that is not known."""

    def emit(self, finished: Finished) -> None:
        """Export a span that has ended."""


class _NoSpan(AbstractContextManager[Span]):
    def __enter__(self) -> Span:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def set(self, attributes: Attributes, /) -> None:
        return None

    def fail(self, reason: str, /) -> None:
        return None


class _NotJoined(AbstractContextManager[None]):
    def __exit__(self, *_: object) -> None:
        return None


_NONE = _NoSpan()
_NOT_JOINED = _NotJoined()
_source: SpanSource | None = None


def use(source: SpanSource | None) -> None:
    """Record the spans of this process by `source`; None: by nothing."""
    global _source
    _source = source


def is_recording() -> bool:
    """Return whether the process records spans at all."""
    return _source is not None


def span(
    name: str, kind: Kind = "internal", attributes: Attributes | None = None, *, own: str = "", parent: str = ""
) -> AbstractContextManager[Span]:
    """Open a span below the present one, where the present call or run is traced.

    Args:
        own: its traceparent, where other processes derive it too; by default a new one.
        parent: that of the span that it is below, by default the present one.
    """
    if _source is None or not is_traced():
        return _NONE
    return _source.span(name, kind, attributes or {}, own, parent)


def joined(traceparent: str) -> AbstractContextManager[None]:
    """Continue the trace of a span of another call, run or process: what follows is below that span.

    Without the sampled flag, or without a traceparent, what follows is not traced.
    """
    return _NOT_JOINED if _source is None else _source.joined(traceparent)


def present() -> str:
    """Return the traceparent of the present span; empty where nothing is traced."""
    return "" if _source is None or not is_traced() else _source.present()


def begun() -> int:
    """Return when the present span has begun, in nanoseconds since 1970; 0 where that is not known."""
    return 0 if _source is None or not is_traced() else _source.begun()


def emit(finished: Finished) -> None:
    """Export a span that has ended, whether or not the present call is traced."""
    if _source is not None:
        _source.emit(finished)


def below(parent: str) -> str:
    """Return the traceparent of a new span below another one; empty: of a new trace."""
    trace = parent[3:35] if parent else f"{random.getrandbits(128) or 1:032x}"
    return f"00-{trace}-{random.getrandbits(64) or 1:016x}-01"


def derived(traceparent: str, *parts: str) -> str:
    """Return the traceparent of a span in the same trace, whose id every process derives from the same parts."""
    version, trace, _, flags = traceparent.split("-")
    return f"{version}-{trace}-{sha256('/'.join(parts).encode()).hexdigest()[:16]}-{flags}"
