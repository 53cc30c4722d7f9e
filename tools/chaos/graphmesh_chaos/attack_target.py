"""The mesh that hostile clients attack, and how they send requests to it."""

import asyncio
import itertools
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message
from graphmesh_contracts import Method
from graphmesh_local.development_issuer import issue_token
from graphmesh_local.state_folder import StateFolder
from graphmesh_mesh.service import Listener

from graphmesh_chaos.http2_connection import Http2Connection

TENANT = "hostile"
CLIENT_ADDRESS = "127.0.0.2" if sys.platform == "linux" else "127.0.0.1"
"""Other clients have another address where a machine has several of its own."""
CONNECTIONS = 8
STREAMS_A_CONNECTION = 120
"""Below Envoy's limit of 128; further ones would be refused."""
TOKEN_SECONDS = 3600


@dataclass
class Target:
    """The mesh that is attacked."""

    edge: Listener
    folder: StateFolder
    """That of the mesh, whose issuer makes tokens."""
    receiver: Listener
    """A host that webhooks may call."""
    run_id: str
    """A run of the hostile tenant that does not end meanwhile."""
    graph: str
    sent: int = 0
    """Requests and connections of the present attack."""
    _tokens: dict[str, str] = field(default_factory=dict)

    def token(self, tenant: str = TENANT) -> str:
        """A token of the tenant, which may do everything."""
        if tenant not in self._tokens:
            self._tokens[tenant] = issue_token(self.folder, tenant, "attacker", ["admin"], TOKEN_SECONDS)
        return self._tokens[tenant]

    def send(
        self, connection: Http2Connection, headers: dict[str, str], body: bytes = b"", is_complete: bool = True
    ) -> int:
        """Send a request with the token of the hostile tenant, if it has no other one, and return its stream."""
        self.sent += 1
        token = {} if "authorization" in headers else {"authorization": f"Bearer {self.token()}"}
        return connection.send({**headers, **token}, body, is_complete)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Http2Connection]:
        """Open a connection, on which no response waits for the client. Raises OSError."""
        async with Http2Connection.open(self.edge, client_address=CLIENT_ADDRESS) as connection:
            connection.grant_all()
            yield connection

    async def connect(self) -> asyncio.StreamWriter:
        """Open a connection without a protocol. Raises OSError."""
        self.sent += 1
        local = (CLIENT_ADDRESS, 0)
        _, writer = await asyncio.open_connection(self.edge.address, self.edge.port, local_addr=local)
        return writer

    @asynccontextmanager
    async def connections(self, count: int) -> AsyncIterator[list[Http2Connection]]:
        async with AsyncExitStack() as stack:
            yield [await stack.enter_async_context(self.open()) for _ in range(count)]


Attack = Callable[[Target], Awaitable[None]]
"""Attacks until it is cancelled."""
Send = Callable[[Target, Http2Connection], None]
"""Sends one hostile request."""


def request_headers(rpc: Method[Any, Any], **changes: str) -> dict[str, str]:
    """The headers of a gRPC call, with changes of some; an empty one is left out."""
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": rpc.path,
        ":authority": "edge",
        "content-type": "application/grpc",
        "te": "trailers",
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    return {name: value for name, value in headers.items() if value}


def framed(message: Message, flag: int = 0) -> bytes:
    """A message with the prefix of gRPC: whether it is compressed, and its length."""
    body = message.SerializeToString()
    return struct.pack(">BI", flag, len(body)) + body


async def ticks(rate: float) -> AsyncIterator[int]:
    """Yield at a rate, in calls a second; late ones are not made up for."""
    for number in itertools.count():
        yield number
        await asyncio.sleep(1 / rate)


def repeated(send: Send, rate: float) -> Attack:
    """An attack with one request at a rate, on some connections; one that the server has closed is opened again."""

    async def on_a_connection(target: Target) -> None:
        while True:
            with suppress(OSError):
                async with target.open() as connection:
                    async for _ in ticks(rate / CONNECTIONS):
                        if connection.is_closed:
                            break
                        send(target, connection)

    async def attack(target: Target) -> None:
        await asyncio.gather(*(on_a_connection(target) for _ in range(CONNECTIONS)))

    return attack


def held(send: Send, count: int) -> Attack:
    """An attack with many requests that begin at once and stay open; closed connections are opened again."""

    async def on_a_connection(target: Target) -> None:
        while True:
            with suppress(OSError):
                async with target.open() as connection:
                    for _ in range(STREAMS_A_CONNECTION):
                        send(target, connection)
                    await connection.drain()
                    while not connection.is_closed:
                        await asyncio.sleep(0.5)

    async def attack(target: Target) -> None:
        await asyncio.gather(*(on_a_connection(target) for _ in range(count // STREAMS_A_CONNECTION)))

    return attack


def call(rpc: Method[Any, Any], request: Message, **headers: str) -> Send:
    """One call with other headers."""
    return body_of(rpc, framed(request), **headers)


def body_of(rpc: Method[Any, Any], body: bytes, **headers: str) -> Send:
    """One call with any body."""
    sent = request_headers(rpc, **headers)

    def send(target: Target, connection: Http2Connection) -> None:
        target.send(connection, sent, body)

    return send


def in_turn(*sends: Send) -> Send:
    """One kind of request after the other."""
    kinds: Iterator[Send] = itertools.cycle(sends)
    return lambda target, connection: next(kinds)(target, connection)
