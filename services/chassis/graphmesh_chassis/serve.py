"""The life cycle of a server, the same for all servers of the mesh: start, serve, drain, stop.

    def main() -> None:
        run("billing", build, Settings)

`build` opens what the service needs, yields a `Servable`, and closes in reverse.
"""

import asyncio
import gc
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

import grpc
import structlog
from google.protobuf import descriptor_pool
from graphmesh_contracts import PolicyError, ServicePolicy, service_policies
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from pydantic import ValidationError
from pydantic_settings import CliApp, SettingsError

from graphmesh_chassis.adapter import HookInterceptor
from graphmesh_chassis.admission import Admission
from graphmesh_chassis.audit_refusals import Refusals
from graphmesh_chassis.audit_sealer import Sealer
from graphmesh_chassis.channel import SERVER_OPTIONS
from graphmesh_chassis.database import Database, SharedSessions
from graphmesh_chassis.egress import use_proxy
from graphmesh_chassis.errors import DatabaseUnavailable
from graphmesh_chassis.hooks import hooks_of
from graphmesh_chassis.large_values import SWITCH_SECONDS
from graphmesh_chassis.logs import configure_logs
from graphmesh_chassis.loop_lag import LoopLag
from graphmesh_chassis.rated import open_rates, rated, rated_services
from graphmesh_chassis.running import Drain, Running, StopSignals
from graphmesh_chassis.server_metrics import observe_server, recorded_metrics, served_metrics
from graphmesh_chassis.settings import BadSetting, ServerSettings, check_arguments
from graphmesh_chassis.telemetry import spans

if TYPE_CHECKING:
    from graphmesh_chassis.call_tokens import CallVerifier
    from graphmesh_chassis.telemetry.tracing import Tracing
    from graphmesh_chassis.workload import Workload

log = structlog.get_logger("graphmesh.server")

PRIVATE_UMASK = 0o077
STOP_SECONDS = 2.0
"""How long tasks that are left when a server has stopped may take to end."""

SettingsT = TypeVar("SettingsT", bound=ServerSettings)
SettingsT_contra = TypeVar("SettingsT_contra", bound=ServerSettings, contravariant=True)

Ping = Callable[[], Awaitable[None]]
"""Returns where the resource responds, raises where it does not."""
Task = Callable[[], Awaitable[None]]
"""Runs as long as the server. Its end, by return or by exception, stops the server."""


class Handles(Protocol):
    """The generated class of a service's RPC handles, such as `graphmesh.billing.v1.BillingService`."""

    @property
    def NAME(self) -> str: ...


@dataclass(frozen=True)
class Service:
    """A servicer and its service."""

    handles: type[Handles]
    add: Callable[[Any, Any], None]
    """The generated `add_…Servicer_to_server`."""
    servicer: object

    @property
    def name(self) -> str:
        return str(self.handles.NAME)


@dataclass(frozen=True)
class Servable:
    """The services of a process, with the resources and tasks that belong to them."""

    services: Sequence[Service]
    database: Database | None = None
    """The server's own database. Its health is the services' health, and the server seals its audit logs."""
    pings: Mapping[str, Ping] = field(default_factory=dict)
    """Pings of further resources that the services depend on, by name: their health is the services' health."""
    tasks: Mapping[str, Task] = field(default_factory=dict)
    """Background tasks, by name."""
    drain: Drain | None = None
    """Ends the server's background work; called when the server begins to drain."""
    tracing: "Tracing | None" = None
    """Its tracing, where that is not as the settings state."""
    ping_seconds: float = 1.0
    """Seconds between two pings of each resource."""

    @property
    def all_pings(self) -> Mapping[str, Ping]:
        return {**({"database": self.database.ping} if self.database else {}), **self.pings}


class Build(Protocol[SettingsT_contra]):
    """A composition root."""

    def __call__(self, settings: SettingsT_contra, /) -> AbstractAsyncContextManager[Servable]: ...


