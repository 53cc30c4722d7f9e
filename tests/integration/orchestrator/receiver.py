"""A server that webhooks are sent to, and that answers as a test says."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Announced:
    """One POST that came."""

    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.body)
        return event


@dataclass
class Receiver:
    host: str = ""
    """`127.0.0.1:port`."""
    answers: list[str] = field(default_factory=list)
    """The next status lines, with headers where one has some; then 204."""
    silent: bool = False
    """Whether it takes everything and answers nothing."""
    came: list[Announced] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.host}/runs?token=hidden"

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = (line.split(": ", 1) for line in head[1:] if line)
        headers = {name.lower(): value for name, value in fields}
        self.came.append(Announced(headers, await reader.readexactly(int(headers["content-length"]))))
        if self.silent:
            await reader.read()  # until it is hung up
        else:
            status = self.answers.pop(0) if self.answers else "204 No Content"
            writer.write(f"HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n".encode())
        writer.close()


@asynccontextmanager
async def receiving(**fields: Any) -> AsyncIterator[Receiver]:
    receiver = Receiver(**fields)
    server = await asyncio.start_server(receiver.answer, "127.0.0.1", 0)
    receiver.host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield receiver
