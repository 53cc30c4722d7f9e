"""`graphmesh up` with real Envoy and real services."""

import asyncio
import json
import os
import signal
import stat
from asyncio.subprocess import Process
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from graphmesh.billing.v1 import BillingService, GetInvoiceRequest
from graphmesh_chassis import metadata
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import InvalidMetadata, NotFound, ScopeMissing, Unauthenticated
from graphmesh_local.call_keys import PUBLIC
from graphmesh_local.child_process import ProcessDied, State
from graphmesh_local.probes import http_get
from graphmesh_local.running_mesh import RunningMesh, running_mesh
from graphmesh_local.server_programs import STOP_TIMEOUT, mesh_programs
from graphmesh_local.state_folder import MeshBusy, NoMesh, StateFolder
from graphmesh_local.supervisor import OnDeath
from graphmesh_mesh.errors import MeshError
from graphmesh_mesh.mutual_tls import AUTHORITIES
from graphmesh_mesh.topology import load

from tests.integration.envoy.http_client import fetch
from tests.integration.processes.mesh_process import graphmesh_up, processes_of

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


async def wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.05)


async def max_requests(running: RunningMesh, cluster: str) -> int:
    """Return the cap of a cluster as Envoy reports it."""
    page = (await http_get(f"http://{running.mesh.admin.target}/clusters?format=json")).body
    [status] = [one for one in json.loads(page)["cluster_statuses"] if one["name"] == cluster]
    thresholds = status["circuit_breakers"]["thresholds"]
    return int(max(one["max_requests"] for one in thresholds if one.get("priority", "DEFAULT") == "DEFAULT"))


async def output(process: Process) -> str:
    assert process.stdout
    async with asyncio.timeout(60):
        return (await process.stdout.read()).decode()


async def test_the_state_file_describes_the_running_mesh(mesh_file: Path, state: Path) -> None:
    """mesh.json has every process with its pid and address, and is deleted when the mesh stops."""
    async with running_mesh(mesh_file, state, free_ports=True) as running:
        known = StateFolder(state).read()
        assert known.edge == running.edge
        assert known.services["model"] == (known.processes["model"].address,)
        assert {name: process.state for name, process in known.processes.items()} == dict.fromkeys(
            ["billing-1", "billing-2", "model", "envoy"], "ready"
        )
        assert all(process.is_running() for process in processes_of(known))
    with pytest.raises(NoMesh):
        StateFolder(state).read()


async def test_only_the_user_reads_the_state_folder(mesh_file: Path, state: Path) -> None:
    """Databases with their logs, logs, keys, Envoy's files: 0600 in folders of 0700, whatever the umask of the caller
    is. The two files with public keys only are copied to other users, who cannot enter the folder."""
    umask = os.umask(0)
    try:
        async with running_mesh(mesh_file, state, free_ports=True):
            found = {path: stat.S_IMODE(path.stat().st_mode) for path in (state, *state.rglob("*"))}
    finally:
        os.umask(umask)
    assert {mode for path, mode in found.items() if path.is_dir()} == {0o700}
    assert {found.pop(path) for path in (state / PUBLIC, state / "certificates" / AUTHORITIES)} == {0o644}
    assert {mode for path, mode in found.items() if path.is_file()} == {0o600}
    names = {path.name for path in found}
    assert {"billing.db", "billing.db-wal", "envoy.log", "cds.yaml", "mesh.json", "lock", "billing.pem"} <= names


async def test_an_open_state_folder_is_closed_when_it_is_used_again(state: Path) -> None:
    """A folder that no mesh has used may be one of other programs: its mode is kept, its subfolders are private."""
    state.mkdir()
    state.chmod(0o755)
    with StateFolder(state).locked():
        assert stat.S_IMODE(state.stat().st_mode) == 0o755
        assert stat.S_IMODE((state / "databases").stat().st_mode) == 0o700
    with StateFolder(state).locked():
        assert stat.S_IMODE(state.stat().st_mode) == 0o700


async def test_a_mesh_listens_on_loopback_only(mesh_file: Path, state: Path) -> None:
    """Every listening socket of every process, Envoy's admin listener included."""
    async with running_mesh(mesh_file, state, free_ports=True):
        processes = processes_of(StateFolder(state).read())
        processes += [child for process in processes for child in process.children(recursive=True)]
        sockets = [one for process in processes for one in process.net_connections()]
    addresses = {one.laddr.ip.removeprefix("::ffff:") for one in sockets if one.status == psutil.CONN_LISTEN}
    assert addresses == {"127.0.0.1"}


IDENTIFIED = {"GRAPHMESH_BILLING_IDENTITY": "required"}


async def test_production_does_not_start_without_identified_callers(mesh_file: Path, state: Path) -> None:
    """Not even where the setting of a service at the edge says so."""
    mesh_file.write_text(f"{MESH}environments: {{production: {{}}}}\n")
    production: dict[str, Any] = {"environment": "production", "free_ports": True}
    with pytest.raises(ProcessDied, match=r"GRAPHMESH_BILLING_IDENTITY=required"):
        async with running_mesh(mesh_file, state, settings={"GRAPHMESH_BILLING_IDENTITY": "open"}, **production):
            pass


