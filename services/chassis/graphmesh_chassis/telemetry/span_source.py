"""The spans of the code of the mesh, beside those of OpenTelemetry's instrumentation of gRPC and in the same traces."""

import asyncio
import time
from contextlib import AbstractContextManager
from contextvars import Token

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan

from graphmesh_chassis.errors import GraphmeshError
from graphmesh_chassis.telemetry import sampling
from graphmesh_chassis.telemetry.export import Pipeline
from graphmesh_chassis.telemetry.readable import context_of, readable, text_of
from graphmesh_chassis.telemetry.spans import Attributes, Finished, Kind, Span, Value, below


class Spans:
    """Records the spans of a process, and the trace that its code is in."""

    def __init__(self, pipeline: Pipeline, resource: Resource) -> None:
        self._pipeline, self._resource = pipeline, resource

    def span(
        self, name: str, kind: Kind, attributes: Attributes, own: str, parent: str
    ) -> AbstractContextManager[Span]:
        return _Open(self, name, kind, attributes, own, parent)

    def joined(self, traceparent: str) -> AbstractContextManager[None]:
        return _Joined(traceparent)

    def present(self) -> str:
        context = trace.get_current_span().get_span_context()
        return text_of(context) if context.is_valid else ""

    def begun(self) -> int:
        return getattr(trace.get_current_span(), "start_time", None) or 0

    def begin(self, span: Finished) -> None:
        self._pipeline.begin(span)

    def emit(self, finished: Finished) -> None:
        self._pipeline.on_end(readable(finished, self._resource))


class _Open(AbstractContextManager[Span]):
    """A span from its beginning to its end."""

    def __init__(self, spans: Spans, name: str, kind: Kind, attributes: Attributes, own: str, parent: str) -> None:
        self._spans, self._name, self._kind, self._parent = spans, name, kind, parent
        self._attributes: dict[str, Value] = {**attributes}
        self._own, self._reason, self._start = own, "", 0
        self._token: Token[Context] | None = None

    def __enter__(self) -> Span:
        self._parent = self._parent or self._spans.present()
        self._own = self._own or below(self._parent)
        self._token = _attached(self._own)
        self._start = time.time_ns()
        self._spans.begin(self._finished(0))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if self._token is not None:
            _detach(self._token)
        if error is not None and not self._reason:
            self._reason = reason_of(error)
        self._spans.emit(self._finished(time.time_ns()))

    def set(self, attributes: Attributes, /) -> None:
        self._attributes |= attributes

    def fail(self, reason: str, /) -> None:
        self._reason = reason

    def _finished(self, end: int) -> Finished:
        fields = (self._name, self._own, self._parent, self._start, end, self._kind, self._attributes, self._reason)
        return Finished(*fields)


class _Joined(AbstractContextManager[None]):
    """The trace of another span, as the present one."""

    def __init__(self, traceparent: str) -> None:
        self._traceparent = traceparent
        self._traced = traceparent[-1:] in sampling.SAMPLED if traceparent else False
        self._token: Token[Context] | None = None
        self._decided: Token[bool | None] | None = None

    def __enter__(self) -> None:
        self._decided = sampling.set_traced(self._traced)
        if self._traced:
            self._token = _attached(self._traceparent)

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            _detach(self._token)
        if self._decided is not None:
            sampling.reset_traced(self._decided)


def _attached(traceparent: str) -> Token[Context]:
    return contexts.attach(trace.set_span_in_context(NonRecordingSpan(context_of(traceparent))))


def _detach(token: Token[Context]) -> None:
    """Restore the context before; in a generator that another task closes, there is none to restore."""
    try:
        token.var.reset(token)
    except ValueError:
        return


def reason_of(error: BaseException) -> str:
    """Return the reason of an error, or its type, without its message, which may have customers' data."""
    if isinstance(error, GraphmeshError):
        return error.reason
    return "CANCELLED" if isinstance(error, asyncio.CancelledError | GeneratorExit) else type(error).__qualname__
