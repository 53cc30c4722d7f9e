"""Conversion between the spans of the mesh and those of OpenTelemetry's SDK."""

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from graphmesh_chassis.telemetry import names
from graphmesh_chassis.telemetry.spans import Attributes, Finished, Kind

SCOPE = InstrumentationScope("graphmesh")
KINDS: dict[Kind, SpanKind] = {
    "internal": SpanKind.INTERNAL,
    "client": SpanKind.CLIENT,
    "server": SpanKind.SERVER,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}
NAMES_OF_KINDS: dict[SpanKind, Kind] = {kind: name for name, kind in KINDS.items()}


def context_of(traceparent: str) -> SpanContext:
    """Return the context that a traceparent states. Raises ValueError where it is none."""
    _, trace, span, flags = traceparent.split("-")
    return SpanContext(int(trace, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))


def text_of(context: SpanContext) -> str:
    """Return the traceparent of a context."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def traceparent_of(span: ReadableSpan) -> str:
    return text_of(span.context) if span.context else ""


def readable(span: Finished, resource: Resource) -> ReadableSpan:
    """Return a span that has ended in the form that exporters take."""
    context = context_of(span.traceparent)
    attributes: dict[str, str | int | float | bool] = {**span.attributes}
    if span.reason:
        attributes[names.REASON] = span.reason
    return ReadableSpan(
        name=span.name,
        context=context,
        parent=_parent(span, context),
        resource=resource,
        attributes=attributes,
        links=[Link(context_of(link)) for link in span.links],
        kind=KINDS[span.kind],
        status=Status(StatusCode.ERROR if span.reason else StatusCode.UNSET),
        start_time=span.start,
        end_time=span.end,
        instrumentation_scope=SCOPE,
    )


def _parent(span: Finished, context: SpanContext) -> SpanContext | None:
    if not span.parent:
        return None
    if "-" in span.parent:
        return context_of(span.parent)
    return SpanContext(context.trace_id, int(span.parent, 16), is_remote=True, trace_flags=context.trace_flags)


def finished_of(span: ReadableSpan) -> Finished:
    """Return a span of the SDK, also one that is still open, whose end is 0."""
    attributes: Attributes = {
        name: value for name, value in (span.attributes or {}).items() if isinstance(value, str | int | float | bool)
    }
    is_error = span.status.status_code is StatusCode.ERROR
    return Finished(
        name=span.name,
        traceparent=traceparent_of(span),
        parent=f"{span.parent.span_id:016x}" if span.parent else "",
        start=span.start_time or 0,
        end=span.end_time or 0,
        kind=NAMES_OF_KINDS[span.kind],
        attributes=attributes,
        reason=str(attributes.get(names.REASON, "ERROR")) if is_error else "",
    )
