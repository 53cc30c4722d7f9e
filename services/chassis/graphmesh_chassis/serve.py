"""Serving: the same beginning, life and end for every server of the mesh.

    def main() -> None:
        run("billing", build, Settings)

`build` opens what the service needs, yields a `Servable`, and closes in reverse.
"""

import asyncio
import contextlib
import gc
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

import grpc
import structlog
from google.protobuf import descriptor_pool
from graphmesh_contracts import PolicyError, service_policies
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from pydantic import ValidationError
from pydantic_settings import CliApp

from graphmesh_chassis.adapter import HookInterceptor
from graphmesh_chassis.admission import Admission
from graphmesh_chassis.channel import SERVER_OPTIONS
from graphmesh_chassis.errors import DatabaseUnavailable
from graphmesh_chassis.hooks import hooks_of
from graphmesh_chassis.logs import configure_logs
from graphmesh_chassis.settings import ServerSettings

if TYPE_CHECKING:
    from graphmesh_chassis.telemetry import Tracing

log = structlog.get_logger("graphmesh.server")

PING_SECONDS = 1.0
"""How often the resources of a server are asked whether they still answer."""

SettingsT = TypeVar("SettingsT", bound=ServerSettings)
SettingsT_contra = TypeVar("SettingsT_contra", bound=ServerSettings, contravariant=True)

Ping = Callable[[], Awaitable[None]]
"""Returns where the resource answers, raises where it does not."""
Task = Callable[[], Awaitable[None]]
"""Runs as long as the server; one that ends or dies stops the server."""
Drain = Callable[[], Awaitable[None]]


class Handles(Protocol):
    """The generated class of a service's RPC handles, `graphmesh.billing.v1.BillingService`."""

    @property
    def NAME(self) -> str: ...


@dataclass(frozen=True)
class Service:
    """A servicer and where it belongs."""

    handles: type[Handles]
    add: Callable[[Any, Any], None]
    """The generated `add_…Servicer_to_server`."""
    servicer: object

    @property
    def name(self) -> str:
        return str(self.handles.NAME)


@dataclass(frozen=True)
class Servable:
    """What a process serves."""

    services: Sequence[Service]
    pings: Mapping[str, Ping] = field(default_factory=dict)
    """The resources that the services cannot do without, by name: their health is the services' health."""
    tasks: Mapping[str, Task] = field(default_factory=dict)
    """What runs beside, by name."""
    drain: Drain | None = None
    """Ends what the server does on its own account; called when the server begins to drain."""
    tracing: "Tracing | None" = None
    """That of the calls that it makes itself, so that both are one trace; where it makes none, it needs none."""


class Build(Protocol[SettingsT_contra]):
    """A composition root."""

    def __call__(self, settings: SettingsT_contra, /) -> AbstractAsyncContextManager[Servable]: ...


def run(name: str, build: Build[SettingsT], settings_type: type[SettingsT]) -> None:
    """The main function of a server: settings, logs, serve until told to stop.

    Exits with 2 for bad settings, and with 1 where what it needs is not there: the port, the database.
    """
    try:
        settings = CliApp.run(settings_type)
        configure_logs(name, settings.log_level)
        asyncio.run(_until_stopped(name, build, settings))
    except (ValidationError, PolicyError) as error:
        _exit(2, f"{name}: bad settings: {error}")
    except (OSError, DatabaseUnavailable) as error:
        _exit(1, f"{name}: {error}" + (f" ({error.__cause__})" if error.__cause__ else ""))


def _exit(code: int, message: str) -> NoReturn:
    sys.stderr.write(f"{message}\n")
    raise SystemExit(code)


async def _until_stopped(name: str, build: Build[SettingsT], settings: SettingsT) -> None:
    stop = _Stop()
    async with build(settings) as servable, serving(name, servable, settings) as running:
        gc.freeze()  # what is loaded by now lives as long as the server: the collector need not look through it
        log.info("listening", address=running.address, services=[service.name for service in servable.services])
        stopped = asyncio.create_task(stop.first.wait(), name="first signal")
        await asyncio.wait((stopped, running.tasks), return_when=asyncio.FIRST_COMPLETED)
        if running.tasks.done():
            stopped.cancel()
            running.tasks.result()
        await running.linger(stop, settings.linger_seconds)
        log.info("draining", seconds=settings.drain_seconds)
        await running.drain(stop, settings.drain_seconds)
    log.info("stopped")


async def _forever(name: str, task: Task) -> None:
    await task()
    raise RuntimeError(f"the task {name} ended while the server was running")


class _Stop:
    """SIGTERM and SIGINT: the first one drains, the second insists."""

    def __init__(self) -> None:
        self.first, self.second = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signal)

    def _signal(self) -> None:
        (self.second if self.first.is_set() else self.first).set()


