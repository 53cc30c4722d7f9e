"""Services in files that mesh.yaml includes: how they are read, and what is refused with its file and key."""

from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml
from graphmesh_mesh.contracts import broken_contracts, contract_files
from graphmesh_mesh.envoy.render import documents, render
from graphmesh_mesh.errors import MeshError
from graphmesh_mesh.topology import Mesh, environments, load

from tests.shipping.contract import NAME, contract

BILLING = {"service": "graphmesh.billing.v1.BillingService", "module": "graphmesh_billing", "port": 100}
SHIPPING = {"service": NAME, "external": True, "addresses": ["10.0.0.7:443", "parcels.acme:443"]}
SHIPPING |= {"descriptor_set": "shipping.binpb"}
BASE = {"edge": {"port": 1, "services": ["billing"]}, "mesh": {"port": 2}, "admin": {"port": 3}}

Files = dict[str, Any]


def write(folder: Path, files: Files) -> Path:
    """Write files as YAML, with the contract beside them, and return the path of mesh.yaml."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        (path.parent / "shipping.binpb").write_bytes(contract())
    return folder / "mesh.yaml"


def base(*include: str, **services: Any) -> Files:
    return {"mesh.yaml": {**BASE, "include": list(include), "services": {"billing": BILLING, **services}}}


def joined(folder: Path, changes: Files | None = None) -> Mesh:
    """Return a mesh with a service in an included file, with `changes` of that."""
    shipping = {**SHIPPING, **(changes or {})}
    return load(
        write(folder, {**base("acme/shipping.yaml"), "acme/shipping.yaml": {"services": {"shipping": shipping}}})
    )


def refusal(folder: Path, files: Files) -> str:
    path = write(folder, files)
    with pytest.raises(MeshError) as error:
        load(path)
    return str(error.value).removeprefix(f"{path}: ").replace(f"{folder}/", "")


def test_an_included_service_has_routes_and_a_cluster_by_its_descriptors(tmp_path: Path) -> None:
    """Its package is not installed. Paths are relative to the file that they are in."""
    mesh = joined(tmp_path)
    shipping = mesh.services["shipping"]
    assert shipping.descriptor_set == tmp_path / "acme/shipping.binpb"
    assert [one.target for one in shipping.replica_listeners] == ["10.0.0.7:443", "parcels.acme:443"]
    rendered = documents(mesh)
    [cluster] = [one for one in rendered["cds.yaml"]["resources"] if one["name"] == "shipping"]
    assert cluster["type"] == "STRICT_DNS"
    assert cluster["health_checks"][0]["grpc_health_check"] == {"service_name": NAME}
    assert cluster["circuit_breakers"]["thresholds"][0]["max_requests"] == 2 * (8 + 64) + 1024
    [host] = rendered["rds-mesh.yaml"]["resources"][0]["virtual_hosts"]
    routes = {one["match"].get("path"): one for one in host["routes"]}
    ship = routes[f"/{NAME}/Ship"]["route"]
    assert ship["cluster"] == "shipping"
    assert ship["max_stream_duration"]["grpc_timeout_header_max"] == "5s"
    assert ship["retry_policy"]["num_retries"] == 3
    assert contract_files(mesh) == {f"{NAME}.binpb": contract()}
    assert b"acme" not in render(mesh)["descriptors.binpb"]


def test_overrides_of_an_included_service_are_those_of_any(tmp_path: Path) -> None:
    mesh = joined(tmp_path, {"policy": {"maxConcurrency": 2}, "methods": {"Ship": {"timeout": "2s"}}})
    shipping = mesh.services["shipping"]
    assert shipping.service_policy.max_concurrency == 2
    assert {method.name: policy.timeout for method, policy in shipping.method_policies.items()}["Ship"] == 2


def test_a_folder_is_included_file_by_file(tmp_path: Path) -> None:
    """Files in it may include others, and override their own services in environments."""
    crm = {"service": "graphmesh.crm.v1.CrmService", "module": "graphmesh_crm", "port": 200}
    overrides = {"test": {"services": {"shipping": {"addresses": ["10.0.0.8:443"]}}}}
    path = write(
        tmp_path,
        {
            **base("teams"),
            "teams/a.yaml": {"services": {"shipping": SHIPPING}, "environments": overrides},
            "teams/b.yml": {"include": ["more/crm.yaml"]},
            "teams/more/crm.yaml": {"services": {"crm": crm}},
            "teams/notes.txt": "not a mesh file",
        },
    )
    read: list[Path] = []
    mesh = load(path, "test", read)
    assert list(mesh.services) == ["shipping", "crm", "billing"]
    assert [one.target for one in mesh.services["shipping"].replica_listeners] == ["10.0.0.8:443"]
    assert environments(path) == ("test",)
    names = {str(one.relative_to(tmp_path)) for one in read}
    assert names == {"mesh.yaml", "teams", "teams/a.yaml", "teams/shipping.binpb", "teams/b.yml", "teams/more/crm.yaml"}


def included(content: Any) -> Files:
    return {**base("a.yaml"), "a.yaml": content}


def service(**changes: Any) -> Files:
    return included({"services": {"shipping": {**SHIPPING, **changes}}})


OWN = {"external": False, "addresses": [], "port": 9}


@pytest.mark.parametrize(
    ("files", "rule"),
    [
        (base("none.yaml"), "include: none.yaml does not exist"),
        ({**base(), "mesh.yaml": {**BASE, "include": "a.yaml"}}, "include: is not a list of files and folders"),
        ({**base("a.yaml", "a.yaml"), "a.yaml": {}}, "include: a.yaml is included twice"),
        (
            {**base("a.yaml"), "a.yaml": {"include": ["b.yaml"]}, "b.yaml": {"include": ["a.yaml"]}},
            "include: a.yaml includes b.yaml includes a.yaml",
        ),
        (
            {**base("x/a.yaml"), "x/a.yaml": {"include": ["../x/../mesh.yaml"]}},
            "include: mesh.yaml includes x/a.yaml includes mesh.yaml",
        ),
        (included({"services": {"billing": BILLING}}), "services.billing: is in a.yaml too"),
        ({**base("a.yaml", "b.yaml"), "a.yaml": {"services": {"x": SHIPPING}}, "b.yaml": {"services": {"x": SHIPPING}}},
         "b.yaml: services.x: is in a.yaml too"),
        (included({"edge": {"port": 5}}), "a.yaml: edge: an included file has only include, services, environments"),
        (included("services: {a: 1}\nservices: {b: 2}\n"), "a.yaml: line 1, column 1: is no YAML: the key services"),
        (included("a: &a {b: 1}\nc: {<<: *a}\n"), "a.yaml: line 2, column 4: is no YAML: merge keys are not supported"),
        (included("services: ["), "is no YAML"),
        (included("- a list"), "a.yaml: is not a mapping"),
        (included({"services": []}), "a.yaml: services: is not a mapping"),
        (included({"environments": "test"}), "a.yaml: environments: is not a mapping"),
        (included(f"a: &a [{'1, ' * 1_000}]\nb: [{'*a, ' * 100}]\n"), "has more than 100,000 values"),
        (included("services: &a {x: *a}"), "has more than 100,000 values"),
        (included("# " + "x" * 2_000_000), "a.yaml: has 2,000,002 bytes, and may have 1,048,576"),
        (
            included({"environments": {"test": {"services": {"billing": {"port": 7}}}}}),
            "a.yaml: environments.test.services.billing: is no service of this file",
        ),
        (
            included({"environments": {"test": {"edge": {"port": 7}}}}),
            "a.yaml: environments.test.edge: an included file has only services",
        ),
        (service(prot=1), "a.yaml: line 8: services.shipping.prot: Extra inputs are not permitted"),
        (service(descriptor_set=None), "a.yaml: line 2: services.shipping: no installed package has"),
        (service(descriptor_set="none.binpb"), "services.shipping: descriptor_set: none.binpb does not exist"),
        (service(descriptor_set="a.yaml"), "services.shipping: descriptor_set: a.yaml is not a descriptor set"),
        (service(service="acme.shipping.v1.Ships"), f"has no service acme.shipping.v1.Ships; it has {NAME}"),
        (service(addresses=[]), "services.shipping: port or addresses: is required"),
        (service(addresses=["parcels.acme"]), "services.shipping.addresses.0: is not host:port"),
        (service(port=5), "services.shipping: addresses: they replace address, port, ports and replicas"),
        (service(module="acme_shipping"), "services.shipping: module: others start an external service"),
        (service(env={"A": "b"}), "services.shipping: env: others start an external service"),
        (service(**OWN), "services.shipping: it needs either a module or a command"),
        (service(**OWN, module="a", command=["b"]), "services.shipping: it needs either a module or a command"),
        (service(**OWN, command=["b"], python="c"), "services.shipping: python: it is the interpreter of a module"),
        (service(external=False, module="a"), "services.shipping: addresses: only of an external service"),
        (service(methods={"Steal": {}}), f"services.shipping: {NAME} has no method Steal"),
        (service(tls={}), "services.shipping: tls.server_name: is required, since the addresses have 2 hosts"),
        (service(tls={"ca": "none.pem"}), "services.shipping.tls: ca: none.pem: No such file or directory"),
        (service(tls={"ca": "a.yaml"}), "services.shipping.tls: ca: a.yaml has no certificates in PEM"),
        (service(tls={"key": "a.yaml"}), "services.shipping.tls: certificate and key: the one needs the other"),
        (service(tls={"sni": "a"}), "services.shipping.tls.sni: Extra inputs are not permitted"),
        (service(tls=True), "services.shipping.tls: Input should be"),
        (
            service(tls={"certificate": "shipping.binpb", "key": "shipping.binpb"}),
            "services.shipping.tls: certificate: shipping.binpb is no certificate in PEM, or shipping.binpb is not its",
        ),
        (service(**OWN, module="a", tls={}), "services.shipping: tls: only of an external service"),
        (service(**OWN, module="a", health_check=False), "services.shipping: health_check: only of an external"),
        (included({"services": {"envoy": SHIPPING}}), "a.yaml: line 2: services.envoy: the name is reserved"),
        (
            included({"services": {"a": SHIPPING, "b": {**SHIPPING, "addresses": ["10.0.0.9:1"]}}}),
            f"a.yaml: line 9: services.b: {NAME} belongs to services.a",
        ),
        (
            included({"services": {"cash": {**BILLING, "port": 7}}}),
            "services.billing: graphmesh.billing.v1.BillingService belongs to services.cash",
        ),
        (
            service(service="graphmesh.crm.v1.CrmService"),
            "services.shipping: descriptor_set: the contract of graphmesh.crm.v1.CrmService is installed",
        ),
        (
            {"mesh.yaml": {**BASE, "edge": {"port": 1, "services": ["shipping"]}, "services": {"shipping": SHIPPING}}},
            "edge.services: shipping has a descriptor_set",
        ),
    ],
)  # fmt: skip
def test_a_refusal_names_the_file_the_key_and_the_rule(tmp_path: Path, files: Files, rule: str) -> None:
    assert rule in refusal(tmp_path, files)


def test_files_of_tls_are_relative_to_their_file_and_watched(tmp_path: Path) -> None:
    authority, read = trustme.CA(), list[Path]()
    (tmp_path / "acme").mkdir()
    authority.cert_pem.write_to_path(tmp_path / "acme/ca.pem")
    mesh = joined(tmp_path, {"tls": {"ca": "ca.pem", "server_name": "parcels.acme"}})
    load(tmp_path / "mesh.yaml", read=read)
    assert tmp_path / "acme/ca.pem" in read
    tls = mesh.services["shipping"].tls
    assert tls is not None
    assert tls.trusted == tmp_path / "acme/ca.pem"
    assert mesh.on_loopback(iter(range(1000, 2000)).__next__).services["shipping"].tls == tls


def test_tools_of_two_teams_have_different_names(tmp_path: Path) -> None:
    """Approvals and tools are named by the part before the version: `shipping` of `acme.shipping.v1`."""
    other = {**SHIPPING, "service": NAME.replace("acme", "acne"), "descriptor_set": "acne.binpb"}
    (tmp_path / "acne.binpb").write_bytes(contract().replace(b"acme", b"acne"))
    files = base(parcels=SHIPPING, shipping={**other, "addresses": ["10.0.0.9:1"]})
    rule = "services.shipping: its tools are called shipping.*, as those of services.parcels"
    assert refusal(tmp_path, files).endswith(rule)


def test_an_external_service_keeps_its_address_on_loopback(tmp_path: Path) -> None:
    mesh = joined(tmp_path)
    ports = iter(range(1000, 2000))
    assert mesh.on_loopback(lambda: next(ports)).services["shipping"] == mesh.services["shipping"]


def test_a_contract_in_use_is_compared_with_its_edit(tmp_path: Path) -> None:
    before = joined(tmp_path)
    (tmp_path / "acme/shipping.binpb").write_bytes(contract().replace(b"\x0a\x04city", b"\x0a\x04town"))
    after = load(tmp_path / "mesh.yaml")
    assert broken_contracts(before, before) == []
    assert broken_contracts(before, after) == [
        "acme.shipping.v1.Address.city is renamed to town",
        "acme.shipping.v1.TrackResponse.city is renamed to town",
    ]
