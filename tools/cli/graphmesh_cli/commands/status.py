"""`graphmesh status`: how the graphs and the services of a mesh on this machine do, on one screen."""

import asyncio
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from graphmesh_chassis.errors import Defect, DependencyError, GraphmeshError
from graphmesh_local.process_metrics import MeshMetrics, Samples, read_metrics
from graphmesh_local.state_folder import DEFAULT_STATE, MeshState
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from graphmesh_cli.commands.connection import running_mesh_of
from graphmesh_cli.commands.output import AsJson, console, print_json_line

PERIOD = 2.0
"""Seconds between two readings with --watch."""
MANY = 0.8
"""The part of a cap, or of a queue, from which on it is shown in red."""
BROKEN = frozenset({"error", "timeout"})
"""Ends of runs that are no success. A cancelled run is neither."""


@dataclass(frozen=True)
class GraphStatus:
    """A graph, since its processes began."""

    graph: str
    version: str
    in_flight: int
    ended: int
    success: float | None
    """The share of runs that have ended well, without cancelled ones; None where none has ended."""
    p50_seconds: float | None
    p95_seconds: float | None
    p99_seconds: float | None
    tokens_a_run: float | None
    dollars_a_run: float | None


@dataclass(frozen=True)
class ServiceStatus:
    """A service, since its processes began."""

    service: str
    healthy: int | None
    """Replicas; None where Envoy does not answer."""
    replicas: int | None
    ejected: int | None
    slots: int | None
    """Calls that hold a slot; None where the service has no metrics."""
    max_slots: int | None
    queued: int | None
    calls: int | None
    errors: float | None
    """The share of calls that failed by the service or for its load, and not by their caller."""
    p95_seconds: float | None


def status(
    watch: Annotated[bool, typer.Option("--watch", help="Read again every two seconds, until Ctrl-C.")] = False,
    as_json: AsJson = False,
    state: Annotated[Path, typer.Option(help="The state folder of the running mesh.")] = DEFAULT_STATE,
) -> None:
    """Show how the graphs and the services of the mesh do: runs, success, durations, money, caps, queues and errors.

    Counts and durations are those since each process began.
    """
    mesh = running_mesh_of(state)
    found = asyncio.run(read_metrics(mesh))
    if as_json:
        for one in (*graphs_of(found.samples), *services_of(mesh, found)):
            print_json_line(one)
        return None
    target = console()
    if not watch:
        return target.print(screen(mesh, found))
    with Live(screen(mesh, found), console=target, refresh_per_second=4) as live:
        while True:
            time.sleep(PERIOD)
            mesh = running_mesh_of(state)
            live.update(screen(mesh, asyncio.run(read_metrics(mesh))))


def graphs_of(samples: Samples) -> list[GraphStatus]:
    in_flight = samples.by("langgraph_runs_in_flight", "graphmesh_graph")
    ended = samples.by("graphmesh_runs_ended_total", "graphmesh_graph")
    return [_graph(name, samples, in_flight.get(name, 0.0)) for name in sorted({*in_flight, *ended})]


def _graph(name: str, samples: Samples, in_flight: float) -> GraphStatus:
    ends = samples.by("graphmesh_runs_ended_total", "graphmesh_end", graphmesh_graph=name)
    versions = samples.by("graphmesh_runs_ended_total", "graphmesh_graph_version", graphmesh_graph=name)
    ended, failed = sum(ends.values()), sum(ends.get(one, 0) for one in BROKEN)
    counted = ended - ends.get("cancelled", 0)
    durations = [_known(_duration(samples, name, share)) for share in (0.5, 0.95, 0.99)]
    return GraphStatus(
        graph=name,
        version=", ".join(sorted(versions)),
        in_flight=int(in_flight),
        ended=int(ended),
        success=(counted - failed) / counted if counted else None,
        p50_seconds=durations[0],
        p95_seconds=durations[1],
        p99_seconds=durations[2],
        tokens_a_run=samples.sum("graphmesh_run_tokens_sum", graphmesh_graph=name) / ended if ended else None,
        dollars_a_run=samples.sum("graphmesh_run_cost_usd_sum", graphmesh_graph=name) / ended if ended else None,
    )


def _duration(samples: Samples, graph: str, share: float) -> float:
    return samples.quantile("graphmesh_run_duration_seconds", share, graphmesh_graph=graph)


