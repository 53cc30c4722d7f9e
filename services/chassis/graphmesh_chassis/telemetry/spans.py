"""Spans of the code of the mesh, where the present call or run is traced; elsewhere they cost a comparison.

with spans.span("claim", attributes={names.EPOCH: epoch}) as claim:
    ...
    claim.set({names.END: "fenced"})
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
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


class SpanSource(Protocol):
    """Whatever records the spans of a process."""

    def span(self, name: str, kind: Kind, attributes: Attributes) -> AbstractContextManager[Span]:
        """Open a span below the present one; an exception that leaves the context is its error, by its type only."""


class _NoSpan(AbstractContextManager[Span]):
    def __enter__(self) -> Span:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def set(self, attributes: Attributes, /) -> None:
        return None

    def fail(self, reason: str, /) -> None:
        return None


_NONE = _NoSpan()
_source: SpanSource | None = None


def use(source: SpanSource | None) -> None:
    """Record the spans of this process by `source`; None: by nothing."""
    global _source
    _source = source


def span(name: str, kind: Kind = "internal", attributes: Attributes | None = None) -> AbstractContextManager[Span]:
    """Open a span below the present one, where the present call or run is traced."""
    if _source is None or not is_traced():
        return _NONE
    return _source.span(name, kind, attributes or {})
