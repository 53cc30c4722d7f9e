"""The section mesh.tls: which workload may call what, which connections are encrypted, and what is refused by name."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from graphmesh_mesh.envoy.render import documents, render
from graphmesh_mesh.errors import MeshError
from graphmesh_mesh.topology import Mesh, load

SERVICES: dict[str, Any] = {
    "orchestrator": {
        "service": "graphmesh.orchestrator.v1.RunService",
        "module": "graphmesh_orchestrator",
        "port": 100,
    },
    "billing": {"service": "graphmesh.billing.v1.BillingService", "module": "graphmesh_billing", "port": 200},
    "crm": {"service": "graphmesh.crm.v1.CrmService", "module": "graphmesh_crm", "port": 300},
}
TLS = {"certificates": "certificates", "trust_domain": "shop.example"}
EXTERNAL = {"service": "graphmesh.sql.v1.SqlService", "external": True, "address": "sql.example", "port": 400}
PLAINTEXT = {"service": "graphmesh.model.v1.ModelService", "command": ["./model"], "port": 500, "plaintext": True}
BILLING = "/graphmesh.billing.v1.BillingService/"


def mesh_of(
    folder: Path, tls: Any = TLS, roles: Any = None, identity: str = "forwarded", **services: dict[str, Any]
) -> Mesh:
    """Load a mesh.yaml with mutual TLS, and with `roles` where there are any."""
    content: dict[str, Any] = {
        "edge": {"port": 1, "services": ["orchestrator"], "identity": identity},
        "mesh": {"port": 2, "tls": tls},
        "admin": {"port": 3},
        "services": {
            name: {**SERVICES.get(name, {}), **changes} for name, changes in ({**SERVICES, **services}).items()
        },
    }
    if roles:
        (folder / "roles.yaml").write_text(yaml.safe_dump({"roles": roles}))
        content["roles"] = "roles.yaml"
    (folder / "mesh.yaml").write_text(yaml.safe_dump(content))
    return load(folder / "mesh.yaml")


def permitted(mesh: Mesh) -> dict[str, Any]:
    """Return what each workload may call, by its SPIFFE ID: matchers of paths, or `*` for all but the run API."""
    runs = [{"url_path": {"path": {"prefix": "/graphmesh.orchestrator.v1.RunService/"}}}]
    others = {"not_rule": {"or_rules": {"rules": runs}}}
    [filter] = documents(mesh)["ecds-workloads.yaml"]["resources"]
    rules = filter["typed_config"]["rules"]
    assert rules["action"] == "ALLOW"
    return {
        policy["principals"][0]["authenticated"]["principal_name"]["exact"]: [
            "*" if one == others else one["url_path"]["path"] for one in policy["permissions"]
        ]
        for policy in rules["policies"].values()
    }


def test_an_orchestrator_may_call_the_tools_of_the_roles(tmp_path: Path) -> None:
    """One edit of the file of roles changes what Envoy lets through inside of the mesh."""
    roles = {"agent": {"tools": ["billing.Refund", "crm"]}, "guest": {}}
    found = permitted(mesh_of(tmp_path, roles=roles))
    crm = {"prefix": "/graphmesh.crm.v1.CrmService/"}
    assert found == {
        "spiffe://shop.example/commands": ["*"],
        "spiffe://shop.example/orchestrator": [{"exact": f"{BILLING}Refund"}, crm],
    }
    roles["guest"]["tools"] = ["billing.GetInvoice"]
    found = permitted(mesh_of(tmp_path, roles=roles))
    paths = [{"exact": f"{BILLING}GetInvoice"}, {"exact": f"{BILLING}Refund"}, crm]
    assert sorted(map(str, found["spiffe://shop.example/orchestrator"])) == sorted(map(str, paths))


def test_an_orchestrator_may_call_all_tools_for_the_local_developer(tmp_path: Path) -> None:
    roles = {"agent": {"tools": ["billing.Refund"]}}
    for mesh in (mesh_of(tmp_path), mesh_of(tmp_path, roles=roles, identity="open")):
        assert permitted(mesh)["spiffe://shop.example/orchestrator"] == ["*"]


def test_the_run_api_is_called_through_the_mesh_listener_where_it_is_named(tmp_path: Path) -> None:
    """It acts on headers, which are the workload's own there."""
    roles = {"admin": {"tools": ["*"]}, "agent": {"tools": ["orchestrator.GetRun"]}}
    found = permitted(mesh_of(tmp_path, roles=roles, crm={"calls": ["*", "orchestrator"]}))
    assert found == {
        "spiffe://shop.example/commands": ["*"],
        "spiffe://shop.example/crm": ["*", {"prefix": "/graphmesh.orchestrator.v1.RunService/"}],
        "spiffe://shop.example/orchestrator": ["*", {"exact": "/graphmesh.orchestrator.v1.RunService/GetRun"}],
    }