def run(name: str, build: Build[SettingsT], settings_type: type[SettingsT]) -> None:
    """The main function of a server: read settings, configure logs, serve until a signal.

    The exit code is 2 for bad settings, and 1 where the port or the database is not available. The files that the
    server writes, such as SQLite's, are readable by its user only.
    """
    os.umask(PRIVATE_UMASK)
    try:
        check_arguments(settings_type, sys.argv[1:])
        settings = CliApp.run(settings_type)
        if settings.egress:
            use_proxy(settings.egress)
        configure_logs(name, settings.log_level)
        with asyncio.Runner(loop_factory=loop_factory(settings)) as runner:
            runner.run(_serve_until_signal(name, build, settings))
    except ValidationError as error:
        _exit(2, f"{name}: bad settings: {_violations(error, settings_type)}")
    except SettingsError as error:
        _exit(2, f"{name}: bad settings: {error}")
    except (PolicyError, BadSetting) as error:
        _exit(2, f"{name}: bad settings: {error}")
    except SharedSessions as error:
        _exit(2, f"{name}: bad settings: {_variable(settings_type, 'database_url')}: {error}")
    except (OSError, DatabaseUnavailable) as error:
        _exit(1, f"{name}: {error}" + (f" ({error.__cause__})" if error.__cause__ else ""))


def loop_factory(settings: ServerSettings) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where the settings allow it and the platform has it; None: asyncio's own."""
    if settings.event_loop == "asyncio":
        return None
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _violations(error: ValidationError, settings_type: type[ServerSettings]) -> str:
    """Return the violations of settings in one line, each with its environment variable."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    rules = [(one["loc"], one["msg"].removeprefix("Value error, ")) for one in found]
    return "; ".join(f"{_variable(settings_type, str(loc[0]))}: {rule}" if loc else rule for loc, rule in rules)


def _variable(settings_type: type[ServerSettings], setting: str) -> str:
    return f"{settings_type.model_config.get('env_prefix', '')}{setting}".upper()


def _exit(code: int, message: str) -> NoReturn:
    sys.stderr.write(f"{message}\n")
    raise SystemExit(code)


async def _serve_until_signal(name: str, build: Build[SettingsT], settings: SettingsT) -> None:
    try:
        await _serve(name, build, settings)
    finally:
        await _stop_tasks()


async def _stop_tasks() -> None:
    """Cancel the tasks that are left, and end the process at once if they ignore that: asyncio would wait for them."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    stubborn = (await asyncio.wait(left, timeout=STOP_SECONDS))[1] if left else ()
    if stubborn:
        failure = sys.exc_info()[1]
        log.error("tasks cut off", tasks=sorted(task.get_name() for task in stubborn), exc_info=failure)
        os._exit(1 if failure else 0)


async def _serve(name: str, build: Build[SettingsT], settings: SettingsT) -> None:
    signals = StopSignals()
    with recorded_metrics(name, settings) as recorder:
        async with build(settings) as servable, serving(name, servable, settings) as running:
            gc.freeze()  # what is loaded by now lives as long as the server; the garbage collector need not scan it
            services = [service.name for service in servable.services]
            with served_metrics(recorder, settings) as metrics_at:
                log.info("listening", address=running.address, services=services, **metrics_at)
                await _until_stopped(running, signals, settings)
    log.info("stopped")


async def _until_stopped(running: Running, signals: StopSignals, settings: ServerSettings) -> None:
    stopped = asyncio.create_task(signals.first.wait(), name="first signal")
    await asyncio.wait((stopped, running.tasks), return_when=asyncio.FIRST_COMPLETED)
    if running.tasks.done():
        stopped.cancel()
        running.tasks.result()
    await running.linger(signals, settings.linger_seconds)
    log.info("draining", seconds=settings.drain_seconds)
    await running.drain(signals, settings.drain_seconds)


async def _run_background(name: str, task: Task) -> None:
    await task()
    raise RuntimeError(f"the background task {name} ended while the server was running")