@dataclass(frozen=True)
class Running:
    """A server that runs."""

    address: str
    """`host:port`, with the real port."""
    server: grpc.aio.Server
    health: health.aio.HealthServicer
    admissions: Mapping[str, Admission]
    """By the service's full name."""
    tasks: "asyncio.Future[list[None]]"
    """What runs beside; done only when a part of it has died."""
    own: Drain | None
    """Ends what the server does on its own account."""

    async def linger(self, stop: _Stop, seconds: float) -> None:
        """Say that this server is stopping, and serve on until whoever routes calls has seen it, or a second signal."""
        await self.health.enter_graceful_shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await stop.second.wait()

    async def drain(self, stop: _Stop, seconds: float) -> None:
        """Take no more calls, let those under way end, and cut them off after `seconds` or at a second signal."""
        await self.health.enter_graceful_shutdown()
        ended = asyncio.create_task(self._end(seconds), name="drain")
        insisted = asyncio.create_task(stop.second.wait(), name="second signal")
        await asyncio.wait((ended, insisted), return_when=asyncio.FIRST_COMPLETED)
        insisted.cancel()
        if not ended.done():
            await self.server.stop(None)
        await ended

    async def _end(self, seconds: float) -> None:
        """Calls may wait for what the server does itself, so both end at the same time."""
        await asyncio.gather(self.server.stop(seconds), *([self.own()] if self.own else []))


@asynccontextmanager
async def serving(name: str, servable: Servable, settings: ServerSettings) -> AsyncIterator[Running]:
    """Serve `servable` while the body runs: hooks, health for each service, reflection.

    Raises:
        OSError: the address cannot be listened on.
        PolicyError: a service declares no policy, or an override is bad.
    """
    tracing = servable.tracing or tracing_of(name, settings)
    admissions = _admissions(servable.services, settings)
    hooks = {service: hooks_of(settings.identity, admission) for service, admission in admissions.items()}
    server = grpc.aio.server(
        interceptors=[HookInterceptor(hooks, settings.policy, tracing)],
        options=SERVER_OPTIONS,
    )
    for service in servable.services:
        service.add(service.servicer, server)
    health_servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    reflection.enable_server_reflection(
        (*admissions, health.SERVICE_NAME, reflection.SERVICE_NAME), server, pool=descriptor_pool.Default()
    )
    await _ping(servable, health_servicer, {})
    address = _listen(server, settings.listen)
    await server.start()
    beside = {"pings": lambda: _keep_pinging(servable, health_servicer), **servable.tasks}
    tasks = asyncio.gather(*(asyncio.create_task(_forever(name, task), name=name) for name, task in beside.items()))
    try:
        yield Running(address, server, health_servicer, admissions, tasks, servable.drain)
    finally:
        tasks.cancel()
        await server.stop(None)
        await asyncio.gather(tasks, return_exceptions=True)
        if tracing:
            await asyncio.to_thread(tracing.close)


def tracing_of(name: str, settings: ServerSettings) -> "Tracing | None":
    """The tracing that the settings ask for; closed by whoever serves with it."""
    if settings.traces == "off":
        return None
    from graphmesh_chassis.telemetry import Tracing

    return Tracing(name, settings)


def _admissions(services: Sequence[Service], settings: ServerSettings) -> Mapping[str, Admission]:
    """Each service's own places and queue."""
    pool = descriptor_pool.Default()
    policies = service_policies([pool.FindServiceByName(service.name) for service in services], settings.policy)
    return {name: Admission(policy.max_concurrency, policy.max_queue) for name, policy in policies.items()}


def _listen(server: grpc.aio.Server, listen: str) -> str:
    try:
        port = server.add_insecure_port(listen)
    except RuntimeError as error:
        raise OSError(f"cannot listen on {listen}") from error
    return f"{listen.rpartition(':')[0]}:{port}"


async def _keep_pinging(servable: Servable, servicer: health.aio.HealthServicer) -> None:
    failing: dict[str, str] = {}
    while True:
        await asyncio.sleep(PING_SECONDS)
        failing = await _ping(servable, servicer, failing)


async def _ping(servable: Servable, servicer: health.aio.HealthServicer, before: dict[str, str]) -> dict[str, str]:
    """Ask every resource, and set the services' health by the answers. Returns what fails."""
    failing = {}
    for name, ping in servable.pings.items():
        try:
            await ping()
        except Exception as error:
            failing[name] = str(error)
    if failing != before:
        log.warning("health", failing=failing)
    status = health_pb2.HealthCheckResponse.NOT_SERVING if failing else health_pb2.HealthCheckResponse.SERVING
    for name in ("", *(service.name for service in servable.services)):
        await servicer.set(name, status)
    return failing
