"""The command `graphmesh bench runs`."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import typer
from graphmesh_local.child_process import ProcessError
from rich.console import Console

from graphmesh_bench.runs.goals import Results
from graphmesh_bench.runs.memory import memory
from graphmesh_bench.runs.report import Report
from graphmesh_bench.runs.rig import OURS, rig
from graphmesh_bench.runs.rounds import Plan, rounds, warm_up

WIDTH = 120
"""Characters that the tables need."""


def main(plan: Plan, json: Path | None) -> None:
    """Measure, show, and write to `json` where it is given."""
    console = Console(highlight=False)
    console.width = max(console.width, WIDTH)
    try:
        with console.status("Starting") as status:
            report = asyncio.run(measured(plan, status.update))
    except ProcessError as failure:
        console.print(str(failure), style="red", markup=False)
        raise typer.Exit(1) from None
    report.show(console)
    if json:
        json.write_text(report.json())


async def measured(plan: Plan, say: Callable[[str], None]) -> Report:
    """Everything of a plan, in a rig that exists for that. `say` is told what is going on."""
    async with rig(plan) as (made, meter):
        say("Warming up")
        await warm_up(made.kinds, plan.seconds / 2)
        samples = await rounds(made.kinds, plan, meter, lambda number: say(f"Round {number + 1} of {plan.repeats}"))
        say("Memory")
        alone = await made.orchestrator(OURS)
        return Report(plan, Results(samples), await memory(alone.client, alone.process, plan.memory_runs))
