"""The command `graphmesh bench runs`."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import typer
from graphmesh_local.child_process import ProcessError
from rich.console import Console

from graphmesh_bench.runs.goals import Results
from graphmesh_bench.runs.harness import PRODUCT, Harness, open_harness
from graphmesh_bench.runs.harness_variants import add_variants
from graphmesh_bench.runs.histories import Conversation, measure_log, measure_official
from graphmesh_bench.runs.memory import measure_memory
from graphmesh_bench.runs.report import Report
from graphmesh_bench.runs.rounds import Plan, run_rounds, warm_up

MIN_WIDTH = 120
"""Characters that the tables need."""


def main(plan: Plan, json: Path | None) -> None:
    """Measure, print the report, and write it to `json` if given."""
    console = Console(highlight=False)
    console.width = max(console.width, MIN_WIDTH)
    try:
        with console.status("Starting") as status:
            report = asyncio.run(measure(plan, status.update))
    except ProcessError as failure:
        console.print(str(failure), style="red", markup=False)
        raise typer.Exit(1) from None
    report.print(console)
    if json:
        json.write_text(report.json())


async def measure(plan: Plan, on_stage: Callable[[str], None]) -> Report:
    """Execute a plan with processes of its own. `on_stage` gets the name of each stage at its beginning."""
    async with open_harness(plan.state_kb) as harness:
        await add_variants(harness, plan)
        await harness.usage.delay_flushes(plan.flush_ms)
        on_stage("Warming up")
        await warm_up(harness.variants, plan.seconds / 2)
        samples = await run_rounds(
            harness.variants, plan, harness.usage, lambda number: on_stage(f"Round {number + 1} of {plan.repeats}")
        )
        on_stage("Memory")
        separate = await harness.start_orchestrator(PRODUCT)
        memory = await measure_memory(separate.client, separate.process, plan.memory_runs)
        if not plan.turns:
            return Report(plan, Results(samples), memory)
        on_stage("Conversation")
        return Report(plan, Results(samples), memory, await _conversations(harness, plan.turns))


async def _conversations(harness: Harness, turns: int) -> Sequence[Conversation]:
    """Measure a conversation with the orchestrator's checkpointer, and with the official one."""
    return [await measure(await harness.create_database(), turns) for measure in (measure_log, measure_official)]
