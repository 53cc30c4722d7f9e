"""The adapter between grpc.aio's handlers, of all four arities, and hooks over calls."""

import inspect
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from graphmesh_contracts import MethodPolicy, Overrides, method_policy

from graphmesh_chassis import metadata
from graphmesh_chassis.calls import Call, serialized
from graphmesh_chassis.errors import MalformedMessage, UnknownMethod, WorkloadNotAllowed
from graphmesh_chassis.handlers import Handler, implementation_of, with_implementation, with_reading
from graphmesh_chassis.hooks import Hook, Proceed, decode, inside
from graphmesh_chassis.status import to_grpc
from graphmesh_chassis.tenant_turns import work_for
from graphmesh_chassis.validation import check_response

if TYPE_CHECKING:
    from graphmesh_chassis.telemetry.tracing import Tracing
    from graphmesh_chassis.workload import Workload

INCOMPLETE = "The request ended before its message was complete"

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class HookInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every method in the hooks of its service. Services without hooks (health, reflection) stay unchanged."""

    def __init__(
        self,
        hooks: Mapping[str, Sequence[Hook]],
        overrides: Overrides,
        tracing: "Tracing | None",
        workload: "Workload | None" = None,
    ) -> None:
        """`workload` checks the callers of the services without hooks."""
        self._workload = workload
        self._hooks = hooks
        self._overrides = overrides
        self._tracing = tracing
        self._handlers: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable["Handler | None"]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        work_for(_tenant(handler_call_details))
        path = str(handler_call_details.method)
        if path not in self._handlers:
            handler = await continuation(handler_call_details)
            if handler is None:
                return grpc.stream_unary_rpc_method_handler(_freeing_frames(_unknown_method(path)))
            self._handlers[path] = await self._with_hooks(path, handler)
        return self._handlers[path]

    async def _with_hooks(self, path: str, handler: Handler) -> Handler:
        hooks = self._hooks.get(path[1:].partition("/")[0])
        if hooks is None:
            if self._workload:
                handler = _of_workloads(handler, path, self._workload)
            return handler if handler.request_streaming else _reading_one(handler)
        descriptor = descriptor_pool.Default().FindMethodByName(path[1:].replace("/", "."))
        method = _Method(path, descriptor, method_policy(descriptor, self._overrides))
        traced = await self._tracing.instrument(path, handler) if self._tracing else handler
        implementations = _Implementations(implementation_of(handler), implementation_of(traced), self._tracing)
        # Requests arrive as bytes, so that a hook decodes them and a malformed one is the caller's error.
        answer = partial(_stream if handler.response_streaming else _answer, implementations)
        respond = _responding(method, inside(hooks, answer))
        if not handler.request_streaming:
            respond = _after_reading(respond)
        return with_reading(handler, _freeing_frames(respond), None, serialized)


def _tenant(details: grpc.HandlerCallDetails) -> str:
    """The tenant that a call states, before its identity is checked: so that it takes turns from its first step on."""
    for name, value in details.invocation_metadata:
        if name == metadata.TENANT:
            return str(value)
    return ""


@dataclass(frozen=True)
class _Implementations:
    """A servicer's method, without and with a span around it."""

    plain: Any
    traced: Any
    tracing: "Tracing | None"

    def select(self, call: Call) -> Any:
        return self.traced if self.tracing and self.tracing.decide(call.headers) else self.plain


class _Method:
    """The properties that all calls of a method share."""

    def __init__(self, path: str, descriptor: MethodDescriptor, policy: MethodPolicy) -> None:
        self.path, self.descriptor, self.policy = path, descriptor, policy
        self.request_type = GetMessageClass(descriptor.input_type)
        self.response_type = GetMessageClass(descriptor.output_type)

    def new_call(self, incoming: Any, context: Context) -> Call:
        return Call(
            method=self.descriptor,
            request_type=self.request_type,
            response_type=self.response_type,
            path=self.path,
            policy=self.policy,
            context=context,
            headers=metadata.as_mapping(context.invocation_metadata()),
            incoming=incoming,
        )


def _responding(method: _Method, proceed: Proceed) -> Any:
    async def respond(incoming: Any, context: Context) -> Message | None:
        call = method.new_call(incoming, context)
        await proceed(call)
        return call.response

    return respond


async def _answer(implementations: _Implementations, call: Call) -> None:
    """Set the response of a call."""
    call.response = await implementations.select(call)(_requests(call), call.context)


async def _stream(implementations: _Implementations, call: Call) -> None:
    """Write the responses of a call: messages, or serialized ones.

    Not an async generator: one abandoned between two yields would hold its slot until it is garbage collected.
    """
    async with aclosing(implementations.select(call)(_requests(call), call.context)) as responses:
        async for response in responses:
            if call.validates_responses:
                check_response(_parsed(response, call), call.path)
            await call.context.write(response)


def _parsed(response: Message | bytes, call: Call) -> Message:
    return call.response_type.FromString(response) if isinstance(response, bytes) else response


def _of_workloads(handler: Handler, path: str, workload: "Workload") -> Handler:
    """A handler that refuses workloads which may not call it."""
    respond = implementation_of(handler)

    async def check(context: Context) -> None:
        try:
            workload.require_caller(path, context)
        except WorkloadNotAllowed as error:
            await context.abort_with_status(to_grpc(error))

    async def stream(incoming: Any, context: Context) -> AsyncIterator[Message]:
        await check(context)
        async for response in respond(incoming, context):
            yield response

    async def answer(incoming: Any, context: Context) -> Message | None:
        await check(context)
        response: Message | None = await respond(incoming, context)
        return response

    guarded = stream if inspect.isasyncgenfunction(respond) else answer
    return with_implementation(handler, guarded, handler.request_deserializer, handler.response_serializer)


def _reading_one(handler: Handler) -> Handler:
    respond = _freeing_frames(_after_reading(implementation_of(handler)))
    return with_reading(handler, respond, handler.request_deserializer, handler.response_serializer)


def _after_reading(respond: Any) -> Any:
    """`respond`, called with the request when it is complete; a call that ends before that is refused.

    grpc.aio itself does not respond to such a call: it would stay open until its deadline, and hold a place at Envoy.
    """

    async def after_reading(_: object, context: Context) -> Message | None:
        request = await context.read()
        if request is grpc.aio.EOF:
            await context.abort_with_status(to_grpc(MalformedMessage(INCOMPLETE)))
        response: Message | None = await respond(request, context)
        return response

    return after_reading


def _freeing_frames(respond: Any) -> Any:
    """`respond`, whose frames are cleared when it aborts a call.

    gRPC keeps the abort in the state of the call, and the abort's traceback keeps frames that refer to the request and
    to that state. This cycle would wait for the garbage collector, which counts objects and not their megabytes.
    """

    async def freeing_frames(incoming: Any, context: Context) -> Message | None:
        try:
            response: Message | None = await respond(incoming, context)
        except grpc.aio.BaseError as abort:
            del incoming, context
            traceback.clear_frames(abort.__traceback__)
            abort.__context__ = None
            raise
        return response

    return freeing_frames


def _requests(call: Call) -> Message | AsyncIterator[Message]:
    return _decoded(call) if call.request is None else call.request


async def _decoded(call: Call) -> AsyncIterator[Message]:
    if not isinstance(call.incoming, bytes):
        async for payload in call.incoming:
            yield decode(payload, call)


def _unknown_method(path: str) -> Any:
    async def refuse(_: object, context: Context) -> None:
        await context.abort_with_status(to_grpc(UnknownMethod(method=path)))

    return refuse