@asynccontextmanager
async def serving(name: str, servable: Servable, settings: ServerSettings) -> AsyncIterator[Running]:
    """Serve `servable` while the body runs, with hooks, health for each service, and reflection.

    Raises:
        OSError: the address cannot be bound.
        PolicyError: a service declares no policy, or an override is invalid.
    """
    tracing = servable.tracing or _tracing(name, settings)
    if tracing:
        spans.use(tracing.spans)
    call_tokens, workload = _call_tokens(settings), workload_of(settings)
    policies = _policies(servable.services, settings)
    admissions = {name: Admission(one.max_concurrency, one.max_queue, one.max_waits) for name, one in policies.items()}
    with_rates = _rated(policies, settings)
    rates = open_rates(settings.redis_url, settings.rate_answer_seconds) if with_rates else None
    refusals = Refusals() if servable.database else None
    hooks = {
        service: hooks_of(
            settings.identity,
            admission,
            validate_responses=settings.validate_responses,
            call_tokens=call_tokens,
            rated=rated(name, policies[service], rates) if rates and service in with_rates else None,
            refusals=refusals,
            workload=workload,
        )
        for service, admission in admissions.items()
    }
    server = grpc.aio.server(
        interceptors=[HookInterceptor(hooks, settings.policy, tracing, workload)],
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
    address = _listen(server, settings.listen, workload)
    await server.start()
    sys.setswitchinterval(SWITCH_SECONDS)
    loop_lag = LoopLag()
    background = {
        "pings": lambda: _keep_pinging(servable, health_servicer),
        "event loop lag": loop_lag.measure,
        **({"audit log": Sealer(servable.database, refusals).run} if servable.database else {}),
        **servable.tasks,
    }
    forget = observe_server(admissions, servable.database, rates, loop_lag)
    running = [asyncio.create_task(_run_background(name, task), name=name) for name, task in background.items()]
    tasks = asyncio.gather(*running)
    try:
        yield Running(address, server, health_servicer, admissions, tasks, servable.drain, loop_lag)
    finally:
        for task in running:  # a gathering that has failed does not cancel the others
            task.cancel()
        await server.stop(None)
        await asyncio.gather(tasks, *running, return_exceptions=True)
        forget()
        if rates:
            await rates.close()
        if tracing:
            spans.use(None)
            await asyncio.to_thread(tracing.close)


def _tracing(name: str, settings: ServerSettings) -> "Tracing | None":
    """The tracing that the settings describe; None where it is off."""
    if settings.traces == "off":
        return None
    from graphmesh_chassis.telemetry.tracing import Tracing

    return Tracing(name, settings)


def workload_of(settings: ServerSettings) -> "Workload | None":
    """The certificate that the settings name; None: connections are plain."""
    if settings.certificate is None or settings.authorities is None:
        return None
    from graphmesh_chassis.workload import Workload

    return Workload(settings.certificate, settings.authorities)


def _call_tokens(settings: ServerSettings) -> "CallVerifier | None":
    if settings.call_keys is None:
        return None
    from graphmesh_chassis.call_tokens import CallVerifier

    return CallVerifier(settings.call_keys)


def _policies(services: Sequence[Service], settings: ServerSettings) -> Mapping[str, ServicePolicy]:
    """The policy of each service, by its full name."""
    pool = descriptor_pool.Default()
    return service_policies([pool.FindServiceByName(service.name) for service in services], settings.policy)


def _rated(policies: Mapping[str, ServicePolicy], settings: ServerSettings) -> frozenset[str]:
    """The full names of the services with rates."""
    pool = descriptor_pool.Default()
    return rated_services([pool.FindServiceByName(name) for name in policies], policies, settings.policy)


def _listen(server: grpc.aio.Server, listen: str, workload: "Workload | None") -> str:
    try:
        secured = workload.server() if workload else None
        port = server.add_secure_port(listen, secured) if secured else server.add_insecure_port(listen)
    except RuntimeError as error:
        raise OSError(f"cannot listen on {listen}") from error
    return f"{listen.rpartition(':')[0]}:{port}"


async def _keep_pinging(servable: Servable, servicer: health.aio.HealthServicer) -> None:
    failing: dict[str, str] = {}
    while True:
        await asyncio.sleep(servable.ping_seconds)
        failing = await _ping(servable, servicer, failing)


async def _ping(servable: Servable, servicer: health.aio.HealthServicer, before: dict[str, str]) -> dict[str, str]:
    """Ping every resource, set the services' health accordingly, and return the failures by resource.

    Args:
        before: the failures of the last time; a change is logged.
    """
    failing = {}
    for name, ping in servable.all_pings.items():
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
