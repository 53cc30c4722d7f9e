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
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import psutil
from graphmesh_chassis.call_tokens import CallSigner
from graphmesh_chassis.channel import CHANNEL_OPTIONS, Channel
from graphmesh_chassis.settings import ServerSettings
from graphmesh_chassis.telemetry import Tracing
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
    with_mutual_tls,
)
from graphmesh_bench.server import BARE, CHASSIS, INVOICE_ID
from graphmesh_bench.token_cost import token_cost

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
            await variant.measure(WARM_UP_CALLS, meshes.processes)
            variant.reset()
        for _ in range(rounds):
            for variant in variants:
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
        await wait_until_routed(plain_mesh, BARE, CHASSIS)
        await wait_until_routed(traced_mesh, CHASSIS)
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
        Channel(meshes.traced.mesh.target, tracing) as traced,
        Channel(meshes.signed.mesh.target, signer=CallSigner(meshes.call_key)) as signed,
        Channel(meshes.secured.mesh.target, signer=CallSigner(meshes.call_key), workload=meshes.workload) as secured,
    ):
        config = in_run(plain, {})
        yield [
            Variant("in-process node, in a graph", partial(_graph(local_node).ainvoke, STATE, config)),
            Variant("raw grpc.aio call", grpc_call(direct, BARE)),
            Variant("raw grpc.aio call through Envoy", grpc_call(through_envoy, BARE)),
            Variant("remote node", _call_in_task(config)),
            Variant("remote node, in a graph", partial(_graph(REMOTE_NODE).ainvoke, STATE, config)),
            Variant("remote node, tracing on", _traced_call(tracing, _call_in_task(in_run(traced, {})))),
            Variant("remote node, a run each", _call_of_new_run(config)),
            Variant("the same, with tokens of calls", _call_of_new_run(in_run(signed, {}))),
            Variant("the same, with mutual TLS too", _call_of_new_run(in_run(secured, {}))),
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


def _call_of_new_run(config: RunnableConfig) -> Call:
    """As `_call_in_task`, each call of another run, so that no call has the token of another."""
    task = ExecutionInfo(checkpoint_id="", checkpoint_ns="", task_id="t1", thread_id="th_1")
    runtime, context, numbers = Runtime(execution_info=task), config["configurable"][CONTEXT_KEY], count()

    async def call() -> None:
        own = replace(context, run_id=f"run_{next(numbers)}")
        var_child_runnable_config.set({"configurable": {CONTEXT_KEY: own, "__pregel_runtime": runtime}})
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
    local_graph, _, through_envoy, node, graph, traced, unsigned, signed, secured = variants
    graph_cpu = statistics.median(graph.cpu) - statistics.median(local_graph.cpu)
    cpu_ratio = Ratio.paired(node.cpu, through_envoy.cpu).median
    return [
        f"remote node / raw call through Envoy: p50 {node.p50 / through_envoy.p50:.2f}×, CPU {cpu_ratio:.2f}×",
        f"in a graph, less the graph itself: p50 {(graph.p50 - local_graph.p50) / through_envoy.p50:.2f}×, "
        f"CPU {graph_cpu / statistics.median(through_envoy.cpu):.2f}×",
        f"tokens of calls: {_difference(signed, unsigned):+.2f} ms CPU a call, "
        f"{Ratio.paired(signed.cpu, unsigned.cpu).median:.2f}×",
        f"mutual TLS of calls with tokens: {_difference(secured, signed):+.2f} ms CPU a call, "
        f"{Ratio.paired(secured.cpu, signed.cpu).median:.2f}×",
        f"tokens of calls and mutual TLS: {_difference(secured, unsigned):+.2f} ms CPU a call, "
        f"{Ratio.paired(secured.cpu, unsigned.cpu).median:.2f}×",
        f"tracing on at {sampling:.0%}: {_difference(traced, node):+.2f} ms CPU a call",
    ]


def _difference(variant: Variant, other: Variant) -> float:
    """The median of what a variant costs more than another in the same round, in milliseconds of CPU a call."""
    return statistics.median(more - less for more, less in zip(variant.cpu, other.cpu, strict=True))