def services_of(mesh: MeshState, found: MeshMetrics) -> list[ServiceStatus]:
    return [_service(name, found) for name in mesh.services]


CALLS = "graphmesh_server_call_duration_seconds"


def _is_of_the_service(reason: str) -> bool:
    """Return whether an error is the service's own, or of its load, and not its caller's."""
    return issubclass(GraphmeshError.by_reason.get(reason, GraphmeshError), DependencyError | Defect)


def _service(name: str, found: MeshMetrics) -> ServiceStatus:
    samples, replicas = found.by_service.get(name, Samples()), found.replicas.get(name)
    has_metrics = bool(samples.found)
    calls = samples.sum(f"{CALLS}_count")
    reasons = samples.by(f"{CALLS}_count", "error_type")
    failed = sum(count for reason, count in reasons.items() if _is_of_the_service(reason))
    return ServiceStatus(
        service=name,
        healthy=replicas.healthy if replicas else None,
        replicas=replicas.total if replicas else None,
        ejected=replicas.ejected if replicas else None,
        slots=int(samples.sum("graphmesh_server_slots")) if has_metrics else None,
        max_slots=int(samples.sum("graphmesh_server_slots_max")) if has_metrics else None,
        queued=int(samples.sum("graphmesh_server_queue")) if has_metrics else None,
        calls=int(calls) if has_metrics else None,
        errors=failed / calls if calls else None,
        p95_seconds=_known(samples.quantile(CALLS, 0.95)),
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def screen(mesh: MeshState, found: MeshMetrics) -> RenderableType:
    graphs = _table("graph", "version", "in flight", "ended", "success", "p50", "p95", "p99", "tokens", "$ a run")
    for one in graphs_of(found.samples):
        is_bad = one.success is not None and one.success < 1
        graphs.add_row(
            one.graph,
            one.version,
            str(one.in_flight),
            str(one.ended),
            Text(_share(one.success), style="red" if is_bad else ""),
            *map(_seconds, (one.p50_seconds, one.p95_seconds, one.p99_seconds)),
            _number(one.tokens_a_run, 0),
            _number(one.dollars_a_run, 6),
        )
    services = _table("service", "replicas", "breaker", "slots", "queue", "calls", "errors", "p95")
    for service in services_of(mesh, found):
        services.add_row(*_cells(service))
    return Group(graphs, Text(), services, Text(), _waiting(found))


def _cells(one: ServiceStatus) -> list[Text]:
    is_down = one.healthy is not None and one.healthy < (one.replicas or 0)
    is_full = bool(one.max_slots) and (one.slots or 0) >= MANY * (one.max_slots or 1)
    healthy = "?" if one.healthy is None else f"{one.healthy} of {one.replicas}"
    breaker = "?" if one.ejected is None else f"{one.ejected} out" if one.ejected else "closed"
    slots = "no metrics" if one.slots is None else f"{one.slots} of {one.max_slots}"
    return [
        Text(one.service),
        Text(healthy, style="red" if is_down else ""),
        Text(breaker, style="red" if one.ejected else ""),
        Text(slots, style="dim" if one.slots is None else "red" if is_full else ""),
        Text("" if one.queued is None else str(one.queued), style="yellow" if one.queued else ""),
        Text("" if one.calls is None else str(one.calls)),
        Text(_share(one.errors), style="red" if one.errors else ""),
        Text(_seconds(one.p95_seconds)),
    ]


def _waiting(found: MeshMetrics) -> Text:
    """Return what waits: runs, approvals, webhook calls; and what could not be read."""
    values: Mapping[str, float] = {
        "runs pending": found.samples.max("graphmesh_runs_pending"),
        "approvals pending": found.samples.max("graphmesh_approvals_pending"),
        "webhook calls pending": found.samples.max("graphmesh_webhooks_pending"),
    }
    line = Text(", ".join(f"{int(value)} {name}" for name, value in values.items()))
    if oldest := found.samples.max("graphmesh_runs_oldest_pending_seconds"):
        line.append(f"; the oldest run waits for {_seconds(oldest)}", style="yellow")
    if found.unreachable:
        line.append(f"\nwithout metrics: {', '.join(found.unreachable)}", style="dim")
    return line


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    return table


def _share(value: float | None) -> str:
    return "" if value is None else f"{value * 100:.1f} %"


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s" if value < 120 else f"{value / 60:.1f} min"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
