"""Calling: channels and typed calls, with failures as the mesh's own errors."""

from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
from google.protobuf.message import Message
from graphmesh_contracts import Rpc

from graphmesh_chassis import metadata
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import DeadlineExceeded
from graphmesh_chassis.sampling import NOT_SAMPLED, is_traced
from graphmesh_chassis.status import from_rpc_error

if TYPE_CHECKING:
    from graphmesh_chassis.telemetry import Tracing

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""What a server reads at the most; a message up to here is answered by the rules of its fields."""
MAX_METADATA_BYTES = 32 * 1024

SERVER_OPTIONS: Sequence[tuple[str, Any]] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.so_reuseport", 0),  # a second server on the same port is an error, not a silent share of the calls
)
CHANNEL_OPTIONS: Sequence[tuple[str, Any]] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.enable_http_proxy", 0),  # the mesh is never behind the proxy that the environment may name
    ("grpc.enable_retries", 0),  # retries have one owner each; gRPC's own would be one more
    # An Envoy that is back is found before the attempts of a call are used up.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 2000),  # which is, whatever its name, how long one attempt to connect may take
)

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)
Headers = Sequence[tuple[str, str]]


class Channel:
    """A connection to the mesh, or to one server, for any RPC. Close it with `async with`."""

    def __init__(self, address: str, tracing: "Tracing | None" = None) -> None:
        self._plain = grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        self._traced = (
            grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS, interceptors=tracing.client_interceptors)
            if tracing
            else None
        )
        self._callables: dict[tuple[str, bool], Any] = {}

    async def __aenter__(self) -> "Channel":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._plain.close()
        if self._traced:
            await self._traced.close()

    async def unary(
        self, rpc: Rpc[RequestT, ResponseT], request: RequestT, *, deadline: Deadline, headers: Headers = ()
    ) -> ResponseT:
        """Make one call.

        Raises:
            DeadlineExceeded: no time is left, so that nothing was sent; or no response came in time.
            GraphmeshError: what the service answered, or what the mesh says of why it did not.
        """
        timeout = _timeout(rpc, deadline)
        call, headers = self._callable(rpc, "unary_unary", headers)
        try:
            response: ResponseT = await call(request, timeout=timeout, metadata=headers)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error, rpc.tool) from error
        return response

    async def effect(
        self, rpc: Rpc[RequestT, ResponseT], request: RequestT, *, deadline: Deadline, headers: Headers = ()
    ) -> tuple[ResponseT, bool]:
        """As `unary`; also whether the response is a stored one, so that this call has changed nothing."""
        timeout = _timeout(rpc, deadline)
        make, headers = self._callable(rpc, "unary_unary", headers)
        call = make(request, timeout=timeout, metadata=headers)
        try:
            response: ResponseT = await call
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error, rpc.tool) from error
        return response, metadata.REPLAYED in metadata.as_mapping(await call.trailing_metadata())

    async def stream(
        self, rpc: Rpc[RequestT, ResponseT], request: RequestT, *, deadline: Deadline | None, headers: Headers = ()
    ) -> AsyncGenerator[ResponseT, None]:
        """Make one call whose responses are streamed; without a deadline it lasts until one side ends it.

        Raises as `unary` does, also between two responses.
        """
        timeout = _timeout(rpc, deadline)
        make, headers = self._callable(rpc, "unary_stream", headers)
        call = make(request, timeout=timeout, metadata=headers)
        try:
            async for response in call:
                yield response
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error, rpc.tool) from error
        finally:
            call.cancel()

    def _callable(self, rpc: Rpc[Any, Any], arity: str, headers: Headers) -> tuple[Any, Headers]:
        traced = self._traced is not None and is_traced()
        channel = self._traced if self._traced is not None and traced else self._plain
        key = (rpc.path, traced)
        if key not in self._callables:
            make = getattr(channel, arity)
            self._callables[key] = make(rpc.path, rpc.request.SerializeToString, rpc.response.FromString)
        if self._traced is not None and not traced:
            headers = (*headers, NOT_SAMPLED)
        return self._callables[key], headers


def _timeout(rpc: Rpc[Any, Any], deadline: Deadline | None) -> float | None:
    """The remaining seconds of a call. Without any it is not sent: gRPC would race its answer against its end.

    Raises:
        DeadlineExceeded: none are left.
    """
    if deadline is None:
        return None
    if (remaining := deadline.remaining) <= 0:
        error = DeadlineExceeded(tool=rpc.tool)
        error.may_have_happened = False
        raise error
    return remaining
