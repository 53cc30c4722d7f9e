"""Records the spans of the code under test."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from graphmesh_chassis.settings import ServerSettings
from graphmesh_chassis.telemetry import spans
from graphmesh_chassis.telemetry.tracing import Tracing
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

RUN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
"""The traceparent of a span that is sampled."""
UNSAMPLED = RUN[:-1] + "0"


@contextmanager
def exporting(exporter: SpanExporter, folder: Path | None = None) -> Iterator[None]:
    """Record the spans of this process, and export what is left at the end."""
    tracing = Tracing("probe", ServerSettings(traces="console", span_folder=folder), exporter)
    spans.use(tracing.spans)
    try:
        yield
    finally:
        spans.use(None)
        tracing.close()


@contextmanager
def recorded() -> Iterator[list[ReadableSpan]]:
    """Yield a list that has the spans of the body when it has ended."""
    exporter, found = InMemorySpanExporter(), list[ReadableSpan]()
    with exporting(exporter):
        yield found
    found += exporter.get_finished_spans()


def id_of(span: ReadableSpan) -> str:
    return f"{span.context.span_id:016x}" if span.context else ""


def parent_of(span: ReadableSpan) -> str:
    return f"{span.parent.span_id:016x}" if span.parent else ""
