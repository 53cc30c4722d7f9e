"""The keys of call tokens on one machine, and which process gets which of them."""

import json
from pathlib import Path

import pytest
from graphmesh_contracts.workloads import PROBER
from graphmesh_local.call_keys import open_call_keys, replace_call_key
from graphmesh_local.certificates import issue_certificates, open_authority, secured
from graphmesh_local.server_programs import mesh_programs
from graphmesh_local.state_folder import StateFolder
from graphmesh_mesh.sample import MESH_FILE
from graphmesh_mesh.topology import Mesh, load


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    open_call_keys(tmp_path)
    return StateFolder(tmp_path)


def names(folder: StateFolder) -> list[str]:
    return [key["kid"] for key in json.loads(folder.call_keys.read_bytes())["keys"]]


def test_only_its_user_reads_the_key_and_it_stays_the_same(folder: StateFolder) -> None:
    before = folder.call_key.read_bytes()
    open_call_keys(folder.path)
    assert folder.call_key.read_bytes() == before
    assert folder.call_key.stat().st_mode & 0o777 == 0o600
    assert "d" not in json.loads(folder.call_keys.read_bytes())["keys"][0]


def test_a_new_key_leaves_the_one_before_it(folder: StateFolder) -> None:
    [first] = names(folder)
    replace_call_key(folder.path)
    second = names(folder)[0]
    assert names(folder) == [second, first]
    replace_call_key(folder.path)
    assert names(folder)[1:] == [second]
    assert folder.call_key.stat().st_mode & 0o777 == 0o600


def settings(mesh: Mesh, folder: StateFolder, name: str) -> dict[str, str]:
    """The settings of call tokens that a process gets."""
    open_authority(folder.certificates)
    issue_certificates(folder.certificates, "graphmesh.local", [PROBER])
    programs = [program for group in mesh_programs(mesh, "", folder, {}, {}) for program in group]
    env = next(program for program in programs if program.name == name).env
    return {setting: value for setting, value in env.items() if "CALL_KEY" in setting}


def test_orchestrators_sign_and_services_behind_the_edge_verify(folder: StateFolder) -> None:
    """A service at the edge gets calls of clients, which have no tokens of calls."""
    mesh = secured(load(MESH_FILE), folder.certificates)
    at_edge = mesh.model_copy(update={"edge": mesh.edge.model_copy(update={"services": ("orchestrator", "crm")})})
    assert settings(mesh, folder, "orchestrator") == {"GRAPHMESH_ORCHESTRATOR_CALL_KEY": str(folder.call_key)}
    assert settings(mesh, folder, "billing") == {"GRAPHMESH_BILLING_CALL_KEYS": str(folder.call_keys)}
    assert settings(mesh, folder, "crm")
    assert not settings(at_edge, folder, "crm")
    assert not settings(load(MESH_FILE), folder, "billing")
    assert not settings(load(MESH_FILE), folder, "orchestrator")
