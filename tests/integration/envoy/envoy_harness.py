"""A test harness: a real Envoy in front of in-process replicas whose behaviour a test sets."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from graphmesh_local.child_process import Child, Program, reserve_port
from graphmesh_local.probes import http_get, http_probe
from graphmesh_mesh.envoy.binary import serve_command
from graphmesh_mesh.envoy.clusters import DEFAULT_SETTINGS, ClusterSettings
from graphmesh_mesh.envoy.folder import write
from graphmesh_mesh.envoy.render import render
from graphmesh_mesh.service import Listener
from graphmesh_mesh.topology import Mesh, parse
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.integration.envoy import books_contract

MESSAGE_BYTES = 16 * 1024 * 1024
OPTIONS = [
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.use_local_subchannel_pool", 1),
]

Handler = Callable[[Any, Any], Awaitable[Any]]


@dataclass(frozen=True)
class ReceivedCall:
    """A call as a replica received it."""

    method: str
    metadata: Mapping[str, str]
    remaining: float | None
    """Seconds until its deadline."""


class Replica(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # grpc_health has no types.
    """A replica of BookService. `handler` answers unary calls, `health` is its health status."""

    def __init__(self) -> None:
        self.received: list[ReceivedCall] = []
        self.handler: Handler = respond
        self.released = asyncio.Event()
        self.health = health_pb2.HealthCheckResponse.SERVING
        self.health_checks: set[str] = set()
        """The service names of the health checks received."""

    async def block(self, request: Any, context: Any) -> Any:
        """A handler that responds when the test sets `released`."""
        await self.released.wait()
        return await respond(request, context)

    async def unary(self, request: Any, context: Any) -> Any:
        self._record(request, context)
        return await self.handler(request, context)

    async def list_books(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self._record(request, context)
        yield books_contract.message("ListBooksResponse", book_id="first")
        await self.released.wait()
        yield books_contract.message("ListBooksResponse", book_id="last")

    async def Check(self, request: Any, context: Any) -> health_pb2.HealthCheckResponse:
        self.health_checks.add(request.service)
        return health_pb2.HealthCheckResponse(status=self.health)

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        yield health_pb2.HealthCheckResponse(status=self.health)
        await self.released.wait()

    def handlers(self) -> grpc.GenericRpcHandler:
        methods: dict[str, Any] = {
            method: grpc.unary_unary_rpc_method_handler(self.unary, **serializers(method))
            for method in books_contract.UNARY
        }
        methods["ListBooks"] = grpc.unary_stream_rpc_method_handler(self.list_books, **serializers("ListBooks"))
        return grpc.method_handlers_generic_handler(books_contract.SERVICE, methods)

    def _record(self, request: Any, context: Any) -> None:
        method = type(request).__name__.removesuffix("Request")
        self.received.append(ReceivedCall(method, dict(context.invocation_metadata()), context.time_remaining()))

    @asynccontextmanager
    async def serving(
        self, listener: Listener, tls: grpc.ServerCredentials | None = None
    ) -> AsyncIterator[grpc.aio.Server]:
        server = grpc.aio.server(options=OPTIONS)
        server.add_generic_rpc_handlers((self.handlers(),))
        health_pb2_grpc.add_HealthServicer_to_server(self, server)
        if tls:
            server.add_secure_port(listener.target, tls)
        else:
            server.add_insecure_port(listener.target)
        await server.start()
        try:
            yield server
        finally:
            await server.stop(None)


def serializers(method: str) -> dict[str, Any]:
    return {
        "request_deserializer": books_contract.type_of(f"{method}Request").FromString,
        "response_serializer": lambda response: response.SerializeToString(),
    }


async def respond(request: Any, context: Any) -> Any:
    match type(request).__name__:
        case "GetBookRequest":
            return books_contract.message("GetBookResponse", book_id="book")
        case "PutBookRequest":
            return books_contract.message("PutBookResponse", length=len(request.text))
        case _:
            return books_contract.message("DiscardBookResponse")


def failing(code: grpc.StatusCode, message: str = "set by the test", **trailing: str) -> Handler:
    """Return a handler that fails before initial metadata, as the chassis does."""

    async def fail(request: Any, context: Any) -> Any:
        await context.abort(code, message, tuple(trailing.items()))

    return fail


@dataclass(frozen=True)
class Outcome:
    """The result of a call as its caller received it."""

    code: grpc.StatusCode
    details: str
    initial: Mapping[str, str]
    trailing: Mapping[str, str]
    response: Any
    seconds: float

    @property
    def flags(self) -> str:
        """Envoy's response flags: in the trailing metadata, the only metadata of Envoy's own replies."""
        return self.trailing.get("x-envoy-response-flags", "")


class Caller:
    """A client of one listener, with a connection of its own."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    async def __call__(
        self,
        method: str = "GetBook",
        timeout: float | None = 60,
        headers: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> Outcome:
        """Make one unary call."""
        return await outcome(self.start(method, timeout, headers, **fields))

    def start(
        self, method: str, timeout: float | None = 60, headers: Mapping[str, str] | None = None, **fields: Any
    ) -> Any:
        """Start one unary call."""
        request = books_contract.message(f"{method}Request", **fields).SerializeToString()
        parse = books_contract.type_of(f"{method}Response").FromString
        rpc: Any = self._channel.unary_unary(books_contract.path(method), response_deserializer=parse)
        return rpc(request, timeout=timeout, metadata=tuple((headers or {}).items()))

    def raw(self, path: str, request: bytes = b"") -> Any:
        """Call any path with a serialized request."""
        rpc: Any = self._channel.unary_unary(path)
        return rpc(request, timeout=60)

    def watch_health(self, metadata: tuple[tuple[str, str], ...]) -> Any:
        """Start a stream of the standard health service."""
        rpc: Any = self._channel.unary_stream("/grpc.health.v1.Health/Watch")
        return rpc(b"", timeout=60, metadata=metadata)

    def list_books(self, timeout: float | None = None) -> Any:
        """Start the stream of ListBooks."""
        parse = books_contract.type_of("ListBooksResponse").FromString
        rpc: Any = self._channel.unary_stream(books_contract.path("ListBooks"), response_deserializer=parse)
        return rpc(b"", timeout=timeout)


