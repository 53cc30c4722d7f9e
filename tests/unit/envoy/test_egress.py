"""The section `egress` of mesh.yaml: its rules, and what is rendered from it."""

import ipaddress
import random
from pathlib import Path
from typing import Any

import pytest
from graphmesh_mesh.egress import parse_host
from graphmesh_mesh.envoy.egress import REFUSED_NETWORKS
from graphmesh_mesh.envoy.render import documents
from graphmesh_mesh.errors import MeshError
from graphmesh_mesh.topology import Mesh, load, parse

MODEL = {"service": "graphmesh.model.v1.ModelService", "module": "model", "port": 20300}
OTHERS = {
    "orchestrator": {"service": "graphmesh.orchestrator.v1.RunService", "module": "runs", "port": 20050},
    "external": {"service": "graphmesh.crm.v1.CrmService", "external": True, "port": 20400},
}


def mesh(egress: Any, **more: Any) -> Mesh:
    listeners = {"edge": {"port": 1}, "mesh": {"port": 2}, "admin": {"port": 3}}
    return parse({**listeners, "egress": egress, "services": {**OTHERS, "model": MODEL}, **more})


def of_model(**fields: Any) -> Mesh:
    return mesh({"workloads": {"model": {"port": 4, **fields}}})


@pytest.mark.parametrize(
    ("text", "authority"),
    [
        ("api.example.com", "api.example.com:443"),
        ("API.Example.com:8443", "api.example.com:8443"),
        ("*.example.com", "*.example.com:443"),
        ("10.0.0.7:9000", "10.0.0.7:9000"),
        ("[fd00::7]", "[fd00::7]:443"),
        ("[fd00::7]:9000", "[fd00::7]:9000"),
        ("fd00::7", "[fd00::7]:443"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example:443"),
        ("vllm_1", "vllm_1:443"),
    ],
)
def test_forms_of_a_host(text: str, authority: str) -> None:
    assert parse_host(text).authority == authority


@pytest.mark.parametrize(
    "text",
    [
        *("", "*", "*:443", "*.", "a.*.example.com", "a*.example.com", "**.example.com", "*.10.0.0.7"),
        *("example.com.", ".example.com", "example..com", "-.example.com", "bücher.example", "exa mple.com"),
        *("https://example.com", "example.com/path", "user@example.com", "example.com:", "example.com:0"),
        *("example.com:65536", "example.com:0443", "example.com:https", "[example.com]:443", "[::1", "::1]:443"),
        *("2130706433", "0x7f000001", "0x7f.1", "127.1", "0177.0.0.1", "010.0.0.1", "fd00:0:0:0:0:0:0:7", "a" * 64),
    ],
)
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(MeshError, match=r"egress\.workloads\.model\.hosts\.0"):
        of_model(hosts=[text])


def test_rules_of_the_section() -> None:
    for egress, rule in (
        ({"workloads": {}}, "egress.workloads"),
        ({"workloads": {"modle": {"port": 4}}}, "egress.workloads.modle: the mesh starts no service with this name"),
        ({"workloads": {"external": {"port": 4}}}, "egress.workloads.external: the mesh starts no service"),
        ({"workloads": {"model": {}}}, "egress: workloads.model.port: is required"),
        ({"workloads": {"envoy": {"port": 4}}}, "egress: workloads.envoy.port: Envoy needs none"),
        ({"workloads": {"model": {"port": 2}}}, "addresses used twice: 127.0.0.1:2"),
        ({"workloads": {"model": {"port": 4, "host": ["a.example"]}}}, "egress.workloads.model.host: "),
        ({"workloads": {"model": {"port": 4}}, "resolvers": ["dns.example:53"]}, "resolvers: dns.example:53 is not"),
        ({"workloads": {"model": {"port": 4}}, "resolvers": ["10.0.0.1"]}, "resolvers: 10.0.0.1 is not"),
    ):
        with pytest.raises(MeshError) as error:
            mesh(egress)
        assert rule in str(error.value)
    for fields, rule in (
        ({"hosts": ["a.example", "A.example:443"]}, "hosts: a.example:443 is there twice"),
        ({"hosts": ["a.example"], "private": ["10.0.0.1/8"]}, "private.0: is no IP address or network"),
        ({"hosts": ["a.example"], "private": ["localhost"]}, "private.0: is no IP address or network"),
        ({"hosts": ["*.a.example", "10.0.0.1"], "private": ["10.0.0.0/8"]}, "private: only names of hosts without"),
    ):
        with pytest.raises(MeshError) as error:
            of_model(**fields)
        assert rule in str(error.value)


def test_an_error_has_its_line(tmp_path: Path) -> None:
    path = tmp_path / "mesh.yaml"
    path.write_text(
        "edge: {port: 1}\nmesh: {port: 2}\nadmin: {port: 3}\nservices: {}\negress:\n  workloads:\n"
        "    model:\n      port: 4\n      hosts:\n        - a.example\n        - b.example.\n"
    )
    with pytest.raises(MeshError, match=r"line 11: egress\.workloads\.model\.hosts\.1: b\.example\. is not host"):
        load(path)


def test_keys_of_issuers_are_read_from_hosts_of_the_list() -> None:
    def with_keys(url: str, **egress: Any) -> Mesh:
        issuer = {"issuer": "https://id.example", "audiences": ["graphmesh"], "jwks_url": url}
        edge = {"port": 1, "identity": "tokens"}
        workloads = {"model": {"port": 4}, **egress}
        return mesh(
            {"workloads": workloads}, edge=edge, identity={"issuers": [issuer]}, roles={"roles": {"reader": {}}}
        )

    for egress in ({}, {"envoy": {"hosts": ["id.example:8443"]}}):
        with pytest.raises(MeshError, match=r"egress\.workloads\.envoy\.hosts does not have id\.example:443"):
            with_keys("https://id.example/jwks", **egress)
    found = with_keys("https://ID.example/jwks", envoy={"hosts": ["*.other.example", "id.example"]})
    clusters = {one["name"]: one for one in documents(found)["cds.yaml"]["resources"]}
    assert "typed_extension_protocol_options" in clusters["issuer-0"]


def test_without_the_section_nothing_is_rendered() -> None:
    plain = parse({"edge": {"port": 1}, "mesh": {"port": 2}, "admin": {"port": 3}, "services": OTHERS})
    rendered = documents(plain)
    assert not plain.egress_listeners
    assert [one["name"] for one in rendered["lds.yaml"]["resources"]] == ["edge", "mesh"]
    assert not [name for name in rendered if "egress" in name]


def test_every_address_that_is_not_global_is_refused() -> None:
    """As Python's list of IANA's registries states it; ours has some more."""
    chance = random.Random(12)
    for version, bits in ((4, 32), (6, 128)):
        kind = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address
        edges = [network for network in REFUSED_NETWORKS if network.version == version]
        near = [int(end) + step for one in edges for end in (one[0], one[-1]) for step in (-1, 0, 1)]
        for number in (*(one for one in near if 0 <= one < 2**bits), *(chance.getrandbits(bits) for _ in range(2000))):
            address = kind(number)
            mapped = getattr(address, "ipv4_mapped", None)
            if not (mapped or address).is_global and not mapped:
                assert any(address in network for network in edges), address
