"""A real Envoy in front of small replicas whose behaviour a test sets."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import grpc
import grpc.aio
from graphmesh_local.child_process import Child, Program, reserve_port
from graphmesh_local.probes import get, http
from graphmesh_mesh.envoy.binary import serve_command
from graphmesh_mesh.envoy.folder import write
from graphmesh_mesh.envoy.render import render
from graphmesh_mesh.topology import Listener, Mesh, parse
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.integration.envoy import shelf

MESSAGE_BYTES = 16 * 1024 * 1024
OPTIONS = [
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),
    ("grpc.use_local_subchannel_pool", 1),
]

Answer = Callable[[Any, Any], Awaitable[Any]]


@dataclass(frozen=True)
class Seen:
    """What a replica saw of a call."""

    method: str
    metadata: Mapping[str, str]
    remaining: float | None
    """Seconds until the deadline that it was given."""


class Replica(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # grpc_health has no types.
    """One replica of the shelf. `answer` decides what unary calls do, `health` what health checks hear."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.answer: Answer = answer
        self.released = asyncio.Event()
        self.health = health_pb2.HealthCheckResponse.SERVING
        self.health_asked: set[str] = set()

    async def held(self, request: Any, context: Any) -> Any:
        """An answer that comes when the test sets `released`."""
        await self.released.wait()
        return await answer(request, context)

    async def unary(self, request: Any, context: Any) -> Any:
        self._note(request, context)
        return await self.answer(request, context)

    async def books(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self._note(request, context)
        yield shelf.message("ListBooksResponse", book_id="first")
        await self.released.wait()
        yield shelf.message("ListBooksResponse", book_id="last")

    async def Check(self, request: Any, context: Any) -> health_pb2.HealthCheckResponse:
        self.health_asked.add(request.service)
        return health_pb2.HealthCheckResponse(status=self.health)

    def handlers(self) -> grpc.GenericRpcHandler:
        methods: dict[str, Any] = {
            method: grpc.unary_unary_rpc_method_handler(self.unary, **coding(method)) for method in shelf.UNARY
        }
        methods["ListBooks"] = grpc.unary_stream_rpc_method_handler(self.books, **coding("ListBooks"))
        return grpc.method_handlers_generic_handler(shelf.SERVICE, methods)

    def _note(self, request: Any, context: Any) -> None:
        method = type(request).__name__.removesuffix("Request")
        self.seen.append(Seen(method, dict(context.invocation_metadata()), context.time_remaining()))

    @asynccontextmanager
    async def serving(self, at: Listener) -> AsyncIterator[grpc.aio.Server]:
        server = grpc.aio.server(options=OPTIONS)
        server.add_generic_rpc_handlers((self.handlers(),))
        health_pb2_grpc.add_HealthServicer_to_server(self, server)
        server.add_insecure_port(at.target)
        await server.start()
        try:
            yield server
        finally:
            await server.stop(None)


def coding(method: str) -> dict[str, Any]:
    return {
        "request_deserializer": shelf.type_of(f"{method}Request").FromString,
        "response_serializer": lambda response: response.SerializeToString(),
    }


async def answer(request: Any, context: Any) -> Any:
    match type(request).__name__:
        case "GetBookRequest":
            return shelf.message("GetBookResponse", book_id="book")
        case "PutBookRequest":
            return shelf.message("PutBookResponse", length=len(request.text))
        case _:
            return shelf.message("BurnBookResponse")


def refusing(code: grpc.StatusCode, message: str = "as the test says", **trailing: str) -> Answer:
    """Fail before initial metadata, as the chassis does."""

    async def refuse(request: Any, context: Any) -> Any:
        await context.abort(code, message, tuple(trailing.items()))

    return refuse


@dataclass(frozen=True)
class Outcome:
    """What a caller saw of a call."""

    code: grpc.StatusCode
    details: str
    initial: Mapping[str, str]
    trailing: Mapping[str, str]
    response: Any
    seconds: float

    @property
    def flags(self) -> str:
        """Envoy's response flags: in the trailing metadata, since its own answers have no other."""
        return self.trailing.get("x-envoy-response-flags", "")


class Caller:
    """A client on one listener, with a connection of its own."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    async def __call__(
        self,
        method: str = "GetBook",
        timeout: float | None = 10,
        headers: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> Outcome:
        """One unary call, told as an outcome."""
        return await outcome(self.begin(method, timeout, headers, **fields))

    def begin(
        self, method: str, timeout: float | None = 10, headers: Mapping[str, str] | None = None, **fields: Any
    ) -> Any:
        """One unary call, under way."""
        request = shelf.message(f"{method}Request", **fields).SerializeToString()
        parse = shelf.type_of(f"{method}Response").FromString
        rpc: Any = self._channel.unary_unary(shelf.path(method), response_deserializer=parse)
        return rpc(request, timeout=timeout, metadata=tuple((headers or {}).items()))

    def raw(self, path: str, request: bytes = b"") -> Any:
        """A call of any path."""
        rpc: Any = self._channel.unary_unary(path)
        return rpc(request, timeout=10)

    def books(self, timeout: float | None = None) -> Any:
        """The stream of ListBooks."""
        parse = shelf.type_of("ListBooksResponse").FromString
        rpc: Any = self._channel.unary_stream(shelf.path("ListBooks"), response_deserializer=parse)
        return rpc(b"", timeout=timeout)


async def outcome(under_way: Any) -> Outcome:
    """Wait for the end of a call, whichever it is."""
    began, response = time.monotonic(), None
    with suppress(grpc.aio.AioRpcError):
        response = await under_way
    return Outcome(
        code=await under_way.code(),
        details=await under_way.details() or "",
        initial=dict(await under_way.initial_metadata() or ()),
        trailing=dict(await under_way.trailing_metadata() or ()),
        response=response,
        seconds=time.monotonic() - began,
    )


@asynccontextmanager
async def caller(at: Listener) -> AsyncIterator[Caller]:
    async with grpc.aio.insecure_channel(at.target, options=OPTIONS) as channel:
        yield Caller(channel)


class Wire:
    """A TCP connection between Envoy and a replica that a test can cut."""

    def __init__(self, at: Listener, to: Listener) -> None:
        self._at, self._to = at, to
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._join, self._at.address, self._at.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server
        self._server.close()
        self.cut()

    def cut(self) -> None:
        """Break all connections, as a dying process does."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._to.address, self._to.port)
        self._writers += [writer, far_writer]
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    writer.close()


async def eventually(holds: Callable[[], Awaitable[bool]], within: float = 15.0) -> None:
    """Ask until it holds."""
    deadline = time.monotonic() + within
    while not await holds():
        assert time.monotonic() < deadline, f"did not come to hold within {within:g} s"
        await asyncio.sleep(0.02)


def shelf_mesh(edge: Mapping[str, Any] | None = None, **service: Any) -> Mesh:
    """Only the shelf, on free ports, open to the edge."""
    places = {"edge": {"port": 1, "services": ["shelf"], **(edge or {})}, "mesh": {"port": 2}, "admin": {"port": 3}}
    services = {"shelf": {"service": shelf.SERVICE, "module": "shelf", "port": 4, **service}}
    return parse({**places, "services": services}).moved(reserve_port)


def with_shelf(mesh: Mesh, **changes: Any) -> Mesh:
    """The same mesh, as if the shelf's entry in mesh.yaml had been edited."""
    plain = mesh.model_dump()
    plain["services"]["shelf"] |= changes
    return Mesh.model_validate(plain)


@dataclass
class Rig:
    """A running Envoy, a replica behind it, and a caller at each listener."""

    mesh: Mesh
    folder: Path
    log: Path
    replica: Replica
    call: Caller
    """At the mesh listener."""
    edge: Caller

    @property
    def replica_at(self) -> Listener:
        return self.mesh.services["shelf"].replica_listeners[0]

    def change(self, **service: Any) -> None:
        """Edit the shelf's entry and render it again, under the running Envoy."""
        self.mesh = with_shelf(self.mesh, **service)
        write(self.folder, render(self.mesh))

    async def up(self) -> None:
        """Wait until calls get through."""
        await eventually(self._answers)

    async def down(self) -> None:
        """Wait until Envoy knows that no replica is there."""

        async def known() -> bool:
            return (await self.call()).flags == "UH"

        await eventually(known)

    async def disconnected(self) -> None:
        """Wait until Envoy knows that its connections to the replicas are gone."""
        stats = f"http://{self.mesh.admin.target}/stats?filter=^cluster.shelf.upstream_cx_active$"

        async def known() -> bool:
            return (await get(stats)).body == "cluster.shelf.upstream_cx_active: 0\n"

        await eventually(known)

    async def inside(self, calls: int) -> None:
        """Wait until this many calls have reached the replica since the test cleared `seen`."""

        async def there() -> bool:
            return len(self.replica.seen) >= calls

        await eventually(there)

    async def _answers(self) -> bool:
        return (await self.call()).code is grpc.StatusCode.OK


@asynccontextmanager
async def envoy(mesh: Mesh, folder: Path, replica: Replica | None = None) -> AsyncIterator[Rig]:
    """Envoy on `mesh`, ready to answer, with nothing behind it unless the test starts it."""
    rendered, log = folder / "envoy", folder / "envoy.log"
    write(rendered, render(mesh))
    ready = http(f"http://{mesh.admin.target}/ready")
    child = Child(Program("envoy", serve_command(), log, ready, folder=rendered, start_within=30))
    try:
        await child.start()
        await child.ready()
        async with caller(mesh.mesh) as call, caller(mesh.edge) as edge:
            yield Rig(mesh, rendered, log, replica or Replica(), call, edge)
    finally:
        await child.stop()


@asynccontextmanager
async def standing(mesh: Mesh, folder: Path) -> AsyncIterator[Rig]:
    """Envoy on `mesh` with its replica behind it, answering."""
    replica = Replica()
    async with replica.serving(mesh.services["shelf"].replica_listeners[0]), envoy(mesh, folder, replica) as rig:
        await rig.up()
        replica.seen.clear()
        yield rig
