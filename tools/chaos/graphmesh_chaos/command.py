"""The command `graphmesh chaos`."""

import asyncio
import random
import shutil
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from graphmesh_local.child_process import ProcessError
from graphmesh_local.databases import servers
from graphmesh_local.fork_client import forking
from graphmesh_local.spawning import execute
from graphmesh_local.state_folder import MeshBusy
from graphmesh_mesh.topology import MeshError
from rich.console import Console
from rich.rule import Rule

from graphmesh_chaos.faults import DiedByItself, Injected
from graphmesh_chaos.recovery import percentile
from graphmesh_chaos.schedule import Plan, plan
from graphmesh_chaos.storm import POLICY, SETTINGS, storm
from graphmesh_chaos.tally import Tally
from graphmesh_chaos.trial import PROGRAMS, trial

STATE = Path(".graphmesh/chaos")


@dataclass(frozen=True)
class Manner:
    """What befalls a mesh, and how its servers are set for it."""

    plan: Callable[..., Plan]
    runs: float
    """A second, where nobody says how many; so too the faults."""
    faults: float
    policy: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    option: str = ""
    """With which it is asked for."""
    remark: str = ""
    """What to know of the seconds of recovery."""


MIXED = Manner(plan, runs=1, faults=0.5)
STORM = Manner(
    storm, runs=3, faults=5, policy=POLICY, settings=SETTINGS, option="--storm ", remark="; the next one died as well"
)


@dataclass(frozen=True)
class Wanted:
    """What a round is made of, besides its seed."""

    manner: Manner
    runs: int
    seconds: float
    faults: int
    orchestrators: int

    def plan(self, seed: int) -> Plan:
        numbers = {"runs": self.runs, "seconds": self.seconds, "faults": self.faults}
        return self.manner.plan(seed, **numbers, orchestrators=self.orchestrators)


def chaos(
    seed: Annotated[int | None, typer.Option(help="Repeats the faults and runs of an earlier trial.")] = None,
    runs: Annotated[int | None, typer.Option(min=1, max=99_999, help="Of a round; without it 1 a second.")] = None,
    seconds: Annotated[float, typer.Option(min=1, help="Over how long the faults of a round are spread.")] = 60,
    faults: Annotated[int | None, typer.Option(min=0, help="Of a round; without it one in 2 seconds.")] = None,
    storm: Annotated[bool, typer.Option("--storm", help="Only deaths: 5 a second, and 3 runs.")] = False,
    deaths: Annotated[int, typer.Option(min=0, help="Rounds go on until so many processes were killed.")] = 0,
    orchestrators: Annotated[int, typer.Option(min=1, max=8, help="Several share PostgreSQL and Redis.")] = 3,
    cold: Annotated[bool, typer.Option("--cold", help="Start each server anew, not as a fork of one process.")] = False,
    state: Annotated[Path, typer.Option(help="The trial's folder; emptied at the beginning of a round.")] = STATE,
) -> None:
    """Kill and freeze the processes of a mesh while runs charge money, then check the books.

    Every run has to succeed, its ticket to be there exactly once, and its charge exactly once or, where somebody said
    no, never. The same seed gives the same faults and runs. A round has a mesh and databases of its own, and each round
    the next seed. Exits with 1 at the first round in which an invariant does not hold; the state folder keeps its logs.
    """
    console = Console(highlight=False)
    seed = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    manner = STORM if storm else MIXED
    runs = max(1, round(seconds * manner.runs)) if runs is None else runs
    faults = round(seconds * manner.faults) if faults is None else faults
    wanted = Wanted(manner, runs, seconds, faults, orchestrators)
    console.print(Rule(f"Seed {seed}: {runs} runs, {faults} faults within {seconds:g} s"))
    tally = Tally()
    try:
        asyncio.run(_rounds(wanted, seed, deaths, state, cold, tally, console))
    except (ProcessError, MeshError, MeshBusy, DiedByItself) as failure:
        console.print(str(failure), style="red", markup=False)
        raise typer.Exit(1) from None
    _report(console, wanted, tally)
    if tally.violations:
        raise typer.Exit(1)


async def _rounds(
    wanted: Wanted, seed: int, deaths: int, state: Path, cold: bool, tally: Tally, console: Console
) -> None:
    """Rounds until there were enough deaths, or one violation."""
    async with AsyncExitStack() as stack:
        shared = await stack.enter_async_context(servers()) if wanted.orchestrators > 1 else None
        spawn = execute if cold else await stack.enter_async_context(forking(PROGRAMS))
        on_fault = partial(_fault, console) if not deaths else lambda injected: None
        while True:
            shutil.rmtree(state, ignore_errors=True)
            verdict = await trial(
                wanted.plan(seed),
                state,
                orchestrators=wanted.orchestrators,
                shared=shared,
                settings=wanted.manner.settings,
                policy=wanted.manner.policy,
                spawn=spawn,
                on_fault=on_fault,
            )
            tally.add(seed, verdict)
            if tally.violations or tally.deaths >= deaths:
                return
            seed += 1
            console.print(f"  {_deaths(tally)}, {tally.runs} runs, no violation; recovery {_recovery(tally)}")
            console.print(
                f"  to go on from here: {wanted.manner.option}--seed {seed} --deaths {deaths - tally.deaths}",
                style="dim",
            )


def _fault(console: Console, injected: Injected) -> None:
    fault = injected.fault
    console.print(f"  {fault.at:7.2f} s  {fault.act:<8} {fault.target:<16} for {fault.seconds:.2f} s", style="dim")


def _report(console: Console, wanted: Wanted, tally: Tally) -> None:
    console.print(Rule("Afterwards"))
    console.print(
        "  faults    ", ", ".join(f"{count} × {kind}" for kind, count in sorted(tally.faults.items())) or "none"
    )
    console.print("  deaths    ", f"{_deaths(tally)}, on {tally.stopped} runs and {tally.calls} calls")
    console.print("  databases ", f"{tally.runs} runs, {tally.charges} charges, {tally.tickets} tickets")
    console.print("  approvals ", f"{tally.approvals} asked, {tally.answers} answers that held")
    console.print("  takeovers ", f"{tally.takeovers}")
    waited = f"for {len(tally.waits)} runs that a killed orchestrator executed"
    console.print("  recovery  ", f"{_recovery(tally)}, {waited}{wanted.manner.remark}")
    for violation in tally.violations:
        console.print(f"  ✗ {violation}", style="red", markup=False)
    if tally.violations:
        again = f"the same faults again: {wanted.manner.option}--seed {tally.seed}"
        console.print(f"  {len(tally.violations)} violations; {again}", style="bold red")
    else:
        console.print("  ✓ every invariant holds", style="bold green")


def _deaths(tally: Tally) -> str:
    """How many died, and how many of them did not die idle."""
    return f"{tally.deaths} deaths, {tally.hits} of them at work"


def _recovery(tally: Tally) -> str:
    """How long runs stood still."""
    waits = sorted(tally.waits)
    shares = (f"{name} {percentile(waits, share):.1f} s" for name, share in PERCENTILES.items() if waits)
    return ", ".join(shares) or "not measured"


PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "longest": 1.0}
