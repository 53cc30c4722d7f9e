"""Tracing: the spans of traced calls, which join one trace from client to database.

Imported only where traces are on, since OpenTelemetry's SDK is slow to load.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from typing import Any

import grpc
from opentelemetry import trace
from opentelemetry.instrumentation.grpc import aio_server_interceptor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SpanExporter

from graphmesh_chassis import metadata
from graphmesh_chassis.calls import current_call
from graphmesh_chassis.effects import Replay
from graphmesh_chassis.errors import Cancelled, GraphmeshError, Internal
from graphmesh_chassis.handlers import Handler, implementation_of, with_implementation
from graphmesh_chassis.settings import ServerSettings
from graphmesh_chassis.telemetry import names, sampling
from graphmesh_chassis.telemetry.export import Pipeline
from graphmesh_chassis.telemetry.span_source import Spans

EXPORT_SECONDS = 10.0
"""How long an export may take, with its repetitions; then its spans are dropped."""


class Tracing:
    """The tracing of one process, by its settings.

    Args:
        exporter: receives the spans in batches, and what is left on `close`; by default as the settings state.

    `spans` records the spans of our own code, once `graphmesh_chassis.telemetry.spans.use` has it.
    """

    def __init__(self, service: str, settings: ServerSettings, exporter: SpanExporter | None = None) -> None:
        resource = Resource.create({names.SERVICE: service})
        pipeline = Pipeline(exporter or _exporter(settings), resource, settings.span_folder)
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(pipeline)
        self.spans = Spans(pipeline, resource)
        self._ratio = settings.trace_ratio
        self._server: Any = aio_server_interceptor(self._provider)  # type: ignore[no-untyped-call]

    def decide(self, headers: metadata.Metadata) -> bool:
        """Whether to trace the call with these headers; also kept for the calls that it makes."""
        return sampling.decide(headers, self._ratio)

    async def instrument(self, path: str, handler: Handler) -> Handler:
        """The same handler with a span around each call, whose attributes come from the current call."""
        inner = _with_context(handler, _SpanAttributes)

        async def continuation(_: grpc.HandlerCallDetails) -> Handler:
            return inner

        details: Any = _CallDetails(path)
        traced: Handler = await self._server.intercept_service(continuation, details)
        return _with_context(traced, _Unwrapping)

    def close(self) -> None:
        self._provider.shutdown()


class _CallDetails:
    """The attributes of `grpc.HandlerCallDetails` that the instrumentation reads."""

    def __init__(self, method: str) -> None:
        self.method = method
        self.invocation_metadata = ()


class _Wrapped(BaseException):
    """Hides an error from the instrumentation, which would record its message and with it customers' data."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _with_context(handler: Handler, context_manager: Callable[[], AbstractContextManager[None]]) -> Handler:
    """The same handler with a new context manager around each call."""
    inner: Callable[[Any, Any], Any] = implementation_of(handler)

    async def unary(request: Any, context: Any) -> Any:
        with context_manager():
            return await inner(request, context)

    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        with context_manager():
            async for response in inner(request, context):
                yield response

    implementation = stream if handler.response_streaming else unary
    return with_implementation(handler, implementation, handler.request_deserializer, handler.response_serializer)


class _Unwrapping(AbstractContextManager[None]):
    """Raises the error inside a `_Wrapped`, outside of the instrumentation."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, _Wrapped):
            raise error.error from error.error.__cause__


class _SpanAttributes(AbstractContextManager[None]):
    """Sets the identity of the call and its outcome on the current span."""

    def __enter__(self) -> None:
        call = current_call()
        fields = {
            names.TENANT: call.caller.tenant,
            names.RUN: call.header(metadata.RUN),
            names.THREAD: call.header(metadata.THREAD),
            names.NODE: call.header(metadata.NODE),
            names.EFFECT_KEY: names.shortened(call.effect_key),
            names.EPOCH: call.header(metadata.EPOCH),
        }
        span = trace.get_current_span()
        span.update_name(call.path[1:])
        span.set_attributes({name: value for name, value in fields.items() if value})

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        span = trace.get_current_span()
        if isinstance(error, Replay):
            span.set_attribute(names.REPLAYED, True)
        if not isinstance(error, Exception | asyncio.CancelledError):
            return
        sent = _sent_error(error)
        span.set_attribute(names.REASON, sent.reason)
        span.set_attribute(names.GRPC_CODE, sent.code.value[0])
        span.set_status(trace.StatusCode.ERROR)
        if isinstance(error, Exception):
            raise _Wrapped(error) from None


def _sent_error(error: BaseException) -> GraphmeshError:
    """The error that the caller receives for `error`."""
    if isinstance(error, GraphmeshError):
        return error
    return Internal() if isinstance(error, Exception) else Cancelled()


def _exporter(settings: ServerSettings) -> SpanExporter:
    if settings.traces == "console":
        return ConsoleSpanExporter()
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    headers = settings.otlp_headers.get_secret_value()
    return OTLPSpanExporter(endpoint=settings.otlp_endpoint, timeout=EXPORT_SECONDS, headers=headers or None)
