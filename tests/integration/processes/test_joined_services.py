"""Services of other teams: run by them, or from an interpreter of their own, and joined by a descriptor set."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.errors import GraphmeshError
from graphmesh_cli.commands.import_rows import Counts, import_rows
from graphmesh_cli.commands.row_sources import Row
from graphmesh_cli.commands.rpc_catalogue import find_rpc, joined_rpcs
from graphmesh_contracts.service_handles import FOLDER_SETTING, service
from graphmesh_local.child_process import NotReady, State
from graphmesh_local.running_mesh import RunningMesh, running_mesh
from graphmesh_local.server_programs import mesh_programs
from graphmesh_local.state_folder import StateFolder
from graphmesh_local.supervisor import OnDeath
from graphmesh_mesh.errors import MeshError
from graphmesh_mesh.topology import load

from tests.shipping.contract import NAME, contract
from tests.shipping.team import DESCRIPTOR_SET, Team, external_service, found_team, parcels, ship

MESH = """
edge: {port: 18080, services: [billing]}
mesh: {port: 18081}
admin: {port: 18082}
include: [team/mesh.yaml]
services:
  billing: {service: graphmesh.billing.v1.BillingService, module: graphmesh_billing, port: 18100}
"""
WITHOUT_TLS = """
import os, runpy
for name in ("CERTIFICATE", "AUTHORITIES"):
    os.environ.pop(f"GRAPHMESH_SHIPPING_{name}", None)
runpy.run_module("acme_shipping", run_name="__main__")
"""


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("joined") / "team"
    folder.mkdir()
    found_team(folder)
    (folder.parent / "mesh.yaml").write_text(MESH)
    return folder


@pytest.fixture
def team(founded: Path) -> Team:
    return Team(founded)


@pytest.fixture
def mesh_file(founded: Path) -> Path:
    return founded.parent / "mesh.yaml"


def shipping_of(running: RunningMesh, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the handles that a graph of the mesh has."""
    monkeypatch.setenv(FOLDER_SETTING, str(running.folder.contracts))
    return service(NAME)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.05)


async def is_shipped(channel: Channel, shipping: Any, order_id: str) -> bool:
    try:
        await ship(channel, shipping, order_id)
    except GraphmeshError:
        return False
    return True


async def until_shipped(channel: Channel, shipping: Any, order_id: str) -> None:
    async with asyncio.timeout(60):
        while not await is_shipped(channel, shipping, order_id):
            await asyncio.sleep(0.05)


