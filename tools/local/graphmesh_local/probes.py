"""Readiness probes of processes: TCP, gRPC health and HTTP."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import SplitResult, urlsplit

import grpc.aio
from graphmesh_chassis.workload import Workload, client_credentials
from grpc_health.v1 import health_pb2, health_pb2_grpc

from graphmesh_local.errors import LocalError

PROBE_PERIOD = 0.05
"""Seconds between two probes of a starting process."""
PROBE_TIMEOUT = 1.0
"""Seconds that one probe may take."""

Probe = Callable[[], Awaitable[bool]]
"""Returns whether a process is ready. Any of `NOT_READY_ERRORS` means that it is not."""
NOT_READY_ERRORS: tuple[type[Exception], ...] = (OSError, HTTPException, grpc.aio.AioRpcError)


class PlaintextServer(LocalError):
    """A process that has to have mutual TLS answers without it."""


async def always_ready() -> bool:
    """Ready as soon as the process runs."""
    return True


def tcp_probe(address: str) -> Probe:
    """Ready when it accepts a connection."""
    host, _, port = address.rpartition(":")

    async def probe() -> bool:
        _, writer = await asyncio.open_connection(host, int(port))
        writer.close()
        return True

    return probe


def grpc_health_probe(address: str, service: str = "", secured: tuple[Workload, str] | None = None) -> Probe:
    """Ready when the standard health service reports SERVING for `service`.

    Args:
        secured: with mutual TLS the workload of the prober, and the name of the server's.

    The probe raises PlaintextServer where that responds without TLS.
    """
    accepts_connections = tcp_probe(address)
    options: list[tuple[str, Any]] = [("grpc.enable_http_proxy", 0)]

    async def is_serving(channel: grpc.aio.Channel) -> bool:
        async with channel:
            request = health_pb2.HealthCheckRequest(service=service)
            response = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=PROBE_TIMEOUT)
        return bool(response.status == health_pb2.HealthCheckResponse.SERVING)

    async def probe() -> bool:
        await accepts_connections()  # Much cheaper than a channel, while the process does not listen yet.
        if secured is None:
            return await is_serving(grpc.aio.insecure_channel(address, options=options))
        prober, name = secured
        named = [*options, ("grpc.ssl_target_name_override", name)]
        try:
            return await is_serving(
                grpc.aio.secure_channel(address, client_credentials(prober.credentials()), options=named)
            )
        except grpc.aio.AioRpcError:
            if await is_serving(grpc.aio.insecure_channel(address, options=options)):
                raise PlaintextServer(f"{address} answers without TLS") from None
            raise

    return probe


@dataclass(frozen=True)
class HttpResponse:
    """The response to a GET."""

    status: int
    body: str


async def http_get(url: str) -> HttpResponse:
    """GET `url` without any proxy."""
    return await asyncio.to_thread(_http_get, urlsplit(url))


def _http_get(url: SplitResult) -> HttpResponse:
    with closing(HTTPConnection(url.netloc, timeout=PROBE_TIMEOUT)) as connection:
        connection.request("GET", url._replace(scheme="", netloc="").geturl())
        response = connection.getresponse()
        return HttpResponse(response.status, response.read().decode())


def http_probe(url: str) -> Probe:
    """Ready when a GET answers 200."""

    async def probe() -> bool:
        return (await http_get(url)).status == 200

    return probe
