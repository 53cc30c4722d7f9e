"""`graphmesh bench remote`: a remote node beside the calls that it consists of.

Every variant is measured in every round, with sequential calls, so that other load of the machine affects all of them;
every other round has them in the opposite order. CPU is that of the client, the server and Envoy together, as the
operating system counts it.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import psutil
from graphmesh_chassis.call_tokens import CallSigner
from graphmesh_chassis.channel import CHANNEL_OPTIONS, Channel
from graphmesh_chassis.settings import ServerSettings
from graphmesh_chassis.telemetry import spans
from graphmesh_chassis.telemetry.tracing import Tracing
from graphmesh_chassis.workload import Workload
from graphmesh_contracts.workloads import COMMANDS
from graphmesh_local.call_keys import PRIVATE, PUBLIC, replace_call_key
from graphmesh_local.certificates import issue_certificates, open_authority, workloads
from graphmesh_local.child_process import reserve_port
from graphmesh_local.supervisor import OnDeath, Supervisor
from graphmesh_mesh.mutual_tls import MutualTls
from graphmesh_mesh.topology import Mesh
from graphmesh_nodes import remote
from graphmesh_nodes.context import CONTEXT_KEY
from grpc import aio
from langchain_core.runnables.config import var_child_runnable_config
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
    wait_until_successful,
    with_mutual_tls,
)
from graphmesh_bench.server import BARE, CHASSIS, INVOICE_ID
from graphmesh_bench.token_cost import token_cost

WARM_UP_CALLS = 300
"""Calls of each variant before the first round."""


class State(TypedDict):
    invoice_id: str
    outstanding: int


STATE: Any = {"invoice_id": INVOICE_ID}
TASK = {
    "__pregel_runtime": Runtime(
        execution_info=ExecutionInfo(checkpoint_id="", checkpoint_ns="", task_id="t1", thread_id="th_1")
    )
}
"""The task of a graph, as LangGraph states it to the node that it executes."""
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
    """One server, with an Envoy each for untraced, traced and signed calls, and for signed ones with mutual TLS."""

    plain: Mesh
    traced: Mesh
    signed: Mesh
    secured: Mesh
    call_key: Path
    workload: Workload
    """The client's, for `secured`."""
    processes: list[psutil.Process]
    """All of them, with this process."""


def main(calls: int, rounds: int, sampling: float) -> None:
    console = Console()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        replace_call_key(folder)
        variants = asyncio.run(_measure(folder, calls, rounds, sampling))
        console.print(_table(variants))
        for line in (*_comparisons(variants, sampling), str(token_cost(folder / PRIVATE, folder / PUBLIC))):
            console.print(line, highlight=False)


async def _measure(folder: Path, calls: int, rounds: int, sampling: float) -> list[Variant]:
    async with _meshes(folder, sampling) as meshes, _variants(meshes, sampling) as variants:
        for variant in variants:
            await wait_until_successful(variant.call)
            await variant.measure(WARM_UP_CALLS, meshes.processes)
            variant.reset()
        for number in range(rounds):
            for variant in variants[:: -1 if number % 2 else 1]:
                await variant.measure(calls, meshes.processes)
        return variants


@asynccontextmanager
async def _meshes(folder: Path, sampling: float) -> AsyncIterator[Meshes]:
    bare, chassis, traced, signed, secured = (reserve_port() for _ in range(5))
    plain_mesh = mesh_with(crm=(BARE, bare), billing=(CHASSIS, chassis))
    traced_mesh = mesh_with(billing=(CHASSIS, traced))
    signed_mesh = mesh_with(billing=(CHASSIS, signed))
    tls = MutualTls(certificates=folder / "certificates")
    secured_mesh = with_mutual_tls(mesh_with(billing=(CHASSIS, secured)), tls)
    open_authority(tls.folder)
    issue_certificates(tls.folder, tls.trust_domain, workloads(secured_mesh))
    ports = (chassis, bare, traced, signed, secured)
    chassis_at, bare_at, traced_at, signed_at, secured_at = (f"127.0.0.1:{port}" for port in ports)
    further = (bare_at, traced_at, str(sampling), signed_at, str(folder / PUBLIC), secured_at, str(tls.folder))
    server = server_program(folder, "info", chassis_at, *further)
    meshes = {"plain": plain_mesh, "traced": traced_mesh, "signed": signed_mesh, "secured": secured_mesh}
    envoys = [envoy_program(mesh, folder / name) for name, mesh in meshes.items()]
    async with Supervisor(OnDeath.STOP) as supervisor:
        await supervisor.start([server], envoys)
        processes = [psutil.Process(), *(psutil.Process(child.pid) for child in supervisor.children)]
        workload = Workload(tls.certificate(COMMANDS), tls.authorities)
        yield Meshes(plain_mesh, traced_mesh, signed_mesh, secured_mesh, folder / PRIVATE, workload, processes)


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
        Channel(meshes.traced.mesh.target) as traced,
        Channel(meshes.signed.mesh.target, signer=CallSigner(meshes.call_key)) as signed,
        Channel(meshes.secured.mesh.target, signer=CallSigner(meshes.call_key), workload=meshes.workload) as secured,
    ):
        yield [
            Variant("in-process node, in a graph", _run_of_graph(local_node, plain)),
            Variant("raw grpc.aio call", grpc_call(direct, BARE)),
            Variant("raw grpc.aio call through Envoy", grpc_call(through_envoy, BARE)),
            Variant("remote node", _call_in_task(plain)),
            Variant("  with tokens of calls", _call_in_task(signed)),
            Variant("  with tokens and mutual TLS", _call_in_task(secured)),
            Variant("remote node, first call of a run", _first_call(plain)),
            Variant("  with tokens of calls", _first_call(signed)),
            Variant("  with tokens and mutual TLS", _first_call(secured)),
            Variant("remote node, in a graph", _run_of_graph(REMOTE_NODE, plain)),
            Variant("  with tokens and mutual TLS", _run_of_graph(REMOTE_NODE, secured)),
            Variant("remote node, tracing on", _traced_call(tracing, _call_in_task(traced))),
        ]
        tracing.close()


