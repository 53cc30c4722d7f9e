"""A run continues the trace of the program that creates it, where that has one."""

import re

from graphmesh_chassis import metadata
from graphmesh_chassis.telemetry.sampling import TRACEPARENT
from graphmesh_client.tracing import trace_headers
from opentelemetry.sdk.trace import TracerProvider


def test_run_is_the_root_of_a_new_trace_in_a_program_without_spans() -> None:
    """Under the id that the client states; each run has another trace."""
    first, second = dict(trace_headers()), dict(trace_headers())
    assert re.fullmatch(rf"00-[0-9a-f]{{32}}-{first[metadata.RUN_SPAN]}-01", first[TRACEPARENT])
    assert first[TRACEPARENT] != second[TRACEPARENT]


def test_run_is_below_the_present_span_of_the_program() -> None:
    with TracerProvider().get_tracer("program").start_as_current_span("request") as span:
        headers = dict(trace_headers())
        context = span.get_span_context()
    expected = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    assert headers == {TRACEPARENT: expected, metadata.CLIENT_TRACE: expected}


def test_a_call_that_lasts_as_long_as_the_run_is_above_it() -> None:
    assert trace_headers(waits=True) == []
