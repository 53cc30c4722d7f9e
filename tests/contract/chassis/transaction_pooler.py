"""A connection pooler in transaction mode, as PgBouncer is with `pool_mode = transaction`."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

ENCRYPTION_REQUESTS = {80877103, 80877104}
"""The codes of SSLRequest and GSSENCRequest."""
READY, KEY, TERMINATE = b"Z", b"K", b"X"
REQUEST_ENDS = {b"Q", b"S"}
"""Query and Sync: the messages after which the server reports that it is ready."""
IDLE = b"I"
"""The status of a server outside of transactions."""


class Pooler:
    """Lends a session to a client until its transaction ends, the one that was used last first.

    Each client logs in through a new session, which then belongs to all.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._free: list[tuple[StreamReader, StreamWriter]] = []
        self._keys = count(1)

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            self._free.append(await self._log_in(reader, writer))
            while await self._relay_transaction(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def close(self) -> None:
        for _, writer in self._free:
            writer.close()

    async def _log_in(self, reader: StreamReader, writer: StreamWriter) -> tuple[StreamReader, StreamWriter]:
        startup = await _read_untyped(reader)
        while int.from_bytes(startup[4:8]) in ENCRYPTION_REQUESTS:
            writer.write(b"N")
            startup = await _read_untyped(reader)
        session = await asyncio.open_connection(self._host, self._port)
        session[1].write(startup)
        while True:
            kind, message = await _read(session[0])
            if kind == KEY:
                message = message[:5] + next(self._keys).to_bytes(4) + message[9:]
            writer.write(message)
            if kind == READY:
                return session
            if kind == b"R" and message[5:9] not in {bytes(4), (12).to_bytes(4)}:  # neither OK nor the last of SASL
                session[1].write((await _read(reader))[1])

    async def _relay_transaction(self, reader: StreamReader, writer: StreamWriter) -> bool:
        """Relay a client's transaction; False: the client has ended."""
        kind, message = await _read(reader)
        if kind == TERMINATE:
            return False
        session = self._free.pop()
        status = b""
        while status != IDLE:
            session[1].write(message)
            if kind in REQUEST_ENDS:
                status = await _relay_responses(session[0], writer)
            if status != IDLE:
                kind, message = await _read(reader)
        self._free.append(session)
        return True


async def _relay_responses(reader: StreamReader, writer: StreamWriter) -> bytes:
    """Relay until the server is ready, and return its status."""
    while True:
        kind, message = await _read(reader)
        writer.write(message)
        if kind == READY:
            return message[5:]


async def _read(reader: StreamReader) -> tuple[bytes, bytes]:
    """The type of the next message, and all of it."""
    head = await reader.readexactly(5)
    return head[:1], head + await reader.readexactly(int.from_bytes(head[1:]) - 4)


async def _read_untyped(reader: StreamReader) -> bytes:
    head = await reader.readexactly(4)
    return head + await reader.readexactly(int.from_bytes(head) - 4)


@asynccontextmanager
async def transaction_pooler(host: str, port: int) -> AsyncIterator[int]:
    """Run a pooler before a PostgreSQL server, and yield its port."""
    pooler = Pooler(host, port)
    server = await asyncio.start_server(pooler.serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        pooler.close()