def _traced_call(tracing: Tracing, traced: Call) -> Call:
    async def call() -> None:
        spans.use(tracing.spans)
        try:
            tracing.decide({})
            await traced()
        finally:
            spans.use(None)

    return call


def _call_in_task(channel: Channel) -> Call:
    """A call of the remote node in a task, as a graph begins it. All are of one run and share tokens."""
    run = _configurable(channel)

    async def call() -> None:
        var_child_runnable_config.set({"configurable": {**run, **TASK}})
        await REMOTE_NODE(STATE)

    return call


def _first_call(channel: Channel) -> Call:
    """As `_call_in_task`, each call of another run, so that no call has the token of another."""
    runs = _new_runs(channel)

    async def call() -> None:
        var_child_runnable_config.set({"configurable": {**next(runs), **TASK}})
        await REMOTE_NODE(STATE)

    return call


def _run_of_graph(node: Any, channel: Channel) -> Call:
    """A run of a graph with this node only."""
    graph = StateGraph(State)
    graph.add_node("read", node)
    graph.add_edge(START, "read")
    compiled, runs = graph.compile(), _new_runs(channel)

    async def call() -> None:
        await compiled.ainvoke(STATE, {"configurable": next(runs)})

    return call


def _configurable(channel: Channel) -> dict[str, Any]:
    return dict(in_run(channel, {})["configurable"])


def _new_runs(channel: Channel) -> Iterator[dict[str, Any]]:
    """The context of a run, with another id each time."""
    context = _configurable(channel)[CONTEXT_KEY]
    return ({CONTEXT_KEY: replace(context, run_id=f"run_{number}")} for number in count())


def _table(variants: list[Variant]) -> Table:
    table = Table("sequential calls", title="graphmesh bench remote")
    for column in ("p50 ms", "p99 ms", "calls/s", "CPU ms a call"):
        table.add_column(column, justify="right")
    for variant in variants:
        numbers = (variant.p50, variant.p99, statistics.median(variant.rate), statistics.median(variant.cpu))
        table.add_row(variant.name, *(f"{number:,.{0 if number >= 100 else 2}f}" for number in numbers))
    return table


def _comparisons(variants: list[Variant], sampling: float) -> list[str]:
    local_graph, _, through_envoy, *further, first, first_signed, first_secured, graph, graph_secured, traced = variants
    node = further[0]
    graph_cpu = statistics.median(graph.cpu) - statistics.median(local_graph.cpu)
    cpu_ratio = Ratio.paired(node.cpu, through_envoy.cpu).median
    return [
        f"remote node / raw call through Envoy: p50 {node.p50 / through_envoy.p50:.2f}×, CPU {cpu_ratio:.2f}×",
        f"in a graph, less the graph itself: p50 {(graph.p50 - local_graph.p50) / through_envoy.p50:.2f}×, "
        f"CPU {graph_cpu / statistics.median(through_envoy.cpu):.2f}×",
        *_security("further calls of a run", *further),
        *_security("first call of a run", first, first_signed, first_secured),
        f"run of a graph with one call: tokens and mutual TLS {_more(graph_secured, graph)}",
        f"tracing on at {sampling:.0%}: {_difference(traced, node):+.2f} ms CPU a call",
    ]


def _security(calls: str, plain: Variant, signed: Variant, secured: Variant) -> list[str]:
    return [
        f"{calls}: tokens {_more(signed, plain)}",
        f"{calls}: mutual TLS {_more(secured, signed)}",
        f"{calls}: both {_more(secured, plain)}",
    ]


def _more(variant: Variant, other: Variant) -> str:
    return f"{_difference(variant, other):+.2f} ms CPU a call, {Ratio.paired(variant.cpu, other.cpu).median:.2f}×"


def _difference(variant: Variant, other: Variant) -> float:
    """The median of what a variant costs more than another in the same round, in milliseconds of CPU a call."""
    return statistics.median(more - less for more, less in zip(variant.cpu, other.cpu, strict=True))
