"""The metrics that every server has: its calls, its slots and queues, its event loop, its database and Redis."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from graphmesh_chassis.admission import Admission
from graphmesh_chassis.loop_lag import LoopLag
from graphmesh_chassis.rates import Rates
from graphmesh_chassis.settings import ServerSettings
from graphmesh_chassis.telemetry import names
from graphmesh_chassis.telemetry.metrics import Observation, Observe, counter, gauge, histogram

if TYPE_CHECKING:
    from graphmesh_chassis.database import Database
    from graphmesh_chassis.telemetry.prometheus import PrometheusRecorder

CALLS = histogram(
    "graphmesh.server.call.duration",
    "s",
    "Calls that this process has served, from their arrival to their response, by the reason of their error",
    (names.METHOD, names.REASON),
)
EFFECTS = counter(
    "graphmesh.server.effects",
    "{effect}",
    "Effects by what became of them: claimed (made now), replayed (a repeat got the stored outcome), unknown",
    (names.METHOD, names.END),
)
SLOTS = gauge("graphmesh.server.slots", "{call}", "Calls that hold a slot", (names.SERVICE_NAME,))
MAX_SLOTS = gauge("graphmesh.server.slots.max", "{call}", "The limit of calls at a time", (names.SERVICE_NAME,))
QUEUED = gauge("graphmesh.server.queue", "{call}", "Calls that wait for a slot", (names.SERVICE_NAME,))
MAX_QUEUED = gauge("graphmesh.server.queue.max", "{call}", "The places of the queue", (names.SERVICE_NAME,))
LAG = gauge("graphmesh.event_loop.lag", "s", "The longest block of the event loop since the metrics were read last")
POOL = gauge("graphmesh.database.pool", "{connection}", "Connections in use")
WITHOUT_REDIS = gauge(
    "graphmesh.rates.without_redis",
    "{call}",
    "Calls that were decided while Redis did not answer, by the failure mode of their rate: open, closed",
    (names.END,),
)


def observe_server(
    admissions: Mapping[str, Admission], database: "Database | None", rates: Rates | None, loop_lag: LoopLag
) -> Callable[[], None]:
    """Observe a server until what is returned is called.

    Args:
        admissions: by the full name of the service.
    """

    def of_services(value: Callable[[Admission], float]) -> Observe:
        return lambda: [(value(one), {names.SERVICE_NAME: name}) for name, one in admissions.items()]

    def without_redis() -> Iterator[Observation]:
        for mode, count in list(rates.without_redis.items()) if rates else ():
            yield count, {names.END: mode}

    ends = [
        SLOTS.observe(of_services(lambda one: one.active)),
        MAX_SLOTS.observe(of_services(lambda one: one.max_concurrency)),
        QUEUED.observe(of_services(lambda one: one.queued)),
        MAX_QUEUED.observe(of_services(lambda one: one.max_queue)),
        LAG.observe(lambda: [(loop_lag.take(), {})]),
        WITHOUT_REDIS.observe(without_redis),
    ]
    if database:
        ends.append(POOL.observe(lambda: [(database.connections_in_use, {})]))

    def end() -> None:
        for one in ends:
            one()

    return end


def has_metrics(settings: ServerSettings) -> bool:
    """Return whether the process records metrics."""
    return bool(settings.metrics_listen) or settings.metrics != "off"


@contextmanager
def recorded_metrics(name: str, settings: ServerSettings) -> Iterator["PrometheusRecorder | None"]:
    """Record metrics where the settings state it, and export them."""
    if not has_metrics(settings):
        yield None
        return
    from graphmesh_chassis.telemetry.otlp_metrics import exporting, otlp_exporter
    from graphmesh_chassis.telemetry.prometheus import recording

    with ExitStack() as stack:
        recorder = stack.enter_context(recording())
        if settings.metrics == "otlp":
            stack.enter_context(exporting(recorder, name, otlp_exporter(settings)))
        yield recorder


@contextmanager
def served_metrics(recorder: "PrometheusRecorder | None", settings: ServerSettings) -> Iterator[Mapping[str, str]]:
    """Serve metrics where the settings state it; yields the field of the log with their address.

    The port is bound when the server listens: a process that waits to take over from another one has the same.
    """
    if recorder is None or not settings.metrics_listen:
        yield {}
        return
    from graphmesh_chassis.telemetry.prometheus import served

    with served(recorder, settings.metrics_listen) as address:
        yield {"metrics": address}