async def test_an_external_service_is_called_and_its_health_is_seen(
    team: Team, mesh_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mesh starts without it, says so, and says when it can be called; its contract is not installed here."""
    notes: list[str] = []
    async with external_service(team) as child:
        child.kill()
        await eventually(lambda: child.state is State.DIED)
        async with (
            running_mesh(mesh_file, tmp_path / "state", free_ports=True, notify=notes.append) as running,
            running.channel() as channel,
        ):
            shipping = shipping_of(running, monkeypatch)
            assert [one.program.name for one in running.supervisor.children] == ["billing", "envoy"]
            assert [note.partition(" (external, 127.0.0.1:")[0] for note in notes] == [
                "waiting 5 s for shipping",
                "health checks fail for shipping",
            ]
            assert not await is_shipped(channel, shipping, "o_1")
            await child.start()
            await eventually(lambda: "health checks pass for shipping" in notes[-1])
            await until_shipped(channel, shipping, "o_1")
            assert len(await parcels(channel, shipping, "o_1")) == 1
            imported = find_rpc("shipping.Ship", joined_rpcs(running.folder.contracts))
            rows = [Row(1, {"orderId": "o_9", "to": {"city": "Riga"}}), Row(2, {"orderId": "o_9"})]
            assert await import_rows(channel, imported, rows) == Counts(done=1, refused=1)
            child.kill()
            await eventually(lambda: "health checks fail for shipping" in notes[-1])


async def test_a_service_runs_from_its_own_interpreter(
    team: Team, mesh_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its own packages, folder and variables; it is restarted as others are. Edits of its contract are applied
    unless they break it."""
    settings = {"GRAPHMESH_SHIPPING_LOG_LEVEL": "warning"}
    team.join(module="acme_shipping", python=".venv/bin/python", folder=".", port=18200, env=settings)
    monkeypatch.setenv("PYTHONPATH", "/of/this/process")
    notes: list[str] = []
    async with (
        running_mesh(
            mesh_file, tmp_path / "state", free_ports=True, on_death=OnDeath.RESTART, notify=notes.append
        ) as running,
        running.channel() as channel,
    ):
        shipping, child = shipping_of(running, monkeypatch), running.child("shipping")
        process = psutil.Process(child.pid)
        assert process.cmdline() == [str(team.python), "-m", "acme_shipping"]
        assert process.cwd() == str(team.folder)
        assert (process.environ()["PYTHONPATH"], process.environ()["GRAPHMESH_SHIPPING_LOG_LEVEL"]) == ("", "warning")
        await until_shipped(channel, shipping, "o_2")
        child.kill()
        await eventually(lambda: child.starts == 2 and child.state is State.READY)
        await until_shipped(channel, shipping, "o_2")
        assert len(await parcels(channel, shipping, "o_2")) == 1

        edited = contract().replace(b"\x0a\x04city", b"\x0a\x04town")
        (team.folder / DESCRIPTOR_SET).write_bytes(edited)
        await eventually(lambda: len(notes) == 1)
        assert "team/shipping.binpb changed, but the change is not applied: it breaks the contract" in notes[0]
        assert "acme.shipping.v1.Address.city is renamed to town" in notes[0]
        in_use = running.folder.contracts / f"{NAME}.binpb"
        assert in_use.read_bytes() == contract()
        (team.folder / DESCRIPTOR_SET).write_bytes(contract()[:100])
        await eventually(lambda: len(notes) == 2)
        assert "is not a descriptor set" in notes[1]

        slower = contract().replace(b"\x0a\x02\x08\x05\x10\x04", b"\x0a\x02\x08\x04\x10\x04")  # timeouts of 4 s
        (team.folder / DESCRIPTOR_SET).write_bytes(slower)
        await eventually(lambda: len(notes) == 3)
        assert notes[2] == (
            "team/shipping.binpb changed: Envoy reloads rds-mesh.yaml; restart the mesh to apply it to servers"
        )
        assert in_use.read_bytes() == slower


async def test_a_program_without_tls_joins_when_its_entry_states_that(
    team: Team, mesh_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program may be in any language: it reads none of the settings. Without the key it is refused, by its name."""
    command = [str(team.python), "-c", WITHOUT_TLS]
    team.join(command=command, folder=".", port=18200)
    with pytest.raises(NotReady, match=r"^shipping .* answers without TLS: .* has to state plaintext: true$"):
        async with running_mesh(mesh_file, tmp_path / "state", free_ports=True):
            pass
    team.join(command=command, folder=".", port=18200, plaintext=True)
    notes: list[str] = []
    async with (
        running_mesh(mesh_file, tmp_path / "state", free_ports=True, notify=notes.append) as running,
        running.channel() as channel,
    ):
        [listener] = running.mesh.services["shipping"].replica_listeners
        [note] = notes
        assert note == f"services.shipping is plaintext: any program that reaches {listener.target} can call it"
        await ship(channel, shipping_of(running, monkeypatch), "o_3")


@pytest.mark.parametrize(
    ("service", "sentence"),
    [
        ({"python": "none/bin/python"}, "services.shipping.python: {team}/none/bin/python does not exist"),
        ({"python": "mesh.yaml"}, "services.shipping.python: {team}/mesh.yaml cannot be executed: Permission denied"),
        ({"module": "acme_cargo"}, "services.shipping.module: {team}/.venv/bin/python has no module acme_cargo"),
        (
            {"module": "acme_cargo", "python": None},
            "services.shipping.module: {executable} has no module acme_cargo",
        ),
        ({"folder": "none"}, "services.shipping.folder: {team}/none is not a folder"),
    ],
)
async def test_a_missing_program_is_one_sentence(
    team: Team, mesh_file: Path, tmp_path: Path, service: dict[str, Any], sentence: str
) -> None:
    team.join(**{"module": "acme_shipping", "python": ".venv/bin/python", "port": 18200, **service})
    with pytest.raises(MeshError) as error:
        async with running_mesh(mesh_file, tmp_path / "state", free_ports=True):
            pass
    assert str(error.value) == sentence.format(team=team.folder, executable=sys.executable)
    assert not (tmp_path / "state/mesh.json").exists()


def test_a_command_gets_its_address(team: Team, mesh_file: Path, tmp_path: Path) -> None:
    """A program in any language, with the settings and none of the packages of this process."""
    team.join(command=["./server", "--listen={listen}"], folder=".", port=18200, env={"PYTHONPATH": "lib"})
    [servers, *_] = mesh_programs(load(mesh_file), "", StateFolder(tmp_path), {}, {})
    [program] = [one for one in servers if one.name == "shipping"]
    assert (program.argv, program.folder) == (["./server", "--listen=127.0.0.1:18200"], team.folder)
    assert (program.env["PYTHONPATH"], program.env["VIRTUAL_ENV"]) == ("lib", "")
    assert program.env["GRAPHMESH_SHIPPING_LISTEN"] == program.address
