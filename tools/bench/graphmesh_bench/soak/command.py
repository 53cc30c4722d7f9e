"""The command `graphmesh bench soak`, and the mesh that it soaks."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import typer
import yaml
from graphmesh_chaos.trial import PAYMENTS as PAYMENTS_FILE
from graphmesh_local.child_process import ProcessDied, ProcessError, together
from graphmesh_local.databases import SERVICES, Databases, databases_of, servers, settings_of
from graphmesh_local.running_mesh import MESH_FILE, ORCHESTRATOR, RunningMesh, reachable, running_mesh
from graphmesh_local.state_folder import MeshBusy
from graphmesh_local.supervisor import OnDeath
from graphmesh_mesh.topology import MeshError
from rich.console import Console

from graphmesh_bench.runs import graph
from graphmesh_bench.soak.load import PAYMENTS, STAYING, WORKING, call
from graphmesh_bench.soak.plan import Plan, Sample, Tally
from graphmesh_bench.soak.receiver import receiver
from graphmesh_bench.soak.report import Report
from graphmesh_bench.soak.sampling import Sampler, sampler

ORCHESTRATORS = 2
KEPT_SECONDS = "60"
"""How long ended runs are kept, and threads after their last use."""
DOCUMENT_KB = "80"
"""More than a state holds itself: it is stored aside."""
SECRET = "whsec_c29ha2VkIHdpdGggcnVucyBvZiBhbGwga2luZHM="
"""With it the announcements are signed, which nobody checks here."""


@dataclass(frozen=True)
class Soaked:
    """A mesh, and what else there is to look at."""

    mesh: RunningMesh
    databases: Databases
    pids: Mapping[str, int]
    webhook_url: str


def main(plan: Plan, state: Path, written: Path | None) -> None:
    """Soak, show, and write to `written` where it is given. Exits with 1 where a run failed."""
    console = Console(highlight=False)
    try:
        with console.status("Starting") as status:
            report = asyncio.run(soak(plan, state, status.update))
    except (ProcessError, MeshError, MeshBusy) as failure:
        console.print(str(failure), style="red", markup=False)
        raise typer.Exit(1) from None
    report.show(console)
    if written:
        written.write_text(report.json())
    if not report.succeeded:
        raise typer.Exit(1)


async def soak(plan: Plan, state: Path, say: Callable[[str], None]) -> Report:
    """Everything of a plan, with the folder `state`, which is emptied before. `say` is told what is going on.

    Raises:
        ProcessError: a process could not be brought up, or has died.
    """
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(parents=True)
    report = Report(plan, [], Tally())
    async with mesh_of(state) as soaked, sampler(soaked.pids, soaked.databases) as looking:
        where = (soaked.mesh.edge, reachable(soaked.mesh.mesh.mesh))
        calling = asyncio.ensure_future(call(*where, plan.callers, plan.seconds, report.tally, soaked.webhook_url))
        await together([_sampled(calling, looking, report, say), _none_dies(calling, soaked.mesh)])
    return report


async def _sampled(
    calling: "asyncio.Future[None]", looking: Sampler, report: Report, say: Callable[[str], None]
) -> None:
    """Look as often as planned until nobody calls any more, and then once more."""
    loop = asyncio.get_running_loop()
    began, over = loop.time(), False
    while not over:
        await asyncio.wait((calling,), timeout=report.plan.every)
        over = calling.done()
        at = loop.time() - began
        runs, failed = report.tally.runs.total(), report.tally.failures.total()
        report.samples.append(Sample(at, await looking.look(), runs, failed))
        say(f"{at / 60:.1f} of {report.plan.seconds / 60:g} minutes, {runs:,} runs, {failed:,} failed")
    await calling


async def _none_dies(calling: "asyncio.Future[None]", mesh: RunningMesh) -> None:
    """Raises ProcessDied where a process dies while somebody calls."""
    dying = asyncio.ensure_future(mesh.supervisor.failure())
    try:
        await asyncio.wait((calling, dying), return_when=asyncio.FIRST_COMPLETED)
        if dying.done():
            raise ProcessDied(dying.result())
    finally:
        dying.cancel()
        calling.cancel()


@asynccontextmanager
async def mesh_of(state: Path) -> AsyncIterator[Soaked]:
    """What is soaked, brought up in the folder `state`."""
    async with AsyncExitStack() as stack:
        shared = await stack.enter_async_context(servers())
        databases = await stack.enter_async_context(databases_of(shared, state))
        hooks = await stack.enter_async_context(receiver())
        told = {**settings_of(databases, shared), graph.STATE_KB: DOCUMENT_KB, **_settings(state, hooks)}
        starting = running_mesh(_mesh_file(state), state, free_ports=True, on_death=OnDeath.STOP, settings=told)
        mesh = await stack.enter_async_context(starting)
        children = [*mesh.supervisor.children, *shared.redis.supervisor.children]
        yield Soaked(mesh, databases, {child.program.name: child.pid for child in children}, f"http://{hooks}/ended")


def _settings(state: Path, hooks: str) -> dict[str, str]:
    settings = {
        "GRAPHS": str(_registry(state)),
        "THREAD_TTL_SECONDS": KEPT_SECONDS,
        "RUN_RETENTION_SECONDS": KEPT_SECONDS,
        "WEBHOOK_HOSTS": json.dumps([hooks]),
        "WEBHOOK_SECRET": SECRET,
        "LOG_LEVEL": "warning",
    }
    return {f"GRAPHMESH_ORCHESTRATOR_{name}": value for name, value in settings.items()}


def _registry(state: Path) -> Path:
    path, theirs = state / "langgraph.json", Path(graph.__file__).resolve()
    graphs = {name: f"{theirs}:{name}" for name in (WORKING, STAYING)}
    graphs[PAYMENTS] = f"{PAYMENTS_FILE.resolve()}:graph"
    path.write_text(json.dumps({"dependencies": [], "graphs": graphs}))
    return path.resolve()


def _mesh_file(state: Path) -> Path:
    """A mesh.yaml with only what the graphs need."""
    whole = yaml.safe_load(MESH_FILE.read_text())
    services = {name: whole["services"][name] for name in SERVICES}
    services[ORCHESTRATOR] = {**services[ORCHESTRATOR], "replicas": ORCHESTRATORS}
    path = state / "mesh.yaml"
    path.write_text(yaml.safe_dump({**whole, "services": services, "environments": {}}))
    return path
