"""`graphmesh bench remote`: a remote node beside the calls that it consists of.

Every variant is measured in every round, with sequential calls, so that other load of the machine affects all of them.
CPU is that of the client, the server and Envoy together, as the operating system counts it.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from graphmesh_chassis.channel import CHANNEL_OPTIONS, Channel
from graphmesh_chassis.settings import ServerSettings
from graphmesh_chassis.telemetry import Tracing
from graphmesh_local.child_process import reserve_port
from graphmesh_local.supervisor import OnDeath, Supervisor
from graphmesh_mesh.topology import Mesh
from graphmesh_nodes import remote
from grpc import aio
from langchain_core.runnables.config import RunnableConfig, var_child_runnable_config
from langgraph.graph import START, StateGraph
from langgraph.runtime import ExecutionInfo, Runtime
from rich.console import Console
from rich.table import Table
from typing_extensions import TypedDict

from graphmesh_bench.measures import Ratio, cpu_seconds
from graphmesh_bench.mesh import (
    Call,
    envoy_program,
    grpc_call,
    in_run,
    mesh_with,
    server_program,
    wait_until_routed,
)
from graphmesh_bench.server import BARE, CHASSIS, INVOICE_ID

WARM_UP_CALLS = 100
"""Calls of each variant before the first round."""


class State(TypedDict):
    invoice_id: str
    outstanding: int


STATE: Any = {"invoice_id": INVOICE_ID}
REMOTE_NODE = remote(
    CHASSIS,
    request=lambda state: CHASSIS.request(invoice_id=state["invoice_id"]),
    update=lambda state, response: {"outstanding": response.invoice.outstanding.amount_minor},
)


async def local_node(state: State) -> dict[str, Any]:
    return {"outstanding": 1890}


@dataclass
class Variant:
    """One way to call, and its samples."""

    name: str
    call: Call
    seconds: list[float] = field(default_factory=list)
    """One for each call."""
    cpu: list[float] = field(default_factory=list)
    """Milliseconds a call, by round."""
    rate: list[float] = field(default_factory=list)
    """Calls a second, by round."""

    @property
    def p50(self) -> float:
        """In milliseconds."""
        return statistics.median(self.seconds) * 1000

    @property
    def p99(self) -> float:
        """In milliseconds."""
        return statistics.quantiles(self.seconds, n=100)[98] * 1000

    def reset(self) -> None:
        """Drop the samples."""
        self.seconds, self.cpu, self.rate = [], [], []

    async def measure(self, calls: int, processes: list[psutil.Process]) -> None:
        """Add a round of sequential calls."""
        cpu, began = cpu_seconds(processes), time.perf_counter()
        for _ in range(calls):
            start = time.perf_counter()
            await self.call()
            self.seconds.append(time.perf_counter() - start)
        self.rate.append(calls / (time.perf_counter() - began))
        self.cpu.append((cpu_seconds(processes) - cpu) / calls * 1000)


@dataclass(frozen=True)
class Meshes:
    """One server, with an Envoy for untraced and another for traced calls."""

    plain: Mesh
    traced: Mesh
    processes: list[psutil.Process]
    """All of them, with this process."""


def main(calls: int, rounds: int, sampling: float) -> None:
    console = Console()
    variants = asyncio.run(_measure(calls, rounds, sampling))
    console.print(_table(variants))
    for line in _comparisons(variants, sampling):
        console.print(line, highlight=False)


async def _measure(calls: int, rounds: int, sampling: float) -> list[Variant]:
    with tempfile.TemporaryDirectory() as folder:
        async with _meshes(Path(folder), sampling) as meshes, _variants(meshes, sampling) as variants:
            for variant in variants:
                await variant.measure(WARM_UP_CALLS, meshes.processes)
                variant.reset()
            for _ in range(rounds):
                for variant in variants:
                    await variant.measure(calls, meshes.processes)
            return variants


@asynccontextmanager
async def _meshes(folder: Path, sampling: float) -> AsyncIterator[Meshes]:
    bare, chassis, traced = reserve_port(), reserve_port(), reserve_port()
    plain_mesh = mesh_with(crm=(BARE, bare), billing=(CHASSIS, chassis))
    traced_mesh = mesh_with(billing=(CHASSIS, traced))
    addresses = [f"127.0.0.1:{port}" for port in (chassis, bare, traced)]
    server = server_program(folder, "info", *addresses, str(sampling))
    envoys = [envoy_program(plain_mesh, folder / "plain"), envoy_program(traced_mesh, folder / "traced")]
    async with Supervisor(OnDeath.STOP) as supervisor:
        await supervisor.start([server], envoys)
        processes = [psutil.Process(), *(psutil.Process(child.pid) for child in supervisor.children)]
        await wait_until_routed(plain_mesh, BARE, CHASSIS)
        await wait_until_routed(traced_mesh, CHASSIS)
        yield Meshes(plain_mesh, traced_mesh, processes)


@asynccontextmanager
async def _variants(meshes: Meshes, sampling: float) -> AsyncIterator[list[Variant]]:
    collector = f"http://{meshes.plain.services['crm'].replica_listeners[0].target}"
    tracing = Tracing("bench", ServerSettings(traces="otlp", otlp_endpoint=collector, trace_ratio=sampling))
    async with (
        aio.insecure_channel(
            meshes.plain.services["crm"].replica_listeners[0].target, options=CHANNEL_OPTIONS
        ) as direct,
        aio.insecure_channel(meshes.plain.mesh.target, options=CHANNEL_OPTIONS) as through_envoy,
        Channel(meshes.plain.mesh.target) as plain,
        Channel(meshes.traced.mesh.target, tracing) as traced,
    ):
        config = in_run(plain, {})
        yield [
            Variant("in-process node, in a graph", partial(_graph(local_node).ainvoke, STATE, config)),
            Variant("raw grpc.aio call", grpc_call(direct, BARE)),
            Variant("raw grpc.aio call through Envoy", grpc_call(through_envoy, BARE)),
            Variant("remote node", _call_in_task(config)),
            Variant("remote node, in a graph", partial(_graph(REMOTE_NODE).ainvoke, STATE, config)),
            Variant("remote node, tracing on", _traced_call(tracing, _call_in_task(in_run(traced, {})))),
        ]
        tracing.close()


def _traced_call(tracing: Tracing, traced: Call) -> Call:
    async def call() -> None:
        tracing.decide({})
        await traced()

    return call


def _graph(node: Any) -> Any:
    graph = StateGraph(State)
    graph.add_node("read", node)
    graph.add_edge(START, "read")
    return graph.compile()


def _call_in_task(config: RunnableConfig) -> Call:
    """A call of the remote node in a task, as a graph begins it."""
    task = ExecutionInfo(checkpoint_id="", checkpoint_ns="", task_id="t1", thread_id="th_1")
    in_task = {**config["configurable"], "__pregel_runtime": Runtime(execution_info=task)}

    async def call() -> None:
        var_child_runnable_config.set({"configurable": in_task})
        await REMOTE_NODE(STATE)

    return call


def _table(variants: list[Variant]) -> Table:
    table = Table("sequential calls", title="graphmesh bench remote")
    for column in ("p50 ms", "p99 ms", "calls/s", "CPU ms a call"):
        table.add_column(column, justify="right")
    for variant in variants:
        numbers = (variant.p50, variant.p99, statistics.median(variant.rate), statistics.median(variant.cpu))
        table.add_row(variant.name, *(f"{number:,.{0 if number >= 100 else 2}f}" for number in numbers))
    return table


def _comparisons(variants: list[Variant], sampling: float) -> list[str]:
    local_graph, _, through_envoy, node, graph, traced = variants
    graph_cpu = statistics.median(graph.cpu) - statistics.median(local_graph.cpu)
    cpu_ratio = Ratio.paired(node.cpu, through_envoy.cpu).median
    tracing_cpu = statistics.median(on - off for on, off in zip(traced.cpu, node.cpu, strict=True))
    return [
        f"remote node / raw call through Envoy: p50 {node.p50 / through_envoy.p50:.2f}×, CPU {cpu_ratio:.2f}×",
        f"in a graph, less the graph itself: p50 {(graph.p50 - local_graph.p50) / through_envoy.p50:.2f}×, "
        f"CPU {graph_cpu / statistics.median(through_envoy.cpu):.2f}×",
        f"tracing on at {sampling:.0%}: {tracing_cpu:+.2f} ms CPU a call",
    ]