async def outcome(call: Any) -> Outcome:
    """Wait until a call has succeeded or failed."""
    began, response = time.monotonic(), None
    with suppress(grpc.aio.AioRpcError):
        response = await call
    return Outcome(
        code=await call.code(),
        details=await call.details() or "",
        initial=dict(await call.initial_metadata() or ()),
        trailing=dict(await call.trailing_metadata() or ()),
        response=response,
        seconds=time.monotonic() - began,
    )


def error_info(reason: str) -> dict[str, str]:
    """Return the google.rpc.ErrorInfo of a reason, as JSON."""
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "domain": "graphmesh", "reason": reason}


@asynccontextmanager
async def caller(listener: Listener) -> AsyncIterator[Caller]:
    async with grpc.aio.insecure_channel(listener.target, options=OPTIONS) as channel:
        yield Caller(channel)


async def eventually(condition: Callable[[], Awaitable[bool]], timeout: float = 60.0) -> None:
    """Poll until `condition` returns True."""
    deadline = time.monotonic() + timeout
    while not await condition():
        assert time.monotonic() < deadline, f"the condition is false after {timeout:g} s"
        await asyncio.sleep(0.02)


def books_mesh(
    edge: Mapping[str, Any] | None = None,
    identity: Any = None,
    roles: Any = None,
    egress: Any = None,
    **service: Any,
) -> Mesh:
    """A mesh of BookService alone on free ports, which clients may call through the edge."""
    own = {"port": 1, "services": ["books"], "identity": "open"}
    listeners = {"edge": {**own, **(edge or {})}, "mesh": {"port": 2}, "admin": {"port": 3}}
    services = {"books": {"service": books_contract.SERVICE, "module": "books", "port": 4, **service}}
    rest = {"identity": identity, "roles": {"roles": roles}} if identity else {}
    return parse({**listeners, **rest, "egress": egress, "services": services}).on_loopback(reserve_port)


def with_books(mesh: Mesh, **changes: Any) -> Mesh:
    """Return the mesh with an edit of the service's entry in mesh.yaml."""
    plain = mesh.model_dump()
    plain["services"]["books"] |= changes
    return Mesh.model_validate(plain)


@dataclass
class EnvoyHarness:
    """A running Envoy, a replica behind it, and a caller at each listener."""

    mesh: Mesh
    settings: ClusterSettings
    folder: Path
    log: Path
    replica: Replica
    call: Caller
    """At the mesh listener."""
    edge: Caller

    @property
    def replica_listener(self) -> Listener:
        return self.mesh.services["books"].replica_listeners[0]

    def change(self, **service: Any) -> None:
        """Edit the service's entry and render it into the folder of the running Envoy."""
        self.mesh = with_books(self.mesh, **service)
        write(self.folder, render(self.mesh, self.settings))

    async def wait_for_success(self) -> None:
        """Wait until calls succeed."""

        async def succeeds() -> bool:
            return (await self.call()).code is grpc.StatusCode.OK

        await eventually(succeeds)

    async def wait_for_no_replica(self) -> None:
        """Wait until Envoy has no healthy replica."""

        async def has_no_replica() -> bool:
            return (await self.call()).flags == "UH"

        await eventually(has_no_replica)

    async def wait_for_no_connection(self) -> None:
        """Wait until Envoy has no connection to a replica."""
        stats = f"http://{self.mesh.admin.target}/stats?filter=^cluster.books.upstream_cx_active$"

        async def has_no_connection() -> bool:
            return (await http_get(stats)).body == "cluster.books.upstream_cx_active: 0\n"

        await eventually(has_no_connection)

    async def wait_for_calls(self, count: int) -> None:
        """Wait until `count` calls have reached the replica since the test cleared `received`."""

        async def have_arrived() -> bool:
            return len(self.replica.received) >= count

        await eventually(have_arrived)


@asynccontextmanager
async def running_envoy(
    mesh: Mesh, folder: Path, replica: Replica | None = None, settings: ClusterSettings = DEFAULT_SETTINGS
) -> AsyncIterator[EnvoyHarness]:
    """Run Envoy on `mesh`. The test starts replicas."""
    rendered, log = folder / "envoy", folder / "envoy.log"
    write(rendered, render(mesh, settings))
    ready = http_probe(f"http://{mesh.admin.target}/ready")
    child = Child(Program("envoy", serve_command(), log, ready, folder=rendered))
    try:
        await child.start()
        await child.wait_ready()
        async with caller(mesh.mesh) as call, caller(mesh.edge) as edge:
            yield EnvoyHarness(mesh, settings, rendered, log, replica or Replica(), call, edge)
    finally:
        await child.stop()


@asynccontextmanager
async def envoy_with_replica(
    mesh: Mesh, folder: Path, settings: ClusterSettings = DEFAULT_SETTINGS
) -> AsyncIterator[EnvoyHarness]:
    """Run Envoy on `mesh` with one healthy replica."""
    replica = Replica()
    async with (
        replica.serving(mesh.services["books"].replica_listeners[0]),
        running_envoy(mesh, folder, replica, settings) as envoy,
    ):
        await envoy.wait_for_success()
        replica.received.clear()
        yield envoy
