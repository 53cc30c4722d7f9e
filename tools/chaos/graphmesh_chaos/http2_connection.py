"""A plain HTTP/2 client, for requests that no gRPC client sends."""

import asyncio
import struct
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

from graphmesh_mesh.service import Listener

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
MAX_FRAME_BYTES = 16_384
"""The largest payload of a frame that every server accepts."""
INITIAL_WINDOW = 65_535
"""Bytes that a stream, and a connection, may send before the server grants more."""
MAX_WINDOW = 2**31 - 1
INITIAL_WINDOW_SIZE = 4
"""The identifier of SETTINGS_INITIAL_WINDOW_SIZE."""
END_STREAM, END_HEADERS = 1, 4
CANCEL = 8
MAX_PREFIX = 127
"""The largest length of a string in HPACK that fits into one byte."""


class Http2Connection:
    """One connection, whose streams are opened one after the other.

    It observes no limit that the server announces, except the flow control, with `wait_for_window`.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers_pings: bool = True) -> None:
        self._answers_pings = answers_pings
        self._reader, self._writer = reader, writer
        self._ends: dict[int, asyncio.Event] = {}
        self._windows: dict[int, int] = {}
        """Bytes that may be sent, by stream; that of the connection is 0."""
        self._granted = asyncio.Event()
        self._closed = asyncio.Event()
        self.settings: dict[int, int] = {}
        """What the server has announced, by the number of the setting."""
        self.reset_codes: dict[int, int] = {}
        """The codes of the streams that the server has reset."""

    @property
    def is_closed(self) -> bool:
        """Whether either side has closed the connection."""
        return self._writer.is_closing() or self._reader.at_eof()

    def send(self, headers: Mapping[str, str], body: bytes = b"", is_complete: bool = True) -> int:
        """Send a request and return its stream; the body of one that is not complete stays open."""
        stream = 2 * len(self._ends) + 1
        self._ends[stream] = asyncio.Event()
        block = b"".join(_literal(name, headers[name]) for name in headers)
        starts = range(0, len(block), MAX_FRAME_BYTES)
        for start in starts:
            flags = END_HEADERS if start == starts[-1] else 0
            self.frame(CONTINUATION if start else HEADERS, flags, stream, block[start : start + MAX_FRAME_BYTES])
        self.send_data(stream, body, is_complete)
        return stream

    def send_data(self, stream: int, body: bytes, is_complete: bool) -> None:
        """Send a part of a request's body."""
        for each in (0, stream):
            self._windows[each] = self.window(each) - len(body)
        starts = range(0, max(1, len(body)), MAX_FRAME_BYTES)
        for start in starts:
            flags = END_STREAM if is_complete and start == starts[-1] else 0
            self.frame(DATA, flags, stream, body[start : start + MAX_FRAME_BYTES])

    def reset(self, stream: int) -> None:
        """Cancel a request."""
        self.frame(RST_STREAM, 0, stream, struct.pack(">I", CANCEL))
        self._ends[stream].set()

    async def wait_for_window(self, stream: int, size: int) -> None:
        """Wait until the server grants `size` bytes of a body, has ended the stream or closed the connection."""
        while min(self.window(0), self.window(stream)) < size and not self._ends[stream].is_set():
            self._granted.clear()
            await self._granted.wait()

    def window(self, stream: int) -> int:
        """The bytes that may be sent on a stream, or with 0 on the connection."""
        return self._windows.get(stream, INITIAL_WINDOW)

    def grant_all(self) -> None:
        """Let the server send responses of any size; without it, it waits after 64 KiB."""
        self.frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, MAX_WINDOW))
        self.frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", MAX_WINDOW - INITIAL_WINDOW))

    async def drain(self) -> None:
        """Wait until the server has read most of what was sent."""
        await self._writer.drain()

    async def wait_for_ends(self, streams: Sequence[int]) -> None:
        """Wait until the server has ended or reset each of the streams, or has closed the connection."""
        for stream in streams:
            await self._ends[stream].wait()

    async def wait_for_close(self) -> None:
        """Wait until the server has closed the connection."""
        await self._closed.wait()

    async def read(self) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await self._reader.readexactly(9)
                payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
                self._receive(head[3], head[4], int.from_bytes(head[5:], "big"), payload)
        for event in (*self._ends.values(), self._granted, self._closed):
            event.set()

    def _receive(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == SETTINGS and not flags:
            self.settings.update(struct.iter_unpack(">HI", payload))
            self.frame(SETTINGS, 1, 0, b"")
        if kind == PING and not flags and self._answers_pings:
            self.frame(PING, 1, 0, payload)
        if kind == RST_STREAM:
            self.reset_codes[stream] = int.from_bytes(payload, "big")
        if kind == WINDOW_UPDATE:
            self._windows[stream] = self.window(stream) + int.from_bytes(payload, "big")
            self._granted.set()
        if stream in self._ends and (kind == RST_STREAM or (kind in {DATA, HEADERS} and flags & END_STREAM)):
            self._ends[stream].set()
            self._granted.set()

    def frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        """Send any frame, unless the server has closed the connection."""
        if self._writer.is_closing():
            return
        self._writer.write(len(payload).to_bytes(3, "big") + bytes((kind, flags)) + struct.pack(">I", stream) + payload)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, listener: Listener, answers_pings: bool = True, client_address: str = ""
    ) -> AsyncIterator["Http2Connection"]:
        local = (client_address, 0) if client_address else None
        reader, writer = await asyncio.open_connection(listener.address, listener.port, local_addr=local)
        connection = cls(reader, writer, answers_pings)
        writer.write(PREFACE)
        connection.frame(SETTINGS, 0, 0, b"")
        reading = asyncio.create_task(connection.read())
        try:
            yield connection
        finally:
            reading.cancel()
            writer.close()


def _literal(name: str, value: str) -> bytes:
    """A header in HPACK, without an index and without Huffman coding."""
    return b"\0" + _length(name) + name.encode() + _length(value) + value.encode()


def _length(text: str) -> bytes:
    """An integer of HPACK with a prefix of 7 bits (RFC 7541, section 5.1)."""
    rest = len(text) - MAX_PREFIX
    if rest < 0:
        return bytes((len(text),))
    encoded = bytearray((MAX_PREFIX,))
    while rest >= 0x80:
        encoded.append(rest % 0x80 + 0x80)
        rest //= 0x80
    return bytes((*encoded, rest))
