"""`graphmesh bench remote`: a remote node beside the parts that it is made of.

Every kind of call is measured in every round, one call after the other, so that what else the machine does meets all
of them. CPU is that of the client, the server and Envoy together, as the operating system counts it.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from graphmesh_chassis.channel import CHANNEL_OPTIONS, Channel
from graphmesh_chassis.settings import ServerSettings
from graphmesh_chassis.telemetry import Tracing
from graphmesh_local.child_process import reserve_port
from graphmesh_local.supervisor import OnDeath, Supervisor
from graphmesh_mesh.topology import Mesh
from graphmesh_nodes import RunContext, remote
from grpc import aio
from langgraph.graph import START, StateGraph
from langgraph.runtime import ExecutionInfo, Runtime
from rich.console import Console
from rich.table import Table
from typing_extensions import TypedDict

from graphmesh_bench.measures import Ratio, cpu_seconds
from graphmesh_bench.meshed import Call, healthy, mesh_of, raw, routing, run_context, serving
from graphmesh_bench.server import BARE, CHASSIS, INVOICE_ID

WARM_UP = 100
"""Calls of each kind before the first round."""


class State(TypedDict):
    invoice_id: str
    owes: int


NODE = remote(
    CHASSIS,
    request=lambda state: CHASSIS.request(invoice_id=state["invoice_id"]),
    update=lambda state, response: {"owes": response.invoice.outstanding.amount_minor},
)


@dataclass
class Kind:
    """One kind of call, and what was measured of it."""

    name: str
    call: Call
    seconds: list[float] = field(default_factory=list)
    """Of each call."""
    cpu: list[float] = field(default_factory=list)
    """Milliseconds for each call, by round."""
    rate: list[float] = field(default_factory=list)
    """Calls each second, by round."""

    @property
    def p50(self) -> float:
        return statistics.median(self.seconds) * 1000

    @property
    def p99(self) -> float:
        return statistics.quantiles(self.seconds, n=100)[98] * 1000


def main(calls: int, rounds: int, sampling: float) -> None:
    console = Console()
    kinds = asyncio.run(_measure(calls, rounds, sampling))
    console.print(_table(kinds))
    for line in _verdict(kinds, sampling):
        console.print(line, highlight=False)


async def _measure(calls: int, rounds: int, sampling: float) -> list[Kind]:
    with tempfile.TemporaryDirectory() as folder:
        async with _processes(Path(folder), sampling) as (plain, traced, processes):
            collector = f"http://{plain.services['crm'].target}"
            tracing = Tracing("bench", ServerSettings(traces="otlp", otlp_endpoint=collector, trace_ratio=sampling))
            async with Channel(plain.mesh.target) as mesh, Channel(traced.mesh.target, tracing) as traced_mesh:
                kinds = await _kinds(plain, mesh, traced_mesh, tracing)
                for kind in kinds:
                    await _round(kind, WARM_UP, processes)
                    kind.seconds, kind.cpu, kind.rate = [], [], []
                for _ in range(rounds):
                    for kind in kinds:
                        await _round(kind, calls, processes)
                tracing.close()
    return kinds


@asynccontextmanager
async def _processes(folder: Path, sampling: float) -> AsyncIterator[tuple[Mesh, Mesh, list[psutil.Process]]]:
    """The server, and an Envoy for the calls without and one for those with tracing."""
    bare, chassis, traced = reserve_port(), reserve_port(), reserve_port()
    plain_mesh = mesh_of(crm=(BARE, bare), billing=(CHASSIS, chassis))
    traced_mesh = mesh_of(billing=(CHASSIS, traced))
    addresses = [f"127.0.0.1:{port}" for port in (chassis, bare, traced)]
    server = serving(folder, "info", *addresses, str(sampling))
    envoys = [routing(mesh, folder / name) for name, mesh in (("plain", plain_mesh), ("traced", traced_mesh))]
    async with Supervisor(OnDeath.STOP) as supervisor:
        await supervisor.start([server], envoys)
        own = [psutil.Process(), *(psutil.Process(child.pid) for child in supervisor.children)]
        await healthy(plain_mesh, BARE, CHASSIS)
        await healthy(traced_mesh, CHASSIS)
        yield plain_mesh, traced_mesh, own


async def _kinds(plain: Mesh, mesh: Channel, traced_mesh: Channel, tracing: Tracing) -> list[Kind]:
    direct = aio.insecure_channel(plain.services["crm"].target, options=CHANNEL_OPTIONS)
    through = aio.insecure_channel(plain.mesh.target, options=CHANNEL_OPTIONS)
    local = _graph(_in_process)
    far = _graph(NODE)
    context, traced_context = run_context(mesh), run_context(traced_mesh)
    state: Any = {"invoice_id": INVOICE_ID}
    runtime: Runtime[RunContext] = Runtime(context=context, execution_info=_task())
    traced_runtime: Runtime[RunContext] = Runtime(context=traced_context, execution_info=_task())

    async def traced() -> None:
        tracing.decide({})
        await NODE(state, {}, traced_runtime)

    return [
        Kind("in-process node, in a graph", lambda: local.ainvoke(state, context=context)),
        Kind("raw grpc.aio call", raw(direct, BARE)),
        Kind("raw grpc.aio call through Envoy", raw(through, BARE)),
        Kind("remote node", lambda: NODE(state, {}, runtime)),
        Kind("remote node, in a graph", lambda: far.ainvoke(state, context=context)),
        Kind("remote node, tracing on", traced),
    ]


async def _in_process(state: State) -> dict[str, Any]:
    return {"owes": 1890}


def _graph(node: Any) -> Any:
    graph = StateGraph(State, context_schema=RunContext)
    graph.add_node("read", node)
    graph.add_edge(START, "read")
    return graph.compile()


def _task() -> ExecutionInfo:
    return ExecutionInfo(checkpoint_id="", checkpoint_ns="", task_id="t1", thread_id="th_1")


async def _round(kind: Kind, calls: int, processes: list[psutil.Process]) -> None:
    cpu, began = cpu_seconds(processes), time.perf_counter()
    for _ in range(calls):
        start = time.perf_counter()
        await kind.call()
        kind.seconds.append(time.perf_counter() - start)
    kind.rate.append(calls / (time.perf_counter() - began))
    kind.cpu.append((cpu_seconds(processes) - cpu) / calls * 1000)


def _table(kinds: list[Kind]) -> Table:
    table = Table("one call after the other", title="graphmesh bench remote")
    for column in ("p50 ms", "p99 ms", "calls/s", "CPU ms a call"):
        table.add_column(column, justify="right")
    for kind in kinds:
        numbers = (kind.p50, kind.p99, statistics.median(kind.rate), statistics.median(kind.cpu))
        table.add_row(kind.name, *(f"{number:,.{0 if number >= 100 else 2}f}" for number in numbers))
    return table


def _verdict(kinds: list[Kind], sampling: float) -> list[str]:
    local, _, through, node, far, traced = kinds
    graph_cpu = statistics.median(far.cpu) - statistics.median(local.cpu)
    return [
        f"remote node / raw call through Envoy: p50 {node.p50 / through.p50:.2f}×, CPU {_ratio(node, through):.2f}×",
        f"in a graph, less the graph itself: p50 {(far.p50 - local.p50) / through.p50:.2f}×, "
        f"CPU {graph_cpu / statistics.median(through.cpu):.2f}×",
        f"tracing on at {sampling:.0%}: {_difference(traced, node):+.2f} ms CPU a call",
    ]


def _ratio(one: Kind, other: Kind) -> float:
    """The median over the rounds of the ratio within each."""
    return Ratio.paired(one.cpu, other.cpu).median


def _difference(one: Kind, other: Kind) -> float:
    return statistics.median(mine - its for mine, its in zip(one.cpu, other.cpu, strict=True))
