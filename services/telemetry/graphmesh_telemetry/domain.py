"""What is kept of a span, and the bounds of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

Value = str | int | float | bool
MAX_NAME = 200
"""Characters of a name."""
MAX_VALUE = 1000
"""Characters of the value of an attribute."""
MAX_ATTRIBUTES = 64
"""Attributes of a span; further ones are left out."""
MAX_TRACE = 10_000
"""Spans of a trace that are shown."""


@dataclass(frozen=True)
class Span:
    trace_id: str
    span_id: str
    parent_id: str
    """Empty for the root of its trace."""
    service: str
    name: str
    start: datetime
    end: datetime
    error: str
    """The type of its error; empty where it has none."""
    tenant: str
    run: str
    attributes: Mapping[str, Value]


def bounded(attributes: Iterable[tuple[str, Value]]) -> dict[str, Value]:
    """Return the first attributes, with texts that are cut to their bound."""
    kept: dict[str, Value] = {}
    for name, value in attributes:
        if len(kept) == MAX_ATTRIBUTES:
            break
        kept[name[:MAX_NAME]] = value[:MAX_VALUE] if isinstance(value, str) else value
    return kept


def of_tenant(spans: Sequence[Span], tenant: str) -> list[Span]:
    """Return the spans without those of other tenants, and without what is below them and states no tenant.

    A client chooses the trace of its calls, and may choose one that another tenant's run is in.
    """
    children: dict[str, list[Span]] = {}
    for span in spans:
        if not span.tenant:
            children.setdefault(span.parent_id, []).append(span)
    open_ = [span.span_id for span in spans if span.tenant not in ("", tenant)]
    hidden = set(open_)
    while open_:
        for child in children.pop(open_.pop(), ()):
            hidden.add(child.span_id)
            open_.append(child.span_id)
    return [span for span in spans if span.span_id not in hidden]
