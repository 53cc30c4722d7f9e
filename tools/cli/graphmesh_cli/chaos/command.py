"""The command `graphmesh chaos`."""

import asyncio
import random
import shutil
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.rule import Rule

from graphmesh_cli.chaos.databases import Servers, servers
from graphmesh_cli.chaos.faults import DiedByItself, Injected
from graphmesh_cli.chaos.recovery import percentile
from graphmesh_cli.chaos.schedule import Plan, plan
from graphmesh_cli.chaos.tally import Tally
from graphmesh_cli.chaos.trial import Verdict, trial
from graphmesh_cli.mesh import MeshError
from graphmesh_cli.processes import ProcessError
from graphmesh_cli.state import MeshBusy

STATE = Path(".graphmesh/chaos")
SECONDS_A_FAULT = 2


@dataclass(frozen=True)
class Wanted:
    """What a round is made of, besides its seed."""

    runs: int
    seconds: float
    faults: int
    orchestrators: int

    def plan(self, seed: int) -> Plan:
        return plan(seed, runs=self.runs, seconds=self.seconds, faults=self.faults, orchestrators=self.orchestrators)


def chaos(
    seed: Annotated[int | None, typer.Option(help="Repeats the faults and runs of an earlier trial.")] = None,
    runs: Annotated[int, typer.Option(min=1, max=99_999, help="Runs that are asked for, a round.")] = 60,
    seconds: Annotated[float, typer.Option(min=1, help="Over how long the faults of a round are spread.")] = 60,
    faults: Annotated[int | None, typer.Option(min=0, help="Of a round; without it one in 2 seconds.")] = None,
    deaths: Annotated[int, typer.Option(min=0, help="Rounds go on until so many processes were killed.")] = 0,
    orchestrators: Annotated[int, typer.Option(min=1, max=8, help="Several share PostgreSQL and Redis.")] = 3,
    state: Annotated[Path, typer.Option(help="The trial's folder; emptied at the beginning of a round.")] = STATE,
) -> None:
    """Kill and freeze the processes of a mesh while runs charge money, then check the books.

    Every run has to succeed, its ticket to be there exactly once, and its charge exactly once or, where somebody said
    no, never. The same seed gives the same faults and runs. A round has a mesh and databases of its own, and each round
    the next seed. Exits with 1 at the first round in which an invariant does not hold; the state folder keeps its logs.
    """
    console = Console(highlight=False)
    seed = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    wanted = Wanted(runs, seconds, round(seconds / SECONDS_A_FAULT) if faults is None else faults, orchestrators)
    console.print(Rule(f"Seed {seed}: {runs} runs, {wanted.faults} faults within {seconds:g} s"))
    tally = Tally()
    try:
        asyncio.run(_rounds(wanted, seed, deaths, state, tally, console))
    except (ProcessError, MeshError, MeshBusy, DiedByItself) as failure:
        console.print(str(failure), style="red", markup=False)
        raise typer.Exit(1) from None
    _report(console, tally)
    if tally.violations:
        raise typer.Exit(1)


async def _rounds(wanted: Wanted, seed: int, deaths: int, state: Path, tally: Tally, console: Console) -> None:
    """Rounds until there were enough deaths, or one violation."""
    async with AsyncExitStack() as stack:
        shared = await stack.enter_async_context(servers()) if wanted.orchestrators > 1 else None
        while True:
            verdict = await _round(wanted, seed, shared, state, None if deaths else console)
            tally.add(seed, verdict)
            if tally.violations or tally.deaths >= deaths:
                return
            seed += 1
            console.print(f"  {tally.deaths} deaths, {tally.runs} runs, no violation; recovery {_recovery(tally)}")
            console.print(f"  to go on from here: --seed {seed} --deaths {deaths - tally.deaths}", style="dim")


async def _round(wanted: Wanted, seed: int, shared: Servers | None, state: Path, console: Console | None) -> Verdict:
    shutil.rmtree(state, ignore_errors=True)
    return await trial(
        wanted.plan(seed),
        state,
        orchestrators=wanted.orchestrators,
        shared=shared,
        on_fault=lambda injected: _fault(console, injected) if console else None,
    )


def _fault(console: Console, injected: Injected) -> None:
    fault = injected.fault
    console.print(f"  {fault.at:7.2f} s  {fault.act:<8} {fault.target:<16} for {fault.seconds:.2f} s", style="dim")


def _report(console: Console, tally: Tally) -> None:
    console.print(Rule("Afterwards"))
    console.print(
        "  faults    ", ", ".join(f"{count} × {kind}" for kind, count in sorted(tally.faults.items())) or "none"
    )
    console.print("  databases ", f"{tally.runs} runs, {tally.charges} charges, {tally.tickets} tickets")
    console.print("  approvals ", f"{tally.approvals} asked, {tally.answers} answers that held")
    console.print("  takeovers ", f"{tally.takeovers}")
    console.print(
        "  recovery  ", f"{_recovery(tally)}, for {len(tally.waits)} runs that a killed orchestrator executed"
    )
    for violation in tally.violations:
        console.print(f"  ✗ {violation}", style="red", markup=False)
    if tally.violations:
        again = f"the same faults again: --seed {tally.seed}"
        console.print(f"  {len(tally.violations)} violations; {again}", style="bold red")
    else:
        console.print("  ✓ every invariant holds", style="bold green")


def _recovery(tally: Tally) -> str:
    """How long runs stood still."""
    waits = sorted(tally.waits)
    shares = (f"{name} {percentile(waits, share):.1f} s" for name, share in PERCENTILES.items() if waits)
    return ", ".join(shares) or "not measured"


PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "longest": 1.0}
