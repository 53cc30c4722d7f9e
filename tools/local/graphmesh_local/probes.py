"""When is a process ready? The ways to ask it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from urllib.parse import SplitResult, urlsplit

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

PROBE_PERIOD = 0.05
"""Seconds between two probes of a starting process."""
PROBE_TIMEOUT = 1.0
"""Seconds that one probe may take."""

Probe = Callable[[], Awaitable[bool]]
"""Tells whether a process is ready. An error of `NOT_YET` means that it is not."""
NOT_YET = (OSError, HTTPException, grpc.aio.AioRpcError)


async def running() -> bool:
    """Ready as soon as it runs."""
    return True


def tcp(address: str) -> Probe:
    """Ready when it accepts a connection."""
    host, _, port = address.rpartition(":")

    async def probe() -> bool:
        _, writer = await asyncio.open_connection(host, int(port))
        writer.close()
        return True

    return probe


def grpc_health(address: str, service: str = "") -> Probe:
    """Ready when the standard health service says SERVING for `service`."""
    listens = tcp(address)

    async def probe() -> bool:
        await listens()  # Much cheaper than a channel, while nobody listens yet.
        async with grpc.aio.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
            request = health_pb2.HealthCheckRequest(service=service)
            response = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=PROBE_TIMEOUT)
        return bool(response.status == health_pb2.HealthCheckResponse.SERVING)

    return probe


@dataclass(frozen=True)
class Answer:
    """What an HTTP server answered."""

    status: int
    body: str


async def get(url: str) -> Answer:
    """GET `url`, past every proxy."""
    return await asyncio.to_thread(_get, urlsplit(url))


def _get(url: SplitResult) -> Answer:
    with closing(HTTPConnection(url.netloc, timeout=PROBE_TIMEOUT)) as connection:
        connection.request("GET", url._replace(scheme="", netloc="").geturl())
        response = connection.getresponse()
        return Answer(response.status, response.read().decode())


def http(url: str) -> Probe:
    """Ready when a GET answers 200."""

    async def probe() -> bool:
        return (await get(url)).status == 200

    return probe
