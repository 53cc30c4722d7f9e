"""`graphmesh up` with real Envoy and real services."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from graphmesh_local.child_process import ProcessDied, State
from graphmesh_local.probes import get
from graphmesh_local.running_mesh import RunningMesh, running_mesh
from graphmesh_local.state_folder import MeshBusy, MeshState, NoMesh, StateFolder
from graphmesh_local.supervisor import OnDeath
from graphmesh_mesh.topology import MeshError

MESH = """
edge: {port: 18080, services: [billing]}
mesh: {port: 18081}
admin: {port: 18082}
services:
  billing: {service: graphmesh.billing.v1.BillingService, module: graphmesh_billing, port: 18100, replicas: 2}
  model: {service: graphmesh.model.v1.ModelService, module: graphmesh_model, port: 18200}
"""


@pytest.fixture
def mesh_file(tmp_path: Path) -> Path:
    path = tmp_path / "mesh.yaml"
    path.write_text(MESH)
    return path


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.05)


async def cap(running: RunningMesh, cluster: str) -> int:
    """The cap that Envoy itself reports."""
    page = (await get(f"http://{running.mesh.admin.target}/clusters?format=json")).body
    [status] = [one for one in json.loads(page)["cluster_statuses"] if one["name"] == cluster]
    thresholds = status["circuit_breakers"]["thresholds"]
    return int(max(one["max_requests"] for one in thresholds if one.get("priority", "DEFAULT") == "DEFAULT"))


def children(state: MeshState) -> list[psutil.Process]:
    return [psutil.Process(process.pid) for process in state.processes.values()]


@asynccontextmanager
async def up(mesh_file: Path, state: Path, *options: str) -> AsyncIterator[Process]:
    """`graphmesh up` as a person runs it, once its processes are ready."""
    argv = ["-m", "graphmesh_cli", "up", "--free-ports", "--mesh", str(mesh_file), "--state", str(state), *options]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *argv, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, env={**os.environ, "COLUMNS": "200"}
    )
    assert process.stdout
    try:
        async with asyncio.timeout(60):
            while b"Ctrl-C" not in (line := await process.stdout.readline()):
                assert line, "it ended before it was up"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def output(process: Process) -> str:
    assert process.stdout
    async with asyncio.timeout(30):
        return (await process.stdout.read()).decode()


async def test_state_tells_other_commands_where_the_mesh_is(mesh_file: Path, state: Path) -> None:
    """mesh.json names every process with its pid and address, and goes with the mesh."""
    async with running_mesh(mesh_file, state, free_ports=True) as running:
        known = StateFolder(state).read()
        assert known.edge == running.edge
        assert known.services["model"] == (known.processes["model"].address,)
        assert {name: process.state for name, process in known.processes.items()} == dict.fromkeys(
            ["billing-1", "billing-2", "model", "envoy"], "ready"
        )
        assert all(process.is_running() for process in children(known))
    with pytest.raises(NoMesh):
        StateFolder(state).read()


async def test_a_state_folder_has_one_mesh(mesh_file: Path, state: Path) -> None:
    """Two meshes would write the same databases."""
    with StateFolder(state).held(), pytest.raises(MeshBusy, match="already"):
        async with running_mesh(mesh_file, state, free_ports=True):
            pass


async def test_taken_port_is_named(mesh_file: Path, state: Path) -> None:
    """Which listener of mesh.yaml cannot be had is said before anything starts."""
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as server:
        taken = server.sockets[0].getsockname()[1]
        mesh_file.write_text(MESH.replace("18082", str(taken)))
        with pytest.raises(MeshError, match=rf"admin: 127\.0\.0\.1:{taken}\b.*; --free-ports"):
            async with running_mesh(mesh_file, state):
                pass


async def test_edit_takes_effect_without_restart(mesh_file: Path, state: Path) -> None:
    """A new number reaches the running Envoy; a bad edit is reported and changes nothing."""
    notices: list[str] = []
    async with running_mesh(mesh_file, state, free_ports=True, on_notice=notices.append) as running:
        before, envoy = await cap(running, "model"), running.child("envoy").pid
        mesh_file.write_text(MESH.replace("port: 18200", "port: 18200, policy: {maxConcurrency: -1}"))
        await until(lambda: len(notices) == 1)
        assert "not taken up" in notices[0]
        assert "maxConcurrency" in notices[0]
        assert await cap(running, "model") == before
        mesh_file.write_text(MESH.replace("port: 18200", "port: 18200, policy: {maxConcurrency: 777}"))
        await until(lambda: len(notices) == 2)
        async with asyncio.timeout(10):
            while await cap(running, "model") == before:
                await asyncio.sleep(0.05)
        assert (running.child("envoy").pid, running.child("envoy").starts) == (envoy, 1)


async def test_dead_service_can_be_revived(mesh_file: Path, state: Path) -> None:
    """When one dies the rest runs on, and the dead process comes back at the same address."""
    async with running_mesh(mesh_file, state, free_ports=True, on_death=OnDeath.KEEP_GOING) as running:
        model = running.child("model")
        model.kill()
        await until(lambda: model.state is State.DIED)
        assert StateFolder(state).read().processes["model"].state == "died"
        await running.revive("model")
        known = StateFolder(state).read().processes
        assert (known["model"].state, known["model"].starts, known["envoy"].starts) == ("ready", 2, 1)


async def test_server_that_cannot_start_ends_the_start(mesh_file: Path, state: Path) -> None:
    """Its own words say why."""
    settings = {"GRAPHMESH_MODEL_LOG_LEVEL": "loud"}
    with pytest.raises(ProcessDied, match=r"(?s)model \(pid \d+\) exited with code 2.*log_level"):
        async with running_mesh(mesh_file, state, free_ports=True, settings=settings):
            pass


async def test_signal_stops_everything(mesh_file: Path, state: Path) -> None:
    """Ctrl-C ends well and leaves no process behind."""
    async with up(mesh_file, state) as process:
        processes = children(StateFolder(state).read())
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(30):
            assert await process.wait() == 0
        assert not any(one.is_running() for one in processes)
        assert not (state / "mesh.json").exists()


async def test_second_signal_insists(mesh_file: Path, state: Path) -> None:
    """A process that does not answer to SIGTERM holds the end up only until one asks again."""
    async with up(mesh_file, state) as process:
        known = StateFolder(state).read()
        psutil.Process(known.processes["model"].pid).suspend()
        process.send_signal(signal.SIGTERM)
        await until(lambda: not psutil.pid_exists(known.processes["billing-1"].pid))
        assert process.returncode is None
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(5):
            assert await process.wait() == 0


async def test_death_is_shown_and_can_end_the_mesh(mesh_file: Path, state: Path) -> None:
    """With --fail-fast: who died, how, its last lines; then nothing is left and the exit code says that it was bad."""
    async with up(mesh_file, state, "--fail-fast") as process:
        known = StateFolder(state).read()
        processes = children(known)
        psutil.Process(known.processes["billing-2"].pid).kill()
        shown = await output(process)
        assert f"billing-2 (pid {known.processes['billing-2'].pid}) was killed by SIGKILL" in shown
        assert "listening" in shown
        assert await process.wait() == 1
        assert not any(one.is_running() for one in processes)


async def test_a_death_says_how_to_start_it_by_hand(mesh_file: Path, state: Path) -> None:
    """A death leaves the others running, and the command shown brings the dead service back at its address."""
    async with up(mesh_file, state) as process:
        model = StateFolder(state).read().processes["model"]
        psutil.Process(model.pid).kill()
        assert process.stdout
        async with asyncio.timeout(30):
            while b"by hand" not in await process.stdout.readline():
                pass
            command = (await process.stdout.readline()).decode().strip()
        assert f"GRAPHMESH_MODEL_LISTEN={model.address}" in command
        assert command.endswith("-m graphmesh_model")
        assert StateFolder(state).read().processes["billing-1"].state == "ready"


async def test_nothing_survives_a_killed_up(mesh_file: Path, state: Path) -> None:
    """SIGKILL of `graphmesh up` takes Envoy and all services along, and other commands know that the mesh is gone."""
    async with up(mesh_file, state) as process:
        processes = children(StateFolder(state).read())
        process.kill()
        _, alive = await asyncio.to_thread(psutil.wait_procs, processes, timeout=15)
        assert not alive
        with pytest.raises(NoMesh):
            StateFolder(state).read()