def test_an_orchestrator_whose_roles_have_no_tools_may_call_nothing(tmp_path: Path) -> None:
    assert permitted(mesh_of(tmp_path, roles={"reader": {"scopes": ["*"]}})).keys() == {
        "spiffe://shop.example/commands"
    }


def test_a_service_may_call_what_it_declares(tmp_path: Path) -> None:
    mesh = mesh_of(tmp_path, crm={"calls": ["billing.GetInvoice"]}, billing={"calls": ["*"]})
    found = permitted(mesh)
    assert found["spiffe://shop.example/crm"] == [{"exact": f"{BILLING}GetInvoice"}]
    assert found["spiffe://shop.example/billing"] == ["*"]


def test_connections_to_all_services_but_external_and_plaintext_ones_are_encrypted(tmp_path: Path) -> None:
    clusters = documents(mesh_of(tmp_path, sql=EXTERNAL, model=PLAINTEXT))["cds.yaml"]["resources"]
    verified = {
        one["name"]: one["transport_socket"]["typed_config"]["common_tls_context"]["combined_validation_context"][
            "default_validation_context"
        ]["match_typed_subject_alt_names"][0]["matcher"]["exact"]
        for one in clusters
        if "transport_socket" in one
    }
    assert verified == {
        "orchestrator": "spiffe://shop.example/orchestrator",
        "edge-orchestrator": "spiffe://shop.example/orchestrator",
        "billing": "spiffe://shop.example/billing",
        "crm": "spiffe://shop.example/crm",
    }


def test_paths_of_certificates_are_relative_to_the_file(tmp_path: Path) -> None:
    tls = mesh_of(tmp_path).mesh.tls
    assert tls
    assert tls.certificate() == tmp_path / "certificates" / "envoy.pem"
    assert tls.authorities == tmp_path / "certificates" / "authorities.pem"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"tls": {"ca": "x"}}, "mesh.tls.ca: Extra inputs are not permitted"),
        ({"tls": {"trust_domain": "Shop/x"}}, "mesh.tls.trust_domain: String should match pattern"),
        ({"tls": True}, "mesh.tls: Input should be a valid dictionary"),
        ({"crm": {"calls": ["billing.Steal"]}}, "services.crm.calls: no tool is called billing.Steal"),
        ({"crm": {"calls": ["billing."]}}, "services.crm.calls.0: String should match pattern"),
        ({"orchestrator": {"calls": ["billing"]}}, "services.orchestrator.calls: an orchestrator calls the tools of"),
        ({"crm": {"plaintext": True}}, "services.crm: plaintext: only of a service with a command"),
        ({"model": {**PLAINTEXT, "calls": ["crm"]}}, "services.model: calls: only of a service with a certificate"),
        ({"orchestrator": {**PLAINTEXT, "module": None}}, "edge.services: orchestrator is plaintext"),
        (
            {"prober": {**SERVICES["crm"], "service": "graphmesh.sql.v1.SqlService"}},
            "services.prober: the name is reserved",
        ),
        (
            {"commands": {**SERVICES["crm"], "service": "graphmesh.sql.v1.SqlService"}},
            "services.commands: the name is reserved",
        ),
    ],
)
def test_what_breaks_a_rule_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(MeshError) as refused:
        mesh_of(tmp_path, **changes)
    assert problem in str(refused.value)


def test_calls_of_a_service_need_mutual_tls(tmp_path: Path) -> None:
    """Envoy recognizes the service by it alone."""
    with pytest.raises(MeshError, match=r"services\.crm\.calls: only with mesh\.tls"):
        render(mesh_of(tmp_path, tls=None, crm={"calls": ["billing"]}))


def test_production_states_its_plaintext_services_itself(tmp_path: Path) -> None:
    """What is right on the machine of a developer is not inherited by it."""
    mesh_of(tmp_path, model=PLAINTEXT)
    file = tmp_path / "mesh.yaml"
    written = file.read_text()
    for production in ("null", "{}", "{services: {model: {port: 501}}}"):
        file.write_text(f"{written}environments: {{production: {production}, test: {production}}}\n")
        with pytest.raises(MeshError, match=r"services\.model\.plaintext: production has to state it too"):
            load(file, "production")
        assert load(file, "test").services["model"].plaintext
    file.write_text(f"{written}environments: {{production: {{services: {{model: {{plaintext: true}}}}}}}}\n")
    assert load(file, "production").services["model"].plaintext


def test_nothing_is_rendered_without_the_folder_of_certificates(tmp_path: Path) -> None:
    with pytest.raises(MeshError, match=r"mesh\.tls\.certificates: is required"):
        documents(mesh_of(tmp_path, tls={}))
