"""A plain HTTP/2 client, for requests that no gRPC client sends."""

import asyncio
import struct
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

from graphmesh_mesh.topology import Listener

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS = 0, 1, 3, 4
END_STREAM, END_HEADERS = 1, 4
CANCEL = 8


class Http2Connection:
    """One connection, whose streams are opened one after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._ends: dict[int, asyncio.Event] = {}

    def send(self, headers: Mapping[str, str], body: bytes = b"", is_complete: bool = True) -> int:
        """Send a request and return its stream; the body of one that is not complete stays open."""
        stream = 2 * len(self._ends) + 1
        self._ends[stream] = asyncio.Event()
        self._frame(HEADERS, END_HEADERS, stream, b"".join(_literal(name, headers[name]) for name in headers))
        self._frame(DATA, END_STREAM if is_complete else 0, stream, body)
        return stream

    def reset(self, stream: int) -> None:
        """Cancel a request."""
        self._frame(RST_STREAM, 0, stream, struct.pack(">I", CANCEL))
        self._ends[stream].set()

    async def wait_for_ends(self, streams: Sequence[int]) -> None:
        """Wait until the server has ended or reset each of the streams, or has closed the connection."""
        for stream in streams:
            await self._ends[stream].wait()

    async def read(self) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await self._reader.readexactly(9)
                await self._reader.readexactly(int.from_bytes(head[:3], "big"))
                self._receive(head[3], head[4], int.from_bytes(head[5:], "big"))
        for end in self._ends.values():
            end.set()

    def _receive(self, kind: int, flags: int, stream: int) -> None:
        if kind == SETTINGS and not flags:
            self._frame(SETTINGS, 1, 0, b"")
        if stream in self._ends and (kind == RST_STREAM or (kind in {DATA, HEADERS} and flags & END_STREAM)):
            self._ends[stream].set()

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        self._writer.write(len(payload).to_bytes(3, "big") + bytes((kind, flags)) + struct.pack(">I", stream) + payload)

    @classmethod
    @asynccontextmanager
    async def open(cls, listener: Listener) -> AsyncIterator["Http2Connection"]:
        reader, writer = await asyncio.open_connection(listener.address, listener.port)
        connection = cls(reader, writer)
        writer.write(PREFACE)
        connection._frame(SETTINGS, 0, 0, b"")
        reading = asyncio.create_task(connection.read())
        try:
            yield connection
        finally:
            reading.cancel()
            writer.close()


def _literal(name: str, value: str) -> bytes:
    """A header in HPACK, without an index and without Huffman coding; both strings are shorter than 127 bytes."""
    return b"\0" + bytes((len(name),)) + name.encode() + bytes((len(value),)) + value.encode()
