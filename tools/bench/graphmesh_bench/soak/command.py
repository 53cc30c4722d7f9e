"""The command `graphmesh bench soak`, and the mesh under load."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import typer
from graphmesh_chaos.mesh_files import PAYMENTS, PAYMENTS_FILE, write_registry, write_topology
from graphmesh_local.child_process import ProcessDied, ProcessError, gather_or_cancel
from graphmesh_local.databases import DatabaseUrls, database_settings, service_databases, shared_servers
from graphmesh_local.running_mesh import GRAPHS_SETTING, RunningMesh, running_mesh
from graphmesh_local.state_folder import MeshBusy, StateFolder
from graphmesh_local.supervisor import OnDeath
from graphmesh_mesh.errors import MeshError
from rich.console import Console

from graphmesh_bench.runs import local_graphs
from graphmesh_bench.soak.plan import Outcomes, Plan, Sample
from graphmesh_bench.soak.report import Report
from graphmesh_bench.soak.sampler import Sampler, open_sampler
from graphmesh_bench.soak.webhook_receiver import webhook_receiver
from graphmesh_bench.soak.workload import run_callers

ORCHESTRATORS = 2
RETENTION_SECONDS = "60"
"""The retention of ended runs, and of threads after their last use."""
DOCUMENT_KB = "80"
"""More than a checkpoint holds inline: it is stored as a large value."""
SECRET = "whsec_c29ha2VkIHdpdGggcnVucyBvZiBhbGwga2luZHM="
"""Signs the webhooks; the receiver does not verify them."""
LOCAL_GRAPHS = Path(local_graphs.__file__)
GRAPHS = {
    local_graphs.LOCAL: (LOCAL_GRAPHS, "local_graph"),
    local_graphs.BLOCKING: (LOCAL_GRAPHS, "blocking_graph"),
    PAYMENTS: (PAYMENTS_FILE, "graph"),
}

OnStatus = Callable[[str], None]
"""Gets a line on the progress."""


@dataclass(frozen=True)
class SoakedMesh:
    """The mesh under load, with its databases and processes to sample."""

    mesh: RunningMesh
    databases: DatabaseUrls
    pids: Mapping[str, int]
    webhook_url: str


def main(plan: Plan, state: Path, json_file: Path | None) -> None:
    """Run, print the report, and write it to `json_file` if given. Exits with 1 if a run failed."""
    console = Console(highlight=False)
    try:
        with console.status("Starting") as status:
            report = asyncio.run(soak(plan, state, status.update))
    except (ProcessError, MeshError, MeshBusy) as failure:
        console.print(str(failure), style="red", markup=False)
        raise typer.Exit(1) from None
    report.print(console)
    if json_file:
        json_file.write_text(report.json())
    if not report.succeeded:
        raise typer.Exit(1)


async def soak(plan: Plan, state: Path, on_status: OnStatus) -> Report:
    """Run a plan with its files in the folder `state`, which is emptied first.

    Raises:
        ProcessError: a process could not be started, or died.
    """
    StateFolder(state).delete()
    state.mkdir(mode=0o700, parents=True)
    report = Report(plan, [], Outcomes())
    async with open_mesh(state) as soaked, open_sampler(soaked.pids, soaked.databases) as sampler:
        load = asyncio.ensure_future(
            run_callers(soaked.mesh, plan.callers, plan.seconds, report.outcomes, soaked.webhook_url)
        )
        await gather_or_cancel([_sample(load, sampler, report, on_status), _fail_on_death(load, soaked.mesh)])
    return report


async def _sample(load: "asyncio.Future[None]", sampler: Sampler, report: Report, on_status: OnStatus) -> None:
    """Sample at the planned interval until the load has ended, and then once more."""
    loop = asyncio.get_running_loop()
    began, ended = loop.time(), False
    while not ended:
        await asyncio.wait((load,), timeout=report.plan.every)
        ended = load.done()
        at = loop.time() - began
        runs, failed = report.outcomes.runs.total(), report.outcomes.failures.total()
        report.samples.append(Sample(at, await sampler.sample(), runs, failed))
        on_status(f"{at / 60:.1f} of {report.plan.seconds / 60:g} minutes, {runs:,} runs, {failed:,} failed")
    await load


async def _fail_on_death(load: "asyncio.Future[None]", mesh: RunningMesh) -> None:
    """Raises ProcessDied if a process dies under load."""
    death = asyncio.ensure_future(mesh.supervisor.wait_failure())
    try:
        await asyncio.wait((load, death), return_when=asyncio.FIRST_COMPLETED)
        if death.done():
            raise ProcessDied(death.result())
    finally:
        death.cancel()
        load.cancel()


@asynccontextmanager
async def open_mesh(state: Path) -> AsyncIterator[SoakedMesh]:
    """Start the mesh with its files in the folder `state`."""
    async with AsyncExitStack() as stack:
        shared = await stack.enter_async_context(shared_servers())
        databases = await stack.enter_async_context(service_databases(shared, state))
        receiver = await stack.enter_async_context(webhook_receiver())
        settings = {**database_settings(databases, shared), **_settings(state, receiver)}
        topology = write_topology(state, ORCHESTRATORS)
        starting = running_mesh(topology, state, free_ports=True, on_death=OnDeath.STOP, settings=settings)
        mesh = await stack.enter_async_context(starting)
        children = [*mesh.supervisor.children, *shared.redis.supervisor.children]
        pids = {child.program.name: child.pid for child in children}
        yield SoakedMesh(mesh, databases, pids, f"http://{receiver}/ended")


def _settings(state: Path, receiver: str) -> dict[str, str]:
    settings = {
        "THREAD_TTL_SECONDS": RETENTION_SECONDS,
        "RUN_RETENTION_SECONDS": RETENTION_SECONDS,
        "WEBHOOK_HOSTS": json.dumps([receiver]),
        "WEBHOOK_SECRET": SECRET,
        "LOG_LEVEL": "warning",
    }
    return {
        **{f"GRAPHMESH_ORCHESTRATOR_{name}": value for name, value in settings.items()},
        GRAPHS_SETTING: str(write_registry(state, GRAPHS)),
        local_graphs.STATE_KB: DOCUMENT_KB,
    }
