"""The trace of a call that creates a run: that of the program, where it has one, else a new one for the run."""

import random
import sys

from graphmesh_chassis import metadata
from graphmesh_chassis.channel import Headers
from graphmesh_chassis.telemetry import spans
from graphmesh_chassis.telemetry.sampling import TRACEPARENT, is_excluded, is_traced


def trace_headers(*, waits: bool = False) -> Headers:
    """Return the headers with which a run continues the trace of the program.

    In a program that records spans with OpenTelemetry, the run is below the present one. Elsewhere the run is the root
    of a new trace, since this client exports nothing; whether it is sampled the mesh decides.

    Args:
        waits: whether the call lasts as long as the run, so that the run is below the call.
    """
    if is_traced() and (present := spans.present()):  # within a run of the mesh, whose channels add the traceparent
        return [(metadata.CLIENT_TRACE, present)]
    if is_excluded() and spans.is_recording():
        return []  # within a run that is not sampled, likewise
    if present := _present():
        return [(TRACEPARENT, present), (metadata.CLIENT_TRACE, present)]
    if waits:
        return []
    trace, own = random.getrandbits(128) or 1, f"{random.getrandbits(64) or 1:016x}"
    return [(TRACEPARENT, f"00-{trace:032x}-{own}-01"), (metadata.RUN_SPAN, own)]


def _present() -> str:
    """Return the traceparent of the present span; empty where there is none, or no OpenTelemetry."""
    api = sys.modules.get("opentelemetry.trace")
    context = api.get_current_span().get_span_context() if api else None
    if context is None or not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
