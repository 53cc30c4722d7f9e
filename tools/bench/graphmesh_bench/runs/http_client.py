"""A minimal HTTP client for the FastAPI recipe: the cost of a complete one would be measured with it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class ConnectionPool:
    """Connections to one server on this machine, which are kept and reused."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[Stream] = []

    async def post(self, path: str, body: str) -> tuple[int, bytes]:
        """The status and the body of the response."""
        reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self._port)
        head = f"POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
        writer.write(f"{head}\r\n\r\n{body}".encode())
        status, *headers = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        [length] = [line.partition(":")[2] for line in headers if line.startswith("content-length:")]
        content = await reader.readexactly(int(length))
        self._idle.append((reader, writer))
        return int(status.split()[1]), content

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()


@asynccontextmanager
async def connection_pool(port: int) -> AsyncIterator[ConnectionPool]:
    pool = ConnectionPool(port)
    try:
        yield pool
    finally:
        pool.close()
