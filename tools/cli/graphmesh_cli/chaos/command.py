"""The command `graphmesh chaos`."""

import asyncio
import random
import shutil
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.rule import Rule

from graphmesh_cli.backends import postgres
from graphmesh_cli.chaos.faults import DiedByItself, Injected
from graphmesh_cli.chaos.recovery import percentile
from graphmesh_cli.chaos.schedule import Plan, plan
from graphmesh_cli.chaos.trial import Verdict, trial
from graphmesh_cli.mesh import MeshError
from graphmesh_cli.processes import ProcessError
from graphmesh_cli.state import MeshBusy

STATE = Path(".graphmesh/chaos")
SECONDS_A_FAULT = 5


def chaos(
    seed: Annotated[int | None, typer.Option(help="Repeats the faults and runs of an earlier trial.")] = None,
    runs: Annotated[int, typer.Option(min=1, max=99_999, help="Runs that are asked for.")] = 60,
    seconds: Annotated[float, typer.Option(min=1, help="Over how long the faults are spread.")] = 60,
    kills: Annotated[int | None, typer.Option(min=0, help="Faults; without it one in 5 seconds.")] = None,
    orchestrators: Annotated[int, typer.Option(min=1, max=8, help="Processes; several share a PostgreSQL.")] = 1,
    state: Annotated[Path, typer.Option(help="The trial's folder; emptied at its beginning.")] = STATE,
) -> None:
    """Kill and freeze the processes of a mesh while runs charge money, then check the books.

    Every run has to succeed, and its charge and its ticket to be there exactly once. The same seed gives the same
    faults and runs. Exits with 1 where an invariant does not hold; the state folder keeps the logs and databases.
    """
    console = Console(highlight=False)
    seed = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    faults = round(seconds / SECONDS_A_FAULT) if kills is None else kills
    console.print(Rule(f"Seed {seed}: {runs} runs, {faults} faults within {seconds:g} s"))
    shutil.rmtree(state, ignore_errors=True)
    planned = plan(seed, runs=runs, seconds=seconds, faults=faults, orchestrators=orchestrators)
    try:
        verdict = asyncio.run(_carried_out(planned, state, orchestrators, console))
    except (ProcessError, MeshError, MeshBusy, DiedByItself) as failure:
        console.print(str(failure), style="red", markup=False)
        raise typer.Exit(1) from None
    _report(console, verdict, seed)
    if verdict.violations:
        raise typer.Exit(1)


async def _carried_out(plan: Plan, state: Path, orchestrators: int, console: Console) -> Verdict:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(postgres()) if orchestrators > 1 else None
        return await trial(
            plan,
            state,
            orchestrators=orchestrators,
            server=server,
            on_fault=lambda injected: _fault(console, injected),
        )


def _fault(console: Console, injected: Injected) -> None:
    fault = injected.fault
    console.print(f"  {fault.at:7.2f} s  {fault.act:<8} {fault.target:<16} for {fault.seconds:.2f} s", style="dim")


def _report(console: Console, verdict: Verdict, seed: int) -> None:
    facts, waits = verdict.facts, verdict.recovery
    kinds = Counter(f"{one.fault.act} {one.fault.target}" for one in verdict.injected)
    console.print(Rule("Afterwards"))
    console.print("  faults    ", ", ".join(f"{count} × {kind}" for kind, count in sorted(kinds.items())) or "none")
    console.print("  databases ", f"{len(facts.runs)} runs, {len(facts.charges)} charges, {len(facts.tickets)} tickets")
    console.print("  takeovers ", f"{sum(run.epoch - 1 for run in facts.runs)}")
    if waits:
        shares = ", ".join(f"{name} {percentile(waits, share):.1f} s" for name, share in PERCENTILES.items())
        console.print("  recovery  ", f"{shares}, for {len(waits)} runs that an orchestrator's death has stopped")
    for violation in verdict.violations:
        console.print(f"  ✗ {violation}", style="red", markup=False)
    if verdict.violations:
        console.print(f"  {len(verdict.violations)} violations; the same faults again: --seed {seed}", style="bold red")
    else:
        console.print("  ✓ every invariant holds", style="bold green")


PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "longest": 1.0}
