"""A minimal receiver of webhooks: it reads every request, and responds with 204."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

RESPONSE = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"


@asynccontextmanager
async def webhook_receiver() -> AsyncIterator[str]:
    """Serve while the body runs; yields host:port."""
    server = await asyncio.start_server(_respond, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield f"{host}:{port}"


async def _respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, EOFError):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        [length] = [line.partition(":")[2] for line in head.splitlines() if line.startswith("content-length:")]
        await reader.readexactly(int(length))
        writer.write(RESPONSE)
        await writer.drain()
    writer.close()
