"""Client side: channels and typed calls, whose failures are errors of the mesh."""

from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from graphmesh_contracts import Method, Rpc, StreamingRpc

from graphmesh_chassis import metadata
from graphmesh_chassis.connection import Connection, WorkloadConnection
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import DeadlineExceeded, GraphmeshError, InvalidResponse
from graphmesh_chassis.foreign_responses import check_foreign_response
from graphmesh_chassis.status import from_rpc_error
from graphmesh_chassis.telemetry import spans
from graphmesh_chassis.telemetry.sampling import NOT_SAMPLED, TRACEPARENT, is_excluded

if TYPE_CHECKING:
    from graphmesh_chassis.call_tokens import CallSigner
    from graphmesh_chassis.workload import Workload

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""The limit of a message that a server reads; up to here the rules of the message's fields apply."""
MAX_METADATA_BYTES = 32 * 1024
CLOCK_ATTEMPTS = 2
"""Further attempts of a call whose token a service refuses by its clock. Clocks of replicas may differ."""
MAX_ARRIVING_CALLS = 1_000_000
"""More than Envoy passes at a time."""

SERVER_OPTIONS: Sequence[tuple[str, Any]] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    # Calls that arrive at once wait for the admission here, which is fair. By default the library refuses random ones
    # above 1,000 of them with CANCELLED, also those of other tenants.
    ("grpc.server.max_pending_requests", MAX_ARRIVING_CALLS),
    ("grpc.server.max_pending_requests_hard_limit", MAX_ARRIVING_CALLS),
    ("grpc.so_reuseport", 0),  # a second server on the same port fails, and does not share the calls silently
    ("grpc.http2.max_ping_strikes", 0),  # clients and Envoy may ping: it is how they detect a half-dead connection
)
CHANNEL_OPTIONS: Sequence[tuple[str, Any]] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.enable_http_proxy", 0),  # the mesh is never behind a proxy that the environment names
    ("grpc.enable_retries", 0),  # each kind of failure has one retry owner, and gRPC is none of them
    # Short, so that a restarted Envoy is reached before the attempts of a call are used up.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 2000),  # in spite of its name, the timeout of one attempt to connect
    # A connection without an answer to a ping is closed: else all later calls would be sent over it, and time out.
    # The answer may take long behind a large message on a slow link. The last option is for the library's other pings,
    # which delay those of the keepalive; its default is a minute.
    ("grpc.keepalive_time_ms", 5000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
)

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)
Headers = Sequence[tuple[str, str]]


