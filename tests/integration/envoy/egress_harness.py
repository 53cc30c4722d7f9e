"""A DNS server, a web server that counts, and a client of Envoy's way out."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from graphmesh_local.child_process import reserve_port
from graphmesh_mesh.topology import Mesh, parse

from tests.integration.envoy import books_contract

A = 1
NAME_ERROR = 3


class Names(asyncio.DatagramProtocol):
    """A DNS server with IPv4 addresses that a test sets, each valid for a second."""

    def __init__(self, addresses: Mapping[str, Sequence[str]]) -> None:
        self.addresses = dict(addresses)
        self.port = 0
        self._transport: asyncio.DatagramTransport | None = None

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Names"]:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self.port = transport.get_extra_info("sockname")[1]
        try:
            yield self
        finally:
            transport.close()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        name, end = _name(data)
        known, kind = self.addresses.get(name.lower()), struct.unpack(">H", data[end : end + 2])[0]
        found = known if known and kind == A else ()
        head = struct.pack(">HHHHH", 0x8180 if known else 0x8180 | NAME_ERROR, 1, len(found), 0, 0)
        answers = [b"\xc0\x0c" + struct.pack(">HHIH", A, 1, 1, 4) + socket.inet_aton(address) for address in found]
        assert self._transport
        self._transport.sendto(data[:2] + head + data[12 : end + 4] + b"".join(answers), addr)


def _name(query: bytes) -> tuple[str, int]:
    """Return the name that is asked for, and the offset of its type."""
    labels, at = [], 12
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode())
        at += 1 + length
    return ".".join(labels), at + 1


@dataclass
class Site:
    """A web server that answers every request in one way."""

    address: str = "127.0.0.1"
    port: int = 0
    answer: bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi"
    received: bytes = b""
    """What all connections have sent, to the end of the first request of each."""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Site"]:
        server = await asyncio.start_server(self._serve, self.address, self.port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while b"\r\n\r\n" not in (chunk := await reader.read(65536)):
                self.received += chunk
                if not chunk:
                    return
            self.received += chunk
            writer.write(self.answer)
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


def egress_mesh(names: Names, **workloads: Mapping[str, Any]) -> Mesh:
    """A mesh of which each workload may call the hosts of its list, on free ports."""
    ports = iter(range(1, 100))
    listeners = {name: {"port": next(ports)} for name in ("mesh", "admin")}
    services = {
        name: {"service": service, "module": name, "port": next(ports)}
        for name, service in (
            ("orchestrator", "graphmesh.orchestrator.v1.RunService"),
            ("model", "graphmesh.model.v1.ModelService"),
            ("books", books_contract.SERVICE),
        )
    }
    egress = {name: {"port": next(ports), **one} for name, one in workloads.items()}
    mesh = {
        "edge": {"port": next(ports), "services": ["books"], "identity": "open"},
        **listeners,
        "egress": {"resolvers": [f"127.0.0.1:{names.port}"], "workloads": egress},
        "services": services,
    }
    return parse(mesh).on_loopback(reserve_port)


@dataclass
class Answer:
    """The answer of the proxy."""

    status: int
    body: str


async def request(port: int, target: str, method: str = "GET", early: bytes = b"", headers: str = "") -> Answer:
    """Call the proxy at a port for `target`, a host and a port, by a plain request or a tunnel.

    Args:
        early: bytes that are sent before the proxy has answered.
        headers: further lines of headers.
    """
    line = target if method == "CONNECT" else f"http://{target}/path"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        close = "" if method == "CONNECT" else "connection: close\r\n"
        writer.write(f"{method} {line} HTTP/1.1\r\nhost: {target}\r\n{headers}{close}\r\n".encode() + early)
        async with asyncio.timeout(60):
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ")[1])
            if method == "CONNECT" and status == 200:
                writer.write(b"GET /path HTTP/1.1\r\nhost: inside\r\n\r\n")
                head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split()[0]))
    finally:
        writer.close()
    return Answer(status, body.decode())