async def test_a_mesh_behind_a_proxy_does_not_start_without_identified_callers(mesh_file: Path, state: Path) -> None:
    """In every environment. The message has the settings to change: those of the services that the proxy reaches."""
    mesh_file.write_text(f"{MESH}environments: {{test: {{edge: {{identity: forwarded}}}}}}\n")
    with pytest.raises(MeshError, match=r": set GRAPHMESH_BILLING_IDENTITY=required$"):
        async with running_mesh(mesh_file, state, environment="test", free_ports=True):
            pass


async def test_a_mesh_without_identity_does_not_start(mesh_file: Path, state: Path) -> None:
    """Test kits have it, which start an Envoy and servers themselves."""
    mesh_file.write_text(f"{MESH}environments: {{test: {{edge: {{identity: open}}}}}}\n")
    with pytest.raises(MeshError, match=r"^edge\.identity: open is for test kits"):
        async with running_mesh(mesh_file, state, environment="test", free_ports=True):
            pass


async def test_replicas_with_rates_do_not_start_without_a_redis(mesh_file: Path, state: Path) -> None:
    """Each of them would admit as many calls as all together should."""
    rates = "{billing: {replicas: 2, methods: {Charge: {tenantRate: {calls: 5, period: 60s}}}}}"
    mesh_file.write_text(f"{MESH}environments: {{test: {{services: {rates}}}}}\n")
    with pytest.raises(MeshError, match=r"billing: .* over 2 replicas: set GRAPHMESH_BILLING_REDIS_URL$"):
        async with running_mesh(mesh_file, state, environment="test", free_ports=True):
            pass


async def test_identified_callers_pass_the_edge_in_production(mesh_file: Path, state: Path) -> None:
    """With a proxy in front that sets the headers; a call without identity or with an empty tenant is refused."""
    mesh_file.write_text(f"{MESH}environments: {{production: {{edge: {{identity: forwarded}}}}}}\n")
    caller = {metadata.TENANT: "acme", metadata.SUBJECT: "mira", metadata.SCOPES: "billing.read"}
    production: dict[str, Any] = {"environment": "production", "free_ports": True, "settings": IDENTIFIED}

    async def call(**headers: str) -> None:
        request = GetInvoiceRequest(invoice_id="in_1")
        deadline = Deadline.after(60)
        await channel.unary(BillingService.GetInvoice, request, deadline=deadline, headers=tuple(headers.items()))

    async with running_mesh(mesh_file, state, **production) as running, Channel(running.edge) as channel:
        with pytest.raises(NotFound):
            await call(**caller)
        for missing in caller:
            with pytest.raises(Unauthenticated, match=missing):
                await call(**{name: value for name, value in caller.items() if name != missing})
        with pytest.raises(Unauthenticated, match=metadata.SUBJECT):
            await call(**{**caller, metadata.SUBJECT: ""})
        with pytest.raises(InvalidMetadata, match=metadata.TENANT):
            await call(**{**caller, metadata.TENANT: ""})
        with pytest.raises(ScopeMissing):
            await call(**{**caller, metadata.SCOPES: ""})
        for header in caller:  # Envoy removes what `connection` nominates: then the call has no identity, not another
            path = "/graphmesh.billing.v1.BillingService/GetInvoice"
            sent = {**caller, "content-type": "application/json", "connection": f"close, {header}"}
            reply = await fetch(running.mesh.edge, "POST", path, b'{"invoiceId": "in_1"}', sent)
            assert (reply.status, reply.json["details"][0]["reason"]) == (401, "UNAUTHENTICATED")


async def test_a_state_folder_has_one_mesh(mesh_file: Path, state: Path) -> None:
    """Two would write the same databases."""
    with StateFolder(state).locked(), pytest.raises(MeshBusy, match="already"):
        async with running_mesh(mesh_file, state, free_ports=True):
            pass


async def test_a_port_in_use_is_named(mesh_file: Path, state: Path) -> None:
    """With its listener of mesh.yaml, before any process starts."""
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as server:
        taken = server.sockets[0].getsockname()[1]
        mesh_file.write_text(MESH.replace("18082", str(taken)))
        with pytest.raises(MeshError, match=rf"admin: 127\.0\.0\.1:{taken}\b.*; --free-ports"):
            async with running_mesh(mesh_file, state):
                pass


