"""`graphmesh bench telemetry`: what metrics, logs and traces cost, at several shares of sampled runs.

Each share has an orchestrator of its own, with metrics and a line of log for each call; one has nothing of it. One
Envoy, one service and one PostgreSQL are those of all. They get the same load in turns, in an order that changes, and
ratios are taken within each round, so that other load of the machine affects all alike. Spans are exported to a
collector in this process, which drops them; metrics are read once in each turn.
"""

import asyncio
import json
import statistics
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import psutil
import typer
from graphmesh_local.child_process import ProcessError, reserve_port
from rich.console import Console
from rich.table import Table

from graphmesh_bench.compare import Load, repeat
from graphmesh_bench.measures import Ratio, cpu_seconds
from graphmesh_bench.runs.harness import PRODUCT, Harness, open_harness
from graphmesh_bench.runs.local_graphs import LOCAL, REMOTE
from graphmesh_bench.runs.resource_usage import process_tree
from graphmesh_bench.runs.variants import execute
from graphmesh_bench.server import COLLECTOR, SETTINGS

LOADS = {"nodes in process": LOCAL, "remote nodes": REMOTE}
SHARES = (0.0, 0.1, 1.0)
"""Of runs that are sampled."""
MIN_WIDTH = 120
"""Characters that the table needs."""


@dataclass(frozen=True)
class Plan:
    """The parameters of the benchmark."""

    rounds: int
    runs: int
    """Runs in a turn."""
    callers: int
    """Concurrent callers."""
    state_kb: int = 2


@dataclass(frozen=True)
class Variant:
    """An orchestrator under one kind of load."""

    load_name: str
    name: str
    load: Load
    processes: Sequence[psutil.Process]
    """The orchestrator and the service."""
    metrics: str = ""
    """The URL of the orchestrator's metrics; empty for none."""
    cpu: list[float] = field(default_factory=list)
    """Milliseconds a run, by round."""
    seconds: list[float] = field(default_factory=list)
    """For a run, by round: those of a turn divided by its runs."""

    async def take_turn(self, plan: Plan) -> None:
        cpu, began = cpu_seconds(self.processes), time.perf_counter()
        if self.metrics:
            await asyncio.to_thread(_read, self.metrics)
        await repeat(self.load, plan.runs, plan.callers)
        self.seconds.append((time.perf_counter() - began) / plan.runs)
        self.cpu.append((cpu_seconds(self.processes) - cpu) / plan.runs * 1000)

    def row(self, baseline: "Variant") -> tuple[str, ...]:
        rate, cpu = 1 / statistics.median(self.seconds), statistics.median(self.cpu)
        if self is baseline:
            return self.load_name, self.name, f"{rate:.0f}", f"{cpu:.2f}", "", ""
        slower = Ratio.with_interval(baseline.seconds, self.seconds)
        return "", self.name, f"{rate:.0f}", f"{cpu:.2f}", str(slower), str(Ratio.with_interval(self.cpu, baseline.cpu))


def main(plan: Plan) -> None:
    """Measure, and print the report."""
    console = Console(highlight=False)
    console.width = max(console.width, MIN_WIDTH)
    try:
        with console.status("Starting") as status:
            variants = asyncio.run(measure(plan, status.update))
    except ProcessError as failure:
        console.print(str(failure), style="red", markup=False)
        raise typer.Exit(1) from None
    columns = ("load", "telemetry", "runs/s", "CPU ms a run", "runs/s, ratio", "CPU, ratio")
    table = Table(*columns, title="The cost of metrics, logs and traces")
    for group in variants:
        for variant in group:
            table.add_row(*variant.row(group[0]))
    console.print(table)
    console.print(f"Medians of {plan.rounds} rounds, and their 95% intervals; {plan.callers} callers.")


async def measure(plan: Plan, on_stage: Callable[[str], None]) -> Sequence[Sequence[Variant]]:
    """Return the measured variants of each load; the first of each has no telemetry.

    Args:
        on_stage: gets the name of each stage at its beginning.
    """
    async with open_harness(plan.state_kb) as harness, _collector() as endpoint:
        groups = await _start(harness, endpoint)
        on_stage("Warming up")
        for variant in (one for group in groups for one in group):
            await repeat(variant.load, 4 * plan.runs, plan.callers)
        for number in range(plan.rounds):
            on_stage(f"Round {number + 1} of {plan.rounds}")
            for group in groups:
                first = number % len(group)
                for variant in [*group[first:], *group[:first]][:: -1 if number % 2 else 1]:
                    await variant.take_turn(plan)
        return groups


async def _start(harness: Harness, endpoint: str) -> Sequence[Sequence[Variant]]:
    traced = {"traces": "otlp", "otlp_endpoint": endpoint, "trace_ratio": 0}
    await harness.start_mesh({SETTINGS: json.dumps(traced)})
    none: dict[str, str] = {}
    settings = {"off": none} | {f"traces {share:.0%}": _settings(harness, endpoint, share) for share in SHARES}
    started = {name: await harness.start_orchestrator(PRODUCT, settings=one) for name, one in settings.items()}

    def variant(load: str, graph: str, name: str) -> Variant:
        processes = [*process_tree(started[name].process), *harness.mesh_processes]
        listen = settings[name].get("METRICS_LISTEN")
        url = f"http://{listen}/metrics" if listen else ""
        return Variant(load, name, execute(started[name].client, graph), processes, url)

    return [[variant(load, graph, name) for name in settings] for load, graph in LOADS.items()]


def _read(url: str) -> None:
    with urllib.request.urlopen(url) as response:
        response.read()


def _settings(harness: Harness, endpoint: str, share: float) -> dict[str, str]:
    folder = harness.folder / f"spans-{share}"
    folder.mkdir()
    exported = {"TRACES": "otlp", "OTLP_ENDPOINT": endpoint, "TRACE_RATIO": str(share)}
    listen = f"127.0.0.1:{reserve_port()}"
    return {**exported, "SPAN_FOLDER": str(folder), "METRICS_LISTEN": listen, "LOG_LEVEL": "info"}


@asynccontextmanager
async def _collector() -> AsyncIterator[str]:
    """Yield the endpoint of a collector that drops what it gets."""

    async def export(spans: bytes, context: object) -> bytes:
        return b""

    server = grpc.aio.server()
    handler: Any = grpc.unary_unary_rpc_method_handler(export)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(COLLECTOR, {"Export": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await server.stop(None)
