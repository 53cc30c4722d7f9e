"""Conversion of spans to protobuf."""

from graphmesh.telemetry import v1 as pb
from graphmesh_chassis.timestamps import to_timestamp

from graphmesh_telemetry.domain import Span


def message(span: Span) -> pb.Span:
    found = pb.Span(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_span_id=span.parent_id,
        service=span.service,
        name=span.name,
        start_time=to_timestamp(span.start),
        end_time=to_timestamp(span.end),
        failed=bool(span.error),
        error_type=span.error,
    )
    found.attributes.update(dict(span.attributes))
    return found
