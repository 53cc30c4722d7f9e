"""OTLP's messages as spans: https://opentelemetry.io/docs/specs/otlp/."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from graphmesh_chassis.telemetry import names
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from graphmesh_telemetry.domain import MAX_NAME, Span, Value, bounded

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = 2**63 // 1000 * 1000
"""Nanoseconds since 1970 that a date can have, and more than any clock states."""
TRACE_BYTES, SPAN_BYTES = 16, 8


def spans_of(request: ExportTraceServiceRequest) -> Iterator[Span]:
    """Yield the spans of a request; those without valid ids or times are left out."""
    for resource in request.resource_spans:
        service = str(_value_of(resource.resource.attributes, names.SERVICE))[:MAX_NAME]
        for scope in resource.scope_spans:
            for span in scope.spans:
                if _is_valid(span):
                    yield _span(span, service)


def _is_valid(span: OtlpSpan) -> bool:
    has_ids = len(span.trace_id) == TRACE_BYTES and len(span.span_id) == SPAN_BYTES
    has_parent = len(span.parent_span_id) in (0, SPAN_BYTES)
    return has_ids and has_parent and 0 < span.start_time_unix_nano <= span.end_time_unix_nano < LATEST


def _span(span: OtlpSpan, service: str) -> Span:
    attributes = bounded(_attributes(span.attributes))
    failed = span.status.code == Status.STATUS_CODE_ERROR
    return Span(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        service=service,
        name=span.name[:MAX_NAME],
        start=_instant(span.start_time_unix_nano),
        end=_instant(span.end_time_unix_nano),
        error=str(attributes.get(names.REASON, "ERROR"))[:MAX_NAME] if failed else "",
        tenant=str(attributes.pop(names.TENANT, ""))[:63],
        run=str(attributes.get(names.RUN, ""))[:255],
        attributes=attributes,
    )


def _instant(nanoseconds: int) -> datetime:
    return EPOCH + timedelta(microseconds=nanoseconds // 1000)


def _attributes(pairs: Iterable[Any]) -> Iterator[tuple[str, Value]]:
    for pair in pairs:
        kind = pair.value.WhichOneof("value")
        if kind in ("string_value", "int_value", "double_value", "bool_value"):
            yield pair.key, getattr(pair.value, kind)


def _value_of(pairs: Iterable[Any], name: str) -> Value:
    return next((value for key, value in _attributes(pairs) if key == name), "")
