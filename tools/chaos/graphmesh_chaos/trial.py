"""One trial: a mesh of its own, the faults and the runs of a plan, and the verdict over what is in the databases."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from graphmesh_chassis.channel import Channel
from graphmesh_local.child_process import together
from graphmesh_local.databases import SERVICES, Databases, Servers, databases_of, settings_of
from graphmesh_local.running_mesh import MESH_FILE, ORCHESTRATOR, RunningMesh, reachable, running_mesh
from graphmesh_local.spawning import Spawn, execute
from graphmesh_local.supervisor import OnDeath
from sqlalchemy.exc import OperationalError

from graphmesh_chaos.checker import Violation, check
from graphmesh_chaos.facts import Facts, Order
from graphmesh_chaos.faults import Injected, Injector
from graphmesh_chaos.load import GRAPH, Answering, bill, order_of, submit
from graphmesh_chaos.reading import open_runs, read
from graphmesh_chaos.recovery import Death, recovery_seconds
from graphmesh_chaos.schedule import Plan

NARROW = {"maxConcurrency": 2, "maxQueue": 4}
"""The policy of the services, so that bursts fill their queues and are refused."""
CAPACITY = {"GRAPHMESH_ORCHESTRATOR_CAPACITY": "8"}
"""The same for runs: what comes with a burst has to wait."""
PROGRAMS = tuple(f"graphmesh_{name}" for name in SERVICES)
"""The packages that the servers are."""
GRAPHS = "GRAPHMESH_ORCHESTRATOR_GRAPHS"
"""The setting that names the registry."""
PAYMENTS = Path(__file__).parent / "graphs" / "payments.py"
SETTLED_WITHIN = 120.0
"""Seconds that runs have to end after the last fault."""


@dataclass(frozen=True)
class Verdict:
    """What came of a trial."""

    injected: Sequence[Injected]
    facts: Facts
    violations: Sequence[Violation]
    recovery: Sequence[float]
    """Seconds for which each run stood still that the death of an orchestrator has stopped; shortest first."""


async def trial(
    plan: Plan,
    state: Path,
    *,
    orchestrators: int = 1,
    shared: Servers | None = None,
    graph: Path = PAYMENTS,
    settings: Mapping[str, str] | None = None,
    policy: Mapping[str, Any] | None = None,
    spawn: Spawn = execute,
    on_fault: Callable[[Injected], None] = lambda injected: None,
) -> Verdict:
    """Carry a plan out in the folder `state`, which is empty.

    Args:
        orchestrators: processes that execute runs; several need `shared` servers.
        shared: has the databases, which are SQLite files in `state` without it.
        graph: the module of the graph that every run is of.
        settings: environment variables for the servers.
        policy: of the services, over `NARROW`.
        spawn: how they become processes.
        on_fault: told of each fault when it strikes.

    Raises:
        MeshError, MeshBusy, ProcessError: the mesh could not be brought up.
        DiedByItself: a process died that nobody had killed.
    """
    state.mkdir(parents=True, exist_ok=True)
    mesh_file = _mesh_file(state, orchestrators, {**NARROW, **(policy or {})})
    async with databases_of(shared, state) as databases:
        told = {GRAPHS: str(_registry(state, graph)), **CAPACITY, **settings_of(databases, shared), **(settings or {})}
        starting = running_mesh(
            mesh_file, state, free_ports=True, on_death=OnDeath.KEEP_GOING, settings=told, spawn=spawn
        )
        async with starting as mesh:
            injector = Injector(mesh, databases, shared, on_fault)
            async with Answering(mesh.edge).running() as answering:
                orders = await _carry_out(plan, mesh, injector)
                await _settled(databases)
            injector.check_alive()
        facts = await asyncio.to_thread(read, databases, orders, answering.answers)
    deaths = [Death(one.time, one.stopped) for one in injector.injected]
    return Verdict(injector.injected, facts, check(facts), recovery_seconds(deaths, facts.events))


async def _carry_out(plan: Plan, mesh: RunningMesh, injector: Injector) -> list[Order]:
    async with Channel(reachable(mesh.mesh.mesh)) as channel:
        await bill(channel, [order_of(submission) for submission in plan.submissions])
    answered: list[Order] = []

    async def submitting() -> None:
        answered.extend(await submit(mesh.edge, plan.submissions))

    await together([injector.run(plan.faults), submitting()])
    return answered


async def _settled(databases: Databases) -> None:
    """Wait until all runs have ended, at most for `SETTLED_WITHIN`: the checker tells of those that have not."""
    for _ in range(round(SETTLED_WITHIN)):
        with suppress(OperationalError):  # PostgreSQL may still recover from the last fault
            if not await asyncio.to_thread(open_runs, databases):
                return
        await asyncio.sleep(1)


def _registry(state: Path, graph: Path) -> Path:
    """A langgraph.json with the one graph."""
    path = state / "langgraph.json"
    path.write_text(json.dumps({"dependencies": [], "graphs": {GRAPH: f"{graph.resolve()}:graph"}}))
    return path


def _mesh_file(state: Path, orchestrators: int, policy: Mapping[str, Any]) -> Path:
    """A mesh.yaml with only what the graph needs."""
    whole = yaml.safe_load(MESH_FILE.read_text())
    services = {name: {**whole["services"][name], "policy": policy} for name in SERVICES}
    services[ORCHESTRATOR] = {**whole["services"][ORCHESTRATOR], "replicas": orchestrators}
    path = state / "mesh.yaml"
    path.write_text(yaml.safe_dump({**whole, "services": services, "environments": {}}))
    return path
