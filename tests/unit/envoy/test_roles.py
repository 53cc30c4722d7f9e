"""The file with roles: what it gives to each, and what is refused by its file, line, key and rule."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from graphmesh_mesh.envoy.render import documents
from graphmesh_mesh.errors import MeshError
from graphmesh_mesh.sample import MESH_FILE
from graphmesh_mesh.topology import Mesh, load

BILLING = {"service": "graphmesh.billing.v1.BillingService", "module": "graphmesh_billing", "port": 100}
MESH: dict[str, Any] = {
    "edge": {"port": 1, "services": ["billing"]},
    "mesh": {"port": 2},
    "admin": {"port": 3},
    "services": {"billing": BILLING},
    "roles": "who/roles.yaml",
}


def mesh_of(folder: Path, roles: Any, environment: str = "", **content: Any) -> Mesh:
    """Load a mesh.yaml that names a file with `roles`."""
    (folder / "who").mkdir()
    text = roles if isinstance(roles, str) else yaml.safe_dump(roles, sort_keys=False)
    (folder / "who" / "roles.yaml").write_text(text)
    (folder / "mesh.yaml").write_text(yaml.safe_dump({**MESH, **content}))
    return load(folder / "mesh.yaml", environment)


def scopes_of(mesh: Mesh) -> dict[str, list[str]]:
    assert mesh.roles
    return {name: sorted(scopes) for name, scopes in mesh.roles.scopes_of(mesh.contracts).items()}


def test_scopes_are_those_of_the_contracts_and_of_the_file(tmp_path: Path) -> None:
    """`*` is all of them; for approvals it covers those that graphs name too."""
    roles = {
        "agent": {"scopes": ["billing.read", "hr.read"], "graphs": ["support"], "tools": ["billing.Refund"]},
        "lead": {"scopes": ["billing.read"], "approvals": ["approvals.refund", "approvals.billing"]},
        "all": {"scopes": ["*"], "approvals": ["*"]},
        "none": {},
    }
    found = scopes_of(mesh_of(tmp_path, {"scopes": ["hr.read", "approvals.refund"], "roles": roles}))
    assert found["agent"] == ["billing.read", "hr.read"]
    assert found["lead"] == ["approvals.billing", "approvals.refund", "billing.read"]
    assert {"approvals.*", "approvals.billing", "billing.refund", "hr.read"} < set(found["all"])
    assert found["none"] == []


@pytest.mark.parametrize(
    ("role", "problem"),
    [
        ({"scope": ["billing.read"]}, "line 3: roles.one.scope: Extra inputs are not permitted"),
        ({"scopes": ["billing.raed"]}, "line 4: roles.one.scopes.0: no contract declares the scope billing.raed"),
        ({"scopes": ["approvals.billing"]}, "roles.one.scopes.0: no contract declares the scope approvals.billing"),
        ({"scopes": "billing.read"}, "roles.one.scopes: Input should be a valid tuple"),
        ({"tools": ["*", "billing.Refnud"]}, "line 5: roles.one.tools.1: no tool is called billing.Refnud"),
        ({"tools": ["crm"]}, "roles.one.tools.0: no tool is called crm"),
        ({"graphs": [""]}, "roles.one.graphs.0: String should match"),
        ({"approvals": ["approvals.refund"]}, "roles.one.approvals.0: no approval requires approvals.refund"),
        (None, "roles.one: Input should be"),
    ],
    ids=str,
)
def test_what_does_not_exist_is_refused_by_name(tmp_path: Path, role: Any, problem: str) -> None:
    with pytest.raises(MeshError) as refused:
        mesh_of(tmp_path, {"roles": {"one": role}})
    assert problem in str(refused.value)
    assert str(tmp_path / "who" / "roles.yaml") in str(refused.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("roles: {}", "line 1: roles: Dictionary should have at least 1 item"),
        ("{}", "roles: Field required"),
        ("roles: {one: {}, one: {}}", "the key one is there twice"),
        ("rules: {one: {}}\nroles: {one: {}}", "line 1: rules: Extra inputs are not permitted"),
        ("- roles", "is not a mapping"),
        ("roles: {one: {}, two: {}, One: {}}", "line 1: roles: one and One differ only in case"),
        ("roles: {one: {}}\nscopes: [2026-13-01]", "line 2, column 10: is no YAML: the value 2026-13-01 is not valid"),
        (f"scopes: [{'9' * 5000}]", "line 1, column 10: is no YAML: the value 99999"),
        ("roles: {one: {}}\nscopes: [!!bool maybe]", "line 2, column 10: is no YAML: the value maybe is not valid"),
        ("scopes: ['*']\nroles: {one: {}}", "line 1: scopes.0: String should match"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(MeshError) as refused:
        mesh_of(tmp_path, text)
    assert problem in str(refused.value)


def test_the_file_is_relative_to_mesh_yaml_and_watched(tmp_path: Path) -> None:
    """A mesh may have another one in each environment, whose roles are not merged; roles are in no other place."""
    mesh_of(tmp_path, {"roles": {"one": {}}}, environments={"production": {"roles": "others.yaml"}})
    (tmp_path / "others.yaml").write_text("roles: {two: {}}")
    read: list[Path] = []
    production = load(tmp_path / "mesh.yaml", "production", read)
    assert production.roles
    assert list(production.roles.roles) == ["two"]
    assert {tmp_path / "who" / "roles.yaml", tmp_path / "others.yaml"} <= set(read)
    (tmp_path / "mesh.yaml").write_text(yaml.safe_dump({**MESH, "roles": {"one": {}}}))
    with pytest.raises(MeshError, match="roles: is not the name of a file"):
        load(tmp_path / "mesh.yaml")
    (tmp_path / "mesh.yaml").write_text(yaml.safe_dump({**MESH, "roles": "none.yaml"}))
    with pytest.raises(MeshError, match=r"line \d+: roles: .*none.yaml: No such file"):
        load(tmp_path / "mesh.yaml")


@pytest.mark.parametrize("has_roles", [True, False])
def test_an_authenticating_proxy_sets_the_roles_where_the_mesh_has_them(tmp_path: Path, has_roles: bool) -> None:
    """Else the edge removes them, so that a client cannot."""
    edge = {"port": 1, "services": ["billing"], "identity": "forwarded"}
    mesh = mesh_of(tmp_path, {"roles": {"one": {}}}, edge=edge)
    rendered = documents(mesh if has_roles else mesh.model_copy(update={"roles": None}))
    removes, requires = ("x-graphmesh-roles" in str(part) for part in (rendered["lds.yaml"], rendered["rds-edge.yaml"]))
    assert (removes, requires) == (not has_roles, has_roles)


def test_whoever_gives_approvals_may_call_the_method_for_it() -> None:
    """In the sample's mesh, whose edge has it."""
    mesh = load(MESH_FILE)
    assert mesh.roles
    lead = mesh.roles.roles["support_lead"]
    roles = mesh.roles.model_copy(update={"roles": {"lead": lead.model_copy(update={"scopes": ("runs.read",)})}})
    with pytest.raises(ValueError, match=r"roles.lead.approvals: .* the scope approvals.write"):
        roles.check(mesh.contracts)
