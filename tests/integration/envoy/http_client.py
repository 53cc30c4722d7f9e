"""A plain HTTP/1.1 client for tests of the JSON API."""

import asyncio
import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphmesh_mesh.service import Listener


@dataclass(frozen=True)
class HttpResponse:
    status: int
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def fetch(
    listener: Listener,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    source: str = "127.0.0.1",
) -> HttpResponse:
    """Send one HTTP/1.1 request on a connection of its own, from an address of this machine."""

    def exchange() -> HttpResponse:
        connection = http.client.HTTPConnection(listener.address, listener.port, 60, (source, 0))
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return HttpResponse(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    return await asyncio.to_thread(exchange)
