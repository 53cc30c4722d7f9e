"""`graphmesh bench compare`: the CPU of runs and calls in this checkout, beside that of another one.

The processes of both run at the same time, on one PostgreSQL, and get the same load in turns: this one, the other, the
other, this one, and so on, for about a second each. So whatever else the machine does affects both alike, and the
ratio of two neighbouring turns has little of it. The clients are those of this checkout, and not measured.
"""

import asyncio
import itertools
import statistics
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import typer
from graphmesh_chassis.channel import CHANNEL_OPTIONS
from graphmesh_chassis.errors import Unimplemented
from graphmesh_client import Client
from graphmesh_local.child_process import ProcessError, gather_or_cancel, reserve_port
from grpc import aio
from rich.console import Console
from rich.table import Table

from graphmesh_bench.measures import Ratio, cpu_seconds
from graphmesh_bench.mesh import grpc_call, server_program
from graphmesh_bench.runs.harness import LOG_LEVEL, PRODUCT, Harness, open_harness
from graphmesh_bench.runs.local_graphs import LOCAL, REMOTE
from graphmesh_bench.runs.resource_usage import UsageReader, process_tree
from graphmesh_bench.runs.variants import create_and_wait, execute
from graphmesh_bench.server import CHASSIS

CALLS_A_RUN = 16
"""Calls that are measured for each run, since one takes little."""
IDLE_SECONDS = 5.0
MIN_WIDTH = 120
"""Characters that the table needs."""

Load = Callable[[], Awaitable[Any]]
"""One run, or one call."""


@dataclass(frozen=True)
class Plan:
    """The parameters of the comparison."""

    pairs: int
    """The number of turns that each checkout has with each load."""
    runs: int
    """Runs in a turn."""
    callers: int
    """Concurrent callers."""
    state_kb: int = 2


@dataclass(frozen=True)
class Side:
    """A checkout under one kind of load."""

    load: Load
    processes: Sequence[psutil.Process]
    """The processes that execute it, besides PostgreSQL."""
    own: list[float] = field(default_factory=list)
    """Milliseconds of CPU a run or call, by turn, of these processes."""
    in_all: list[float] = field(default_factory=list)
    """The same with PostgreSQL."""

    async def take_turn(self, count: int, callers: int, usage: UsageReader) -> None:
        own, before = cpu_seconds(self.processes), await usage.read(self.processes)
        await repeat(self.load, count, callers)
        in_all = await usage.read(self.processes) - before
        self.own.append((cpu_seconds(self.processes) - own) / count * 1000)
        self.in_all.append(in_all.cpu / count * 1000)


@dataclass(frozen=True)
class Comparison:
    """Both checkouts under one kind of load."""

    name: str
    here: Side
    there: Side
    times: int = 1
    """How often a turn has the load, for each run of the plan."""

    async def measure(self, number: int, plan: Plan, usage: UsageReader) -> None:
        """Measure one pair of turns; the order changes with its number."""
        sides = (self.here, self.there) if number % 2 == 0 else (self.there, self.here)
        for side in sides:
            await side.take_turn(plan.runs * self.times, plan.callers, usage)

    def row(self) -> tuple[str, ...]:
        own = Ratio.with_interval(self.here.own, self.there.own)
        in_all = Ratio.with_interval(self.here.in_all, self.there.in_all)
        medians = (statistics.median(side.own) for side in (self.here, self.there))
        return self.name, *(f"{median:.2f}" for median in medians), str(own), str(in_all)


def main(python: Path, plan: Plan) -> None:
    """Measure, and print the report."""
    console = Console(highlight=False)
    console.width = max(console.width, MIN_WIDTH)
    try:
        with console.status("Starting") as status:
            comparisons, idle = asyncio.run(compare(str(python), plan, status.update))
    except ProcessError as failure:
        console.print(str(failure), style="red", markup=False)
        raise typer.Exit(1) from None
    table = Table("load", "here", "there", "here / there", "with PostgreSQL", title="CPU ms a run or call")
    for comparison in comparisons:
        table.add_row(*comparison.row())
    console.print(table)
    console.print(f"Medians of {plan.pairs} pairs, and their 95% intervals; {plan.callers} callers.")
    console.print("Idle, the orchestrators take {:.1f} and {:.1f} ms a second.".format(*idle))


async def compare(
    python: str, plan: Plan, on_stage: Callable[[str], None]
) -> tuple[Sequence[Comparison], Sequence[float]]:
    """Return the measured comparisons, and the milliseconds that both orchestrators take in an idle second.

    Args:
        python: the interpreter of the other checkout's environment.
        on_stage: gets the name of each stage at its beginning.
    """
    async with open_harness(plan.state_kb) as harness:
        comparisons = await _start(harness, python)
        on_stage("Warming up")
        for side in itertools.chain(*((one.here, one.there) for one in comparisons)):
            await repeat(side.load, 4 * plan.runs, plan.callers)
        for number in range(plan.pairs):
            on_stage(f"Pair {number + 1} of {plan.pairs}")
            for comparison in comparisons:
                await comparison.measure(number, plan, harness.usage)
        on_stage("Idle")
        idle = await asyncio.gather(*map(_idle, (comparisons[0].here, comparisons[0].there)))
        return comparisons, idle


async def repeat(load: Load, count: int, callers: int) -> None:
    """Execute a load `count` times, by concurrent callers."""
    numbers = iter(range(count))

    async def caller() -> None:
        for _ in numbers:
            await load()

    await gather_or_cancel(caller() for _ in range(callers))


async def _idle(side: Side) -> float:
    before = cpu_seconds(side.processes)
    await asyncio.sleep(IDLE_SECONDS)
    return (cpu_seconds(side.processes) - before) / IDLE_SECONDS * 1000


async def _start(harness: Harness, python: str) -> Sequence[Comparison]:
    """Start an orchestrator and a server of each checkout."""
    await harness.start_mesh()
    here = await harness.start_orchestrator(PRODUCT)
    there = await harness.start_orchestrator(PRODUCT, python=python)
    trees = process_tree(here.process), process_tree(there.process)
    can_execute = await _can_execute(there.client)

    def runs(name: str, graph: str, *, executes: bool) -> Comparison:
        ours = execute(here.client, graph) if executes else create_and_wait(here.client, graph)
        theirs = execute(there.client, graph) if executes and can_execute else create_and_wait(there.client, graph)
        return Comparison(name, Side(ours, trees[0]), Side(theirs, trees[1]))

    call = Comparison("call of a service", await _server(harness), await _server(harness, python), CALLS_A_RUN)
    return (
        runs("CreateRun and WaitRun", LOCAL, executes=False),
        runs("ExecuteRun" if can_execute else "ExecuteRun, there CreateRun and WaitRun", LOCAL, executes=True),
        runs("the same with remote nodes", REMOTE, executes=True),
        call,
    )


async def _can_execute(client: Client) -> bool:
    try:
        await execute(client)()
    except Unimplemented:
        return False
    return True


async def _server(harness: Harness, python: str = sys.executable) -> Side:
    """Start a server on the chassis. It is called by grpc.aio alone."""
    address = f"127.0.0.1:{reserve_port()}"
    folder = harness.folder / f"server-{len(harness.supervisor.children)}"
    folder.mkdir()
    process = await harness.start(server_program(folder, LOG_LEVEL, address, python=python))
    channel = await harness.stack.enter_async_context(aio.insecure_channel(address, options=CHANNEL_OPTIONS))
    return Side(grpc_call(channel, CHASSIS), process_tree(process))