class Channel:
    """A connection to the mesh, or to one server, for any RPC. `async with` closes it."""

    def __init__(
        self,
        address: str,
        *,
        tls: bool = False,
        signer: "CallSigner | None" = None,
        workload: "Workload | None" = None,
    ) -> None:
        """
        Args:
            tls: encrypt the connection, to a server with a certificate that the system trusts.
            signer: adds a token to each call, of what its headers state.
            workload: the certificate of this program, for a mesh listener with mutual TLS.
        """
        credentials = grpc.ssl_channel_credentials() if tls else None
        self._connection = (
            WorkloadConnection(address, CHANNEL_OPTIONS, workload)
            if workload
            else Connection(address, CHANNEL_OPTIONS, credentials)
        )
        self._signer = signer

    async def __aenter__(self) -> "Channel":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()

    async def unary(
        self, rpc: Rpc[RequestT, ResponseT], request: RequestT, *, deadline: Deadline, headers: Headers = ()
    ) -> ResponseT:
        """Make one call.

        Raises:
            DeadlineExceeded: no time is left, so that nothing was sent; or no response came in time.
            GraphmeshError: the error of the service, or of the mesh where no service responded.
        """
        response, _ = await self._respond(rpc, request, deadline, headers)
        return response

    async def effect(
        self, rpc: Rpc[RequestT, ResponseT], request: RequestT, *, deadline: Deadline, headers: Headers = ()
    ) -> tuple[ResponseT, bool]:
        """As `unary`; also returns whether the response is a stored one, so that this call has changed nothing."""
        response, call = await self._respond(rpc, request, deadline, headers)
        return response, metadata.REPLAYED in metadata.as_mapping(await call.trailing_metadata())

    async def stream(
        self,
        rpc: StreamingRpc[RequestT, ResponseT],
        request: RequestT,
        *,
        deadline: Deadline | None,
        headers: Headers = (),
    ) -> AsyncGenerator[ResponseT, None]:
        """Make one call whose responses are streamed; without a deadline it lasts until one side ends it.

        Raises as `unary` does, also between two responses.
        """
        has_begun, attempts_left = False, CLOCK_ATTEMPTS
        while True:
            timeout = _timeout(rpc, deadline)
            connection = self._connection.present()
            make, sent = self._callable(connection, rpc, "unary_stream", headers)
            call = make(request, timeout=timeout, metadata=sent)
            try:
                with connection:
                    async for response in call:
                        has_begun = True
                        yield _checked(response, rpc)
                return
            except grpc.aio.AioRpcError as error:
                refusal = from_rpc_error(error, rpc.tool)
                if has_begun or not attempts_left or not self._follows_clock(rpc, refusal):
                    raise refusal from error
            finally:
                call.cancel()
            attempts_left -= 1

    async def _respond(
        self, rpc: Rpc[RequestT, ResponseT], request: RequestT, deadline: Deadline, headers: Headers
    ) -> tuple[ResponseT, Any]:
        """Make one call, and return its response with the call. Raises as `unary`."""
        attempts_left = CLOCK_ATTEMPTS
        while True:
            timeout = _timeout(rpc, deadline)
            connection = self._connection.present()
            make, sent = self._callable(connection, rpc, "unary_unary", headers)
            call = make(request, timeout=timeout, metadata=sent)
            try:
                with connection:
                    return _checked(await call, rpc), call
            except grpc.aio.AioRpcError as error:
                refusal = from_rpc_error(error, rpc.tool)
                if not attempts_left or not self._follows_clock(rpc, refusal):
                    raise refusal from error
            attempts_left -= 1

    def _follows_clock(self, rpc: Method[Any, Any], refusal: GraphmeshError) -> bool:
        """Return whether a call that was refused for the time of its token has another one now: it was not executed."""
        return self._signer is not None and self._signer.follow_clock(rpc.path, refusal)

    def _callable(
        self, connection: Connection, rpc: Method[Any, Any], arity: str, headers: Headers
    ) -> tuple[Any, Headers]:
        if rpc.path not in connection.callables:
            make = getattr(connection.channel, arity)
            decode = partial(_decoded, rpc.response)
            connection.callables[rpc.path] = make(rpc.path, rpc.request.SerializeToString, decode)
        if spans.is_recording():
            headers = (*headers, *_trace_headers())
        if self._signer is not None:
            headers = self._signer.sign(rpc.path, headers)
        return connection.callables[rpc.path], headers


def _trace_headers() -> Headers:
    if present := spans.present():
        return ((TRACEPARENT, present),)
    return (NOT_SAMPLED,) if is_excluded() else ()


def _decoded(response: type[ResponseT], content: bytes) -> ResponseT | None:
    """Decode a response; None for one of another type, which gRPC would log and treat likewise."""
    try:
        return response.FromString(content)
    except DecodeError:
        return None


def _checked(response: ResponseT | None, rpc: Method[Any, ResponseT]) -> ResponseT:
    """Raises InvalidResponse where a response could not be decoded, or is not what the contract of its service says."""
    if response is None:
        message = (
            f"{rpc.tool}: the response is no {rpc.response.DESCRIPTOR.full_name}: the service has another contract"
        )
        raise InvalidResponse(message, method=rpc.path)
    check_foreign_response(response, rpc)
    return response


def _timeout(rpc: Method[Any, Any], deadline: Deadline | None) -> float | None:
    """The remaining seconds of a call. Without any it is not sent: gRPC would race the response against the deadline.

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
