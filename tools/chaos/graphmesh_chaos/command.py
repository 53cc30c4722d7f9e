"""The command `graphmesh chaos`."""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from graphmesh_local.child_process import ProcessError
from graphmesh_local.databases import shared_servers
from graphmesh_local.fork_client import fork_spawner
from graphmesh_local.state_folder import MeshBusy, StateFolder
from graphmesh_mesh.errors import MeshError
from rich.console import Console
from rich.rule import Rule

from graphmesh_chaos import link_faults
from graphmesh_chaos.attacks import ATTACKS
from graphmesh_chaos.environment_schedule import SCHEDULES, EnvironmentFault
from graphmesh_chaos.experiment import PROGRAMS, MeshOptions, run_experiment
from graphmesh_chaos.hostile_clients import run_attacks
from graphmesh_chaos.injector import InjectedFault, UnexpectedDeath
from graphmesh_chaos.kill_schedule import POLICY, SETTINGS, kill_schedule
from graphmesh_chaos.mesh_files import DRAFTS_FILE
from graphmesh_chaos.replicated_postgres import replicated_servers
from graphmesh_chaos.report import print_fault, print_progress, print_summary
from graphmesh_chaos.schedule import FaultKind, Schedule, mixed_schedule
from graphmesh_chaos.sessions import sessions
from graphmesh_chaos.small_disk import POSTGRES_BYTES, DiskUnavailable, temporary_disk
from graphmesh_chaos.summary import Summary
from graphmesh_chaos.wall_clock import wall_clocks

THREADS_PER_SECOND = 0.2
"""The rate of threads with sessions, if no number is given."""
STATE = Path(".graphmesh/chaos")
SAMPLES = 200
"""Enough that the p99 is not the slowest one."""
DEFAULT_MESH = MeshOptions()
OF_POSTGRES = (EnvironmentFault.FULL_DISK, EnvironmentFault.SLOW_DISK, EnvironmentFault.STANDBY)


@dataclass(frozen=True)
class Scenario:
    """A kind of schedule, and the mesh that it needs."""

    schedule: Callable[..., Schedule]
    """Takes the seed, and the sizes of the schedule by name."""
    runs_per_second: float
    """The rate if no number of runs is given; likewise for faults."""
    faults_per_second: float
    mesh_options: MeshOptions = DEFAULT_MESH
    option: str = ""
    """The option that selects it."""
    recovery_note: str = ""
    """A note on the seconds of recovery."""
    environment: EnvironmentFault | None = None
    """The fault of its environment."""


MIXED = Scenario(
    mixed_schedule,
    runs_per_second=1,
    faults_per_second=0.5,
    mesh_options=MeshOptions(graph=DRAFTS_FILE, settings=link_faults.SETTINGS),
)

KILLS = Scenario(
    kill_schedule,
    runs_per_second=3,
    faults_per_second=5,
    mesh_options=MeshOptions(policy=POLICY, settings=SETTINGS),
    option="--storm ",
    recovery_note="; the next orchestrator was often killed too",
)


@dataclass(frozen=True)
class Rounds:
    """Experiments with consecutive seeds, in one folder."""

    scenario: Scenario
    runs: int
    threads: int
    """Threads with a session of several runs each."""
    seconds: float
    faults: int
    orchestrators: int
    deaths: int
    """Number of deaths after which no further round begins."""
    cold: bool
    """Whether each server is a new process instead of a fork."""
    state: Path

    def schedule(self, seed: int) -> Schedule:
        sizes = {"runs": self.runs, "seconds": self.seconds, "faults": self.faults}
        schedule = self.scenario.schedule(seed, **sizes, orchestrators=self.orchestrators)
        return replace(schedule, sessions=sessions(seed, threads=self.threads, seconds=self.seconds))

    async def run(self, seed: int, summary: Summary, console: Console) -> None:
        """Run rounds, from `seed` on, until enough processes have died or an invariant is violated."""
        on_fault = _ignore if self.deaths else partial(print_fault, console)
        async with AsyncExitStack() as stack:
            mesh_options = await self._mesh_options(stack)
            while True:
                StateFolder(self.state).delete()
                summary.add(seed, await run_experiment(self.schedule(seed), self.state, mesh_options, on_fault))
                if summary.violations or summary.deaths >= self.deaths:
                    return
                seed += 1
                rest = f"{self.scenario.option}--seed {seed} --deaths {self.deaths - summary.deaths}"
                print_progress(console, summary, rest)

    async def _mesh_options(self, stack: AsyncExitStack) -> MeshOptions:
        """The mesh of every round, with the servers and the fork server that all rounds share."""
        mesh_options = replace(self.scenario.mesh_options, orchestrators=self.orchestrators)
        if self.scenario.environment is EnvironmentFault.CLOCKS:
            mesh_options = replace(mesh_options, clocks=stack.enter_context(wall_clocks()))
        if self.scenario.environment is EnvironmentFault.FULL_DISK:
            mesh_options = replace(mesh_options, disk=stack.enter_context(temporary_disk(POSTGRES_BYTES)))
        if self.scenario.environment is EnvironmentFault.STANDBY:
            shared, replicated = await stack.enter_async_context(replicated_servers())
            mesh_options = replace(mesh_options, shared=shared, replicated=replicated)
        elif self.orchestrators > 1:
            servers = shared_servers(mesh_options.disk.folder if mesh_options.disk else None)
            mesh_options = replace(mesh_options, shared=await stack.enter_async_context(servers))
        if not self.cold:
            spawner = fork_spawner(PROGRAMS, mesh_options.clocks.settings if mesh_options.clocks else None)
            mesh_options = replace(mesh_options, spawn=await stack.enter_async_context(spawner))
        return mesh_options


