"""The smallest HTTP client that the recipe can be measured with: a larger one would be measured itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Connections:
    """Connections to one server, kept and used again."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[Stream] = []

    async def post(self, path: str, body: str) -> tuple[int, bytes]:
        """The status and the body that come back."""
        reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self._port)
        head = f"POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
        writer.write(f"{head}\r\n\r\n{body}".encode())
        status, *headers = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        [length] = [line.partition(":")[2] for line in headers if line.startswith("content-length:")]
        answer = await reader.readexactly(int(length))
        self._idle.append((reader, writer))
        return int(status.split()[1]), answer

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()


@asynccontextmanager
async def connections(port: int) -> AsyncIterator[Connections]:
    """Connections, closed at the end."""
    made = Connections(port)
    try:
        yield made
    finally:
        made.close()
