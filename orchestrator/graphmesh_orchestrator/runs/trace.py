"""The trace of a run: one from its creation to its end, whichever workers execute it and however long it is parked."""

import random
import re
import time
from dataclasses import dataclass
from hashlib import sha256
from typing import Self

from graphmesh_chassis import metadata
from graphmesh_chassis.telemetry import sampling, spans
from graphmesh_chassis.telemetry.sampling import TRACEPARENT, is_traced

from graphmesh_orchestrator.runs.run import Run

_TRACEPARENT = re.compile(r"00-(?!0{32}|f{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}")
_SPAN_ID = re.compile(r"(?!0{16})[0-9a-f]{16}")
_SECONDS = re.compile(r"[0-9]{1,12}\.[0-9]{1,9}")


@dataclass(frozen=True)
class RunTrace:
    """The place of a run in its trace."""

    traceparent: str
    """That of the run's own span, which the worker emits that ends the run. Its flags have the decision at the head."""
    parent: str
    """The id of the span above; empty where the run is the root of its trace."""
    begun: int
    """When the span begins, in nanoseconds since 1970."""

    @property
    def is_sampled(self) -> bool:
        return self.traceparent[-1] in sampling.SAMPLED

    @property
    def sampled(self) -> str:
        """The traceparent for spans that are written after a decision at the end."""
        return f"{self.traceparent[:-2]}01"

    @classmethod
    def of(cls, run: Run, ratio: float) -> Self:
        """Return the trace that is stored with a run; where none is, as of schedules, one that each process derives.

        Args:
            ratio: the share of such runs that are sampled.
        """
        if run.request.trace:
            traceparent, parent, stated = run.request.trace.split("/")
            return cls(traceparent, parent, int(stated))
        digest = sha256(run.run_id.encode()).hexdigest()
        flags = "01" if sampling.is_drawn(digest[:32], ratio) else "00"
        begun = max(run.request.created.timestamp(), run.request.due)
        return cls(f"00-{digest[:32]}-{digest[32:48]}-{flags}", "", round(begun * 1e9))

    @property
    def stored(self) -> str:
        """Its form in the column of `runs`."""
        return f"{self.traceparent}/{self.parent}/{self.begun}"


def new_trace(headers: metadata.Metadata) -> str:
    """Return the trace of a run that the present call creates, as it is stored; empty where no spans are recorded.

    The run's span is below the client's own; where the client has no spans and names the id of the run's, it is that
    one, and the root; without either it is below the span of the call.
    """
    if not spans.is_recording():
        return ""
    flags = "01" if is_traced() else "00"
    sent = _match(_TRACEPARENT, headers, TRACEPARENT)
    if sent and (own := _match(_SPAN_ID, headers, metadata.RUN_SPAN)):
        return RunTrace(f"00-{sent[1]}-{own[0]}-{flags}", "", _begun(headers)).stored
    above = _match(_TRACEPARENT, headers, metadata.CLIENT_TRACE) or _TRACEPARENT.fullmatch(spans.present())
    trace_id = above[1] if above else sent[1] if sent else f"{random.getrandbits(128) or 1:032x}"
    own_id = f"{random.getrandbits(64) or 1:016x}"
    return RunTrace(f"00-{trace_id}-{own_id}-{flags}", above[2] if above else "", time.time_ns()).stored


def _begun(headers: metadata.Metadata) -> int:
    """Return when the edge, or this server, has received the call, in nanoseconds since 1970."""
    stated = _match(_SECONDS, headers, metadata.EDGE_START)
    at_edge = round(float(stated[0]) * 1e9) if stated else 0
    return min(begun for begun in (at_edge, spans.begun(), time.time_ns()) if begun)


def _match(pattern: re.Pattern[str], headers: metadata.Metadata, name: str) -> re.Match[str] | None:
    return pattern.fullmatch(metadata.text(headers, name))