def chaos(
    seed: Annotated[int | None, typer.Option(help="Repeats the faults and runs of an earlier round.")] = None,
    runs: Annotated[int | None, typer.Option(min=1, max=99_999, help="Runs of a round; default: 1 a second.")] = None,
    threads: Annotated[
        int | None, typer.Option(min=0, help="Threads with several runs each; default: 1 in 5 seconds.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, help="Time over which the faults of a round are spread.")] = 60,
    faults: Annotated[int | None, typer.Option(min=0, help="Faults of a round; default: 1 in 2 seconds.")] = None,
    only: Annotated[
        list[FaultKind] | None,
        typer.Option(metavar="KIND", help=f"Inject only faults of this kind; repeatable: {', '.join(FaultKind)}."),
    ] = None,
    environment: Annotated[
        EnvironmentFault | None,
        typer.Option(help="Let clocks jump, the disk be full or slow, or a standby be promoted."),
    ] = None,
    storm: Annotated[bool, typer.Option("--storm", help="Inject only SIGKILL: 5 a second, with 3 runs.")] = False,
    deaths: Annotated[int, typer.Option(min=0, help="Run rounds until so many processes were killed.")] = 0,
    orchestrators: Annotated[int, typer.Option(min=1, max=8, help="Several share PostgreSQL and Redis.")] = 3,
    cold: Annotated[bool, typer.Option("--cold", help="Start each server as a new process, not as a fork.")] = False,
    attacks: Annotated[
        bool, typer.Option("--attacks", help="Only attack the edge with hostile clients, and watch another tenant.")
    ] = False,
    samples: Annotated[
        int, typer.Option(min=1, help="Samples of the other tenant's times in each attack, 5 a second.")
    ] = SAMPLES,
    attack: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this attack; repeatable. Implies --attacks.")
    ] = None,
    state: Annotated[Path, typer.Option(help="Folder of the mesh; emptied at the beginning of a round.")] = STATE,
) -> None:
    """Kill and freeze the processes of a mesh and cut their links while runs charge money, then check the books.

    Every run must succeed that no client cancels and that has time. Its ticket must exist exactly once, and its charge
    exactly once, or never where an approver denied it. What clients read of a thread must fit one order of what
    happened on it. The same seed gives the same faults and runs. A round has a mesh and databases of its own, and each
    round the next seed. Exits with 1 at the first round that violates an invariant; the state folder keeps its logs.
    """
    console, summary = Console(highlight=False), Summary()
    if attacks or attack:
        _attack(attack or list(ATTACKS), state, samples, console)
        return
    seed = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    if storm and only:
        raise typer.BadParameter("--storm injects SIGKILL only")
    if environment and (storm or only):
        raise typer.BadParameter("--environment has faults of its own")
    if environment in OF_POSTGRES and orchestrators == 1:
        raise typer.BadParameter("this fault is one of PostgreSQL, which several orchestrators share")
    scenario = _of_environment(environment) if environment else KILLS if storm else _mixed(only or [])
    runs = max(1, round(seconds * scenario.runs_per_second)) if runs is None else runs
    faults = round(seconds * scenario.faults_per_second) if faults is None else faults
    threads = round(seconds * THREADS_PER_SECOND) if threads is None else threads
    rounds = Rounds(scenario, runs, threads, seconds, faults, orchestrators, deaths, cold, state)
    try:
        rounds.schedule(seed)
    except ValueError as error:
        raise typer.BadParameter(f"{error}; several orchestrators have more") from error
    console.print(Rule(f"Seed {seed}: {runs} runs, {faults} faults within {seconds:g} s"))
    try:
        asyncio.run(rounds.run(seed, summary, console))
    except (ProcessError, MeshError, MeshBusy, UnexpectedDeath, DiskUnavailable) as failure:
        console.print(str(failure), style="red", markup=False)
        raise typer.Exit(1) from None
    print_summary(console, summary, scenario.option, scenario.recovery_note)
    if summary.violations:
        raise typer.Exit(1)


def _mixed(only: Sequence[FaultKind]) -> Scenario:
    """The scenario with faults of all kinds, or of some."""
    if not only:
        return MIXED
    option = "".join(f"--only {kind} " for kind in only)
    return replace(MIXED, schedule=partial(mixed_schedule, kinds=only), option=option)


def _of_environment(fault: EnvironmentFault) -> Scenario:
    return replace(MIXED, schedule=SCHEDULES[fault], option=f"--environment {fault} ", environment=fault)


def _attack(names: Sequence[str], state: Path, samples: int, console: Console) -> None:
    if unknown := [name for name in names if name not in ATTACKS]:
        raise typer.BadParameter(f"no attack is called {unknown[0]}; there are {', '.join(ATTACKS)}")
    console.print(Rule(f"{len(names)} attacks, with {samples} samples of another tenant's times in each"))
    try:
        succeeded = asyncio.run(run_attacks(names, state, samples, console))
    except (ProcessError, MeshError, MeshBusy) as failure:
        console.print(str(failure), style="red", markup=False)
        raise typer.Exit(1) from None
    if not succeeded:
        raise typer.Exit(1)


def _ignore(injected: InjectedFault) -> None:
    """Many rounds print one line each, not one for each fault."""
