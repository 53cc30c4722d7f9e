"""`graphmesh chaos --attacks`: hostile clients attack a mesh, and another tenant is watched."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import yaml
from graphmesh_local.fork_client import fork_spawner
from graphmesh_local.running_mesh import GRAPHS_SETTING, RunningMesh, running_mesh
from graphmesh_local.server_programs import ORCHESTRATOR
from graphmesh_local.spawning import Spawner
from graphmesh_local.state_folder import StateFolder
from graphmesh_mesh.sample import default_mesh_file
from rich.console import Console

from graphmesh_chaos.attacks import ATTACKS, LOOP, LOOP_FILE
from graphmesh_chaos.mesh_files import write_registry
from graphmesh_chaos.watcher import ECHO, ECHO_FILE, Observation, attacking, observe

PROGRAMS = ("graphmesh_orchestrator",)
WARM_UP = 5
"""Samples that are not counted: they open connections and fill caches."""


@asynccontextmanager
async def attacked_mesh(state: Path, spawn: Spawner) -> AsyncIterator[RunningMesh]:
    """A mesh with the limits of deploy/mesh.yaml, of Envoy and one orchestrator, with its files in a new folder."""
    state.mkdir(mode=0o700, parents=True)
    topology = yaml.safe_load(default_mesh_file().read_text())
    del topology["roles"]  # they name tools of all services
    topology |= {"services": {ORCHESTRATOR: topology["services"][ORCHESTRATOR]}, "environments": {}}
    mesh_file = state / "mesh.yaml"
    mesh_file.write_text(yaml.safe_dump(topology))
    settings = {GRAPHS_SETTING: str(write_registry(state, {ECHO: (ECHO_FILE, "graph"), LOOP: (LOOP_FILE, "graph")}))}
    async with running_mesh(mesh_file, state, free_ports=True, settings=settings, spawn=spawn) as mesh:
        yield mesh


async def run_attacks(state: Path, samples: int, console: Console) -> bool:
    """Make each attack while samples of the other tenant's times are taken; returns whether it got no error.

    Raises:
        MeshError, MeshBusy, ProcessError: the mesh could not be started.
    """
    StateFolder(state).delete()
    failed = 0
    async with fork_spawner(PROGRAMS) as spawn, attacked_mesh(state, spawn) as mesh:
        await observe(mesh.edge, WARM_UP)
        quiet = await observe(mesh.edge, samples)
        _print(console, "quiet", quiet, quiet)
        for name in ATTACKS:
            async with attacking(mesh, name):
                observation = await observe(mesh.edge, samples)
            _print(console, name, observation, quiet)
            failed += observation.errors.total()
    verdict = f"✗ {failed} errors of the other tenant" if failed else "✓ no error of the other tenant"
    console.print(f"  {verdict}", style="bold red" if failed else "bold green")
    return not failed


def _print(console: Console, name: str, observation: Observation, quiet: Observation) -> None:
    p50, p99, longest = (f"{1000 * observation.quantile(share):6.0f} ms" for share in (0.5, 0.99, 1))
    ratio = observation.quantile(0.99) / quiet.quantile(0.99)
    errors = ", ".join(f"{count} × {reason}" for reason, count in observation.errors.items()) or "no error"
    console.print(f"  {name:<20} p50 {p50}  p99 {p99}, {ratio:5.1f} × quiet  longest {longest}  {errors}")
