"""An HTTP server that receives webhooks, with the responses of a test."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class WebhookRequest:
    headers: dict[str, str]
    """Their names are in lower case."""
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.body)
        return event


@dataclass
class WebhookReceiver:
    host: str = ""
    """`127.0.0.1:port`."""
    responses: list[str] = field(default_factory=list)
    """The status lines of the next responses, some with headers; later ones are 204."""
    is_silent: bool = False
    """Receive every request and respond to none."""
    received: list[WebhookRequest] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.host}/runs?token=hidden"

    async def respond(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = (line.split(": ", 1) for line in head[1:] if line)
        headers = {name.lower(): value for name, value in fields}
        self.received.append(WebhookRequest(headers, await reader.readexactly(int(headers["content-length"]))))
        if self.is_silent:
            await reader.read()  # until the client disconnects
        else:
            status = self.responses.pop(0) if self.responses else "204 No Content"
            writer.write(f"HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n".encode())
        writer.close()


@asynccontextmanager
async def receive_webhooks(**fields: Any) -> AsyncIterator[WebhookReceiver]:
    """Run a receiver with these fields."""
    receiver = WebhookReceiver(**fields)
    server = await asyncio.start_server(receiver.respond, "127.0.0.1", 0)
    receiver.host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield receiver
