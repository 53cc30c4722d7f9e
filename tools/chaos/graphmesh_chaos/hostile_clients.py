"""`graphmesh chaos --attacks`: hostile clients attack a mesh, and another tenant is watched."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import yaml
from graphmesh_local.child_process import reserve_port
from graphmesh_local.fork_client import fork_spawner
from graphmesh_local.running_mesh import GRAPHS_SETTING, running_mesh
from graphmesh_local.server_programs import ORCHESTRATOR
from graphmesh_local.spawning import Spawner
from graphmesh_local.state_folder import StateFolder
from graphmesh_mesh.sample import default_mesh_file
from graphmesh_mesh.service import Listener
from rich.console import Console

from graphmesh_chaos.floods import LOOP, LOOP_FILE
from graphmesh_chaos.mesh_files import write_registry
from graphmesh_chaos.watcher import ECHO, ECHO_FILE, AttackedMesh, Observation, attacker, observe

PROGRAMS = ("graphmesh_orchestrator",)
WARM_UP = 10
"""Samples that are not counted: they open connections and fill caches."""
WEBHOOK_SECRET = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"


@asynccontextmanager
async def attacked_mesh(state: Path, spawn: Spawner) -> AsyncIterator[AttackedMesh]:
    """A mesh with the limits of deploy/mesh.yaml, of Envoy and one orchestrator."""
    state.mkdir(mode=0o700, parents=True)
    topology = yaml.safe_load(default_mesh_file().read_text())
    del topology["roles"]  # they name tools of all services
    topology |= {"services": {ORCHESTRATOR: topology["services"][ORCHESTRATOR]}, "environments": {}}
    mesh_file = state / "mesh.yaml"
    mesh_file.write_text(yaml.safe_dump(topology))
    receiver = Listener(address="127.0.0.1", port=reserve_port())
    settings = {
        GRAPHS_SETTING: str(write_registry(state, {ECHO: (ECHO_FILE, "graph"), LOOP: (LOOP_FILE, "graph")})),
        "GRAPHMESH_ORCHESTRATOR_WEBHOOK_HOSTS": json.dumps([receiver.target]),
        "GRAPHMESH_ORCHESTRATOR_WEBHOOK_SECRET": WEBHOOK_SECRET,
    }
    async with running_mesh(mesh_file, state, free_ports=True, settings=settings, spawn=spawn) as running:
        yield AttackedMesh(running, receiver)


async def run_attacks(names: Sequence[str], state: Path, samples: int, console: Console) -> bool:
    """Make attacks while samples of the other tenant's times are taken; returns whether it got no error.

    Each attack is on a mesh of its own: the runs that one has created would be executed during the next ones.

    Raises:
        MeshError, MeshBusy, ProcessError: a mesh could not be started.
    """
    failed = 0
    async with fork_spawner(PROGRAMS) as spawn:
        async with _warm_mesh(state, spawn) as mesh:
            quiet = await observe(mesh.running, samples)
        _print(console, "quiet", quiet, quiet, 0)
        for name in names:
            async with _warm_mesh(state, spawn) as mesh, attacker(mesh) as hostile:
                async with hostile.attacking(name):
                    observation = await observe(mesh.running, samples)
                _print(console, name, observation, quiet, hostile.sent)
            failed += observation.errors.total()
    verdict = f"✗ {failed} errors of the other tenant" if failed else "✓ no error of the other tenant"
    console.print(f"  {verdict}", style="bold red" if failed else "bold green")
    return not failed


@asynccontextmanager
async def _warm_mesh(state: Path, spawn: Spawner) -> AsyncIterator[AttackedMesh]:
    """A new mesh with open connections and full caches."""
    StateFolder(state).delete()
    async with attacked_mesh(state, spawn) as mesh:
        await observe(mesh.running, WARM_UP)
        yield mesh


def _print(console: Console, name: str, observation: Observation, quiet: Observation, sent: int) -> None:
    p50, p99, longest = (f"{1000 * observation.quantile(share):6.0f} ms" for share in (0.5, 0.99, 1))
    ratio = observation.quantile(0.99) / quiet.quantile(0.99)
    errors = ", ".join(f"{count} × {reason}" for reason, count in observation.errors.items()) or "no error"
    times = f"p50 {p50}  p99 {p99}, {ratio:5.1f} × quiet  longest {longest}"
    console.print(f"  {name:<20} {times}  {sent:7,d} sent  {errors}", soft_wrap=True)
