"""Tracing: how the spans of traced calls join into one trace from client to database (I1).

Imported only where traces are on: OpenTelemetry's SDK takes its time to load.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import grpc
from opentelemetry import trace
from opentelemetry.instrumentation.grpc import aio_client_interceptors, aio_server_interceptor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter

from graphmesh_chassis import metadata, names, sampling
from graphmesh_chassis.calls import current_call
from graphmesh_chassis.errors import Cancelled, GraphmeshError, Internal
from graphmesh_chassis.handlers import Handler, behaviour_of, with_behaviour
from graphmesh_chassis.settings import ServerSettings


class Tracing:
    """The tracing of one process, by its settings."""

    def __init__(self, service: str, settings: ServerSettings) -> None:
        self._provider = TracerProvider(resource=Resource.create({names.SERVICE: service}))
        self._provider.add_span_processor(BatchSpanProcessor(_exporter(settings)))
        self._ratio = settings.trace_ratio
        self._server: Any = aio_server_interceptor(self._provider)  # type: ignore[no-untyped-call]

    @property
    def client_interceptors(self) -> Sequence[grpc.aio.ClientInterceptor]:
        made: Sequence[grpc.aio.ClientInterceptor] = aio_client_interceptors(self._provider)  # type: ignore[no-untyped-call]
        return made

    def decide(self, headers: metadata.Metadata) -> bool:
        """Whether the call with these headers is traced; remembered for the calls that it makes itself."""
        return sampling.decide(headers, self._ratio)

    async def around(self, path: str, handler: Handler) -> Handler:
        """The same handler inside a span. Its attributes come from the current call."""
        inner = _with_attributes(handler)

        async def continuation(_: grpc.HandlerCallDetails) -> Handler:
            return inner

        details: Any = _Details(path)
        traced: Handler = await self._server.intercept_service(continuation, details)
        return _passing_on(traced)

    def close(self) -> None:
        self._provider.shutdown()


class _Details:
    """What the instrumentation reads of `grpc.HandlerCallDetails`."""

    def __init__(self, method: str) -> None:
        self.method = method
        self.invocation_metadata = ()


class _Passing(BaseException):
    """An error on its way through the instrumentation, which would record its message and so customers' data (H5)."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _with_attributes(handler: Handler) -> Handler:
    return _wrapped(handler, _Attributes)


def _passing_on(handler: Handler) -> Handler:
    return _wrapped(handler, _PassingOn)


def _wrapped(handler: Handler, around: Callable[[], AbstractContextManager[None]]) -> Handler:
    """The same handler, with `around()` around each call."""
    inner: Callable[[Any, Any], Any] = behaviour_of(handler)

    async def unary(request: Any, context: Any) -> Any:
        with around():
            return await inner(request, context)

    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        with around():
            async for response in inner(request, context):
                yield response

    behaviour = stream if handler.response_streaming else unary
    return with_behaviour(handler, behaviour, handler.request_deserializer, handler.response_serializer)


class _PassingOn(AbstractContextManager[None]):
    """Lets the error go on as itself, behind the instrumentation."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, _Passing):
            raise error.error from error.error.__cause__


class _Attributes(AbstractContextManager[None]):
    """Says on the current span whose call it is, and how it ended."""

    def __enter__(self) -> None:
        call = current_call()
        fields = {
            names.TENANT: call.caller.tenant,
            names.RUN: call.header(metadata.RUN),
            names.THREAD: call.header(metadata.THREAD),
            names.NODE: call.header(metadata.NODE),
            names.EFFECT_KEY: call.effect_key,
        }
        trace.get_current_span().set_attributes({name: value for name, value in fields.items() if value})

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if not isinstance(error, Exception | asyncio.CancelledError):
            return  # A stored response that is sent again is a success.
        span = trace.get_current_span()
        known = _known(error)
        span.set_attribute(names.REASON, known.reason)
        span.set_attribute(names.GRPC_CODE, known.code.value[0])
        span.set_status(trace.StatusCode.ERROR)
        if isinstance(error, Exception):
            raise _Passing(error) from None


def _known(error: BaseException) -> GraphmeshError:
    """What the caller will see of `error`."""
    if isinstance(error, GraphmeshError):
        return error
    return Internal() if isinstance(error, Exception) else Cancelled()


def _exporter(settings: ServerSettings) -> SpanExporter:
    if settings.traces == "console":
        return ConsoleSpanExporter()
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(endpoint=settings.otlp_endpoint)
