"""mesh.yaml: its rules, its environments, and the messages for invalid files."""

from itertools import count
from pathlib import Path
from typing import Any

import pytest
from graphmesh_contracts import Overrides
from graphmesh_mesh.errors import MeshError
from graphmesh_mesh.topology import environments, load, parse

MESH_FILE = Path(__file__).parents[3] / "deploy/mesh.yaml"


Raw = dict[str, Any]


def raw(environments: Raw | None = None, edge: Raw | None = None, **billing: Any) -> Raw:
    service = {"service": "graphmesh.billing.v1.BillingService", "module": "graphmesh_billing", "port": 100, **billing}
    return {
        "edge": {"port": 1, "services": ["billing"], **(edge or {})},
        "mesh": {"port": 2},
        "admin": {"port": 3},
        "services": {"billing": service},
        "environments": environments or {},
    }


@pytest.mark.parametrize(
    ("mesh", "problem"),
    [
        (raw(replicas=0), "services.billing.replicas: Input should be greater than or equal to 1"),
        (raw(port=70000), "services.billing.port: Input should be less than or equal to 65535"),
        (raw(prot=5), "services.billing.prot: Extra inputs are not permitted"),
        (raw(replicas=2, ports=[7]), "services.billing: 1 ports for 2 replicas"),
        ({**raw(), "admin": {"port": 3, "address": "0.0.0.0"}}, "admin.address: must be of loopback"),
        ({**raw(), "admin": {"port": 3, "address": "envoy"}}, "admin.address: must be of loopback"),
        (raw(port=2), "addresses used twice: 127.0.0.1:2"),
        (raw(edge={"services": ["crm"]}), "edge.services: no service is called crm"),
        (
            raw(service="graphmesh.billing.v1.CashService"),
            "no installed package has the contract graphmesh.billing.v1.CashService",
        ),
        (raw(policy={"maxConcurrency": 0}), "max_concurrency: must be greater than or equal to 1"),
        (raw(policy={"cap": 2}), 'no field named "cap"'),
        (raw(methods={"Charge": {"timeout": "0s"}}), "timeout: must be greater than 0s"),
        (raw() | {"graphs": {"a": {"tenant_rate": {"calls": 5}}}}, "graphs.a.tenant_rate: rate: period: "),
        (raw() | {"graphs": {"a": {"rate": {}}}}, "graphs.a.tenant_rate: Field required"),
        (raw(methods={"Steal": {"timeout": "1s"}}), "graphmesh.billing.v1.BillingService has no method Steal"),
    ],
)
def test_an_error_names_the_field_and_the_rule(mesh: Raw, problem: str) -> None:
    with pytest.raises(MeshError) as refusal:
        parse(mesh)
    assert problem in str(refusal.value)


def test_the_admin_interface_is_local_in_every_environment() -> None:
    with pytest.raises(MeshError, match=r"admin\.address: must be of loopback"):
        parse(raw(environments={"live": {"admin": {"address": "10.0.0.1"}}}), "live")
    assert parse({**raw(), "admin": {"port": 3, "address": "::1"}}).admin.target == "[::1]:3"


def test_an_error_names_the_file(tmp_path: Path) -> None:
    """Also where the file is missing or not YAML."""
    path = tmp_path / "mesh.yaml"
    with pytest.raises(MeshError, match=str(path)):
        load(path)
    for text in ("services: [", "", "- a list"):
        path.write_text(text)
        with pytest.raises(MeshError, match=str(path)):
            load(path)


WRONG = """
edge: {port: 1}
mesh: {port: 2}
admin: {port: 3}
services:
  billing:
    service: graphmesh.billing.v1.BillingService
    module: graphmesh_billing
    port: 100
environments:
  big:
    services:
      billing:
        replicas: 3
"""


@pytest.mark.parametrize(
    ("edit", "environment", "message"),
    [
        (("port: 100", "port: ten"), "", "line 9: services.billing.port: "),
        (("port: 100", "prot: 100"), "", "line 9: services.billing.prot: Extra inputs are not permitted"),
        (("replicas: 3", "replicas: 0"), "big", "line 14: services.billing.replicas: "),
        (("port: 100", "port: 100: 2"), "", "line 9, column 14: is no YAML: mapping values are not allowed here"),
        (("mesh: {", "edge: {"), "", "line 2, column 1: is no YAML: the key edge is there twice"),
    ],
)
def test_an_error_has_the_line_of_the_file(
    tmp_path: Path, edit: tuple[str, str], environment: str, message: str
) -> None:
    """That of the environment, where it has the value. The message is one line."""
    path = tmp_path / "mesh.yaml"
    path.write_text(WRONG.replace(*edit))
    with pytest.raises(MeshError) as refusal:
        load(path, environment)
    first = str(refusal.value).partition("; ")[0]
    assert first.startswith(f"{path}: {message}")
    assert "\n" not in str(refusal.value)


def test_an_environment_overrides_single_fields() -> None:
    """All other fields are those of the base."""
    environments = {"big": {"services": {"billing": {"replicas": 3, "policy": {"maxConcurrency": 64}}}}}
    mesh = raw(environments, policy={"maxQueue": 5})
    base, big = parse(mesh).services["billing"], parse(mesh, "big").services["billing"]
    assert (base.replicas, base.service_policy.max_concurrency) == (1, 16)
    assert (big.replicas, big.service_policy.max_concurrency, big.service_policy.max_queue) == (3, 64, 5)
    assert big.port == base.port


def test_an_unknown_environment_is_refused() -> None:
    """A misspelt name does not fall back to the base."""
    with pytest.raises(MeshError, match="no environment 'prod'; there are: big"):
        parse(raw({"big": {}}), "prod")


def test_replicas_have_consecutive_ports() -> None:
    """With an IP address; a DNS name is one listener for all replicas."""
    by_ip, by_name = parse(raw(replicas=3)), parse(raw(replicas=3, address="billing.mesh"))
    assert [one.port for one in by_ip.services["billing"].replica_listeners] == [100, 101, 102]
    assert [one.target for one in by_name.services["billing"].replica_listeners] == ["billing.mesh:100"]


def test_a_mesh_on_loopback_has_only_free_ports() -> None:
    """So that the same mesh can run several times on one machine."""
    ports = count(1000)
    mesh = parse(raw(replicas=2)).on_loopback(lambda: next(ports))
    listeners = [mesh.edge, mesh.mesh, mesh.admin, *mesh.services["billing"].replica_listeners]
    assert len({listener.port for listener in listeners}) == 5
    assert all(listener.port >= 1000 for listener in listeners)


def test_replicas_get_the_same_overrides_as_envoy() -> None:
    """The setting that a replica is started with parses to the same overrides."""
    service = parse(raw(policy={"maxConcurrency": 2}, methods={"Charge": {"timeout": "3s"}})).services["billing"]
    assert Overrides.parse(service.overrides.dump()) == service.overrides
    assert {method.name: policy.timeout for method, policy in service.method_policies.items()}["Charge"] == 3


@pytest.mark.parametrize("environment", ["", *environments(MESH_FILE)])
def test_every_environment_of_deploy_mesh_yaml_is_valid(environment: str) -> None:
    mesh = load(MESH_FILE, environment)
    assert {"orchestrator", "billing", "crm", "model", "retrieval", "sql", "ticketing"} <= set(mesh.services)