async def test_an_edit_takes_effect_without_restart(mesh_file: Path, state: Path) -> None:
    """A new cap reaches the running Envoy; an invalid edit is reported and changes nothing."""
    messages: list[str] = []
    async with running_mesh(mesh_file, state, free_ports=True, notify=messages.append) as running:
        before, envoy = await max_requests(running, "model"), running.child("envoy").pid
        mesh_file.write_text(MESH.replace("port: 18200", "port: 18200, policy: {maxConcurrency: -1}"))
        await wait_until(lambda: len(messages) == 1)
        assert "not applied" in messages[0]
        assert "maxConcurrency" in messages[0]
        assert await max_requests(running, "model") == before
        mesh_file.write_text(MESH.replace("port: 18200", "port: 18200, policy: {maxConcurrency: 777}"))
        await wait_until(lambda: len(messages) == 2)
        async with asyncio.timeout(60):
            while await max_requests(running, "model") == before:
                await asyncio.sleep(0.05)
        assert (running.child("envoy").pid, running.child("envoy").starts) == (envoy, 1)


async def test_a_dead_service_can_be_restarted(mesh_file: Path, state: Path) -> None:
    """The others keep running, and the restarted process has the same address."""
    async with running_mesh(mesh_file, state, free_ports=True, on_death=OnDeath.CONTINUE) as running:
        model = running.child("model")
        model.kill()
        await wait_until(lambda: model.state is State.DIED)
        assert StateFolder(state).read().processes["model"].state == "died"
        await running.restart("model")
        known = StateFolder(state).read().processes
        assert (known["model"].state, known["model"].starts, known["envoy"].starts) == ("ready", 2, 1)


async def test_a_server_that_fails_to_start_fails_the_mesh(mesh_file: Path, state: Path) -> None:
    """The error is the server's reason, with the environment variable."""
    settings = {"GRAPHMESH_MODEL_LOG_LEVEL": "loud"}
    with pytest.raises(ProcessDied, match=r"^model: bad settings: GRAPHMESH_MODEL_LOG_LEVEL: Input should be"):
        async with running_mesh(mesh_file, state, free_ports=True, settings=settings):
            pass


def test_a_process_gets_no_settings_of_others(mesh_file: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys to vendors are in the model service alone."""
    monkeypatch.setenv("GRAPHMESH_MODEL_API_KEYS", "{}")
    groups = mesh_programs(load(mesh_file), "", StateFolder(state), {}, {})
    having = [one.name for group in groups for one in group if "GRAPHMESH_MODEL_API_KEYS" in one.spec.env]
    assert having == ["model"]
    assert len([one for group in groups for one in group]) == 4


async def test_signal_stops_everything(mesh_file: Path, state: Path) -> None:
    """Ctrl-C exits with 0 and leaves no process behind."""
    async with graphmesh_up(mesh_file, state) as process:
        processes = processes_of(StateFolder(state).read())
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(60):
            assert await process.wait() == 0
        assert not any(one.is_running() for one in processes)
        assert not (state / "mesh.json").exists()


async def test_a_second_signal_kills(mesh_file: Path, state: Path) -> None:
    """A process that does not end at SIGTERM delays the end only until the second signal."""
    async with graphmesh_up(mesh_file, state) as process:
        known = StateFolder(state).read()
        psutil.Process(known.processes["model"].pid).suspend()
        process.send_signal(signal.SIGTERM)
        await wait_until(lambda: not psutil.pid_exists(known.processes["billing-1"].pid))
        assert process.returncode is None
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(STOP_TIMEOUT - 3):
            assert await process.wait() == 0


async def test_fail_fast_stops_the_mesh_at_a_death(mesh_file: Path, state: Path) -> None:
    """The death is shown with the last lines of the process, no process is left, and the exit code is 1."""
    async with graphmesh_up(mesh_file, state, "--fail-fast") as process:
        known = StateFolder(state).read()
        processes = processes_of(known)
        psutil.Process(known.processes["billing-2"].pid).kill()
        shown = await output(process)
        assert f"billing-2 (pid {known.processes['billing-2'].pid}) was killed by SIGKILL" in shown
        assert "listening" in shown
        assert await process.wait() == 1
        assert not any(one.is_running() for one in processes)


async def test_a_death_is_shown_with_the_command_to_start_it(mesh_file: Path, state: Path) -> None:
    """The others keep running, and the command starts the dead service at the same address."""
    async with graphmesh_up(mesh_file, state) as process:
        model = StateFolder(state).read().processes["model"]
        psutil.Process(model.pid).kill()
        assert process.stdout
        async with asyncio.timeout(60):
            while b"the command to start it" not in await process.stdout.readline():
                pass
            command = (await process.stdout.readline()).decode().strip()
        assert f"GRAPHMESH_MODEL_LISTEN={model.address}" in command
        assert command.endswith("-m graphmesh_model")
        assert StateFolder(state).read().processes["billing-1"].state == "ready"


async def test_all_processes_die_with_graphmesh_up(mesh_file: Path, state: Path) -> None:
    """SIGKILL of `graphmesh up` ends Envoy and all services, and other commands find no mesh."""
    async with graphmesh_up(mesh_file, state) as process:
        processes = processes_of(StateFolder(state).read())
        process.kill()
        _, alive = await asyncio.to_thread(psutil.wait_procs, processes, timeout=60)
        assert not alive
        with pytest.raises(NoMesh):
            StateFolder(state).read()
