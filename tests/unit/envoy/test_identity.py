"""The section `identity` of mesh.yaml: what is accepted, and what is refused by the name of its key."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from graphmesh_mesh.envoy.render import documents
from graphmesh_mesh.errors import MeshError
from graphmesh_mesh.revoked import Revoked
from graphmesh_mesh.topology import Mesh, load

EC: dict[str, Any] = {
    "kty": "EC",
    "crv": "P-256",
    "kid": "one",
    "x": "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY",
    "y": "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU",
}
ED: dict[str, Any] = {"kty": "OKP", "crv": "Ed25519", "x": EC["x"]}
RSA: dict[str, Any] = {"kty": "RSA", "n": f"_{'A' * 341}", "e": "AQAB"}
ISSUER: dict[str, Any] = {"issuer": "https://id.example.com", "audiences": ["graphmesh"], "jwks_file": "keys.json"}
IDENTITY: dict[str, Any] = {"issuers": [ISSUER]}
ROLES = {"roles": {"reader": {"scopes": ["billing.read"]}, "admin": {"scopes": ["*"]}}}


def mesh_of(folder: Path, identity: Any = None, key: Any = None, mode: str = "tokens", **issuer: Any) -> Mesh:
    """Load a mesh.yaml with a section `identity`, and a file with one key beside it."""
    section = identity or {**IDENTITY, "issuers": [{**ISSUER, **issuer}]}
    (folder / "keys.json").write_text(json.dumps({"keys": [key or EC]}))
    service = {"service": "graphmesh.billing.v1.BillingService", "module": "graphmesh_billing", "port": 100}
    edge = {"port": 1, "services": ["billing"], "identity": mode}
    (folder / "roles.yaml").write_text(yaml.safe_dump(ROLES))
    content = {"edge": edge, "mesh": {"port": 2}, "admin": {"port": 3}, "services": {"billing": service}}
    content["roles"] = "roles.yaml"
    (folder / "mesh.yaml").write_text(yaml.safe_dump({**content, "identity": section}))
    return load(folder / "mesh.yaml")


def test_keys_have_one_algorithm_each(tmp_path: Path) -> None:
    """The file is relative to mesh.yaml, and is one of those that are watched."""
    read: list[Path] = []
    mesh_of(tmp_path)
    mesh = load(tmp_path / "mesh.yaml", read=read)
    assert mesh.identity
    (key,) = json.loads(mesh.identity.issuers[0].jwks)["keys"]
    assert (key["alg"], key["use"], key["kid"]) == ("ES256", "sig", "one")
    assert tmp_path / "keys.json" in read


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"mode": "open"}, "identity: edge.identity must be tokens"),
        ({"identity": {**IDENTITY, "advice": "a discount of 5%"}}, "identity.advice: String should match pattern"),
        ({"key": {**EC, "d": "eA"}}, "is a private key"),
        ({"key": {"kty": "oct", "k": "c2VjcmV0"}}, "must be of RSA, EC with P-256, or OKP with Ed25519"),
        ({"key": {**EC, "crv": "P-384"}}, "must be of RSA, EC with P-256, or OKP with Ed25519"),
        ({"key": {**EC, "alg": "HS256"}}, "its algorithm must be ES256"),
        ({"key": {**EC, "use": "enc"}}, "is not for signatures"),
        ({"key": {"kty": "EC", "crv": "P-256"}}, "lacks x, y"),
        ({"key": {**EC, "kid": 7}}, "its kid is no text"),
        ({"key": {**EC, "x": EC["y"]}}, "keys[0]: x, y: are no point of P-256"),
        ({"key": {**EC, "x": f"{EC['x']}="}}, "keys[0]: x: is not Base64 for URLs"),
        ({"key": {**EC, "x": "eA"}}, "keys[0]: x, y: must be of 32 bytes"),
        ({"key": {**ED, "x": "+/"}}, "keys[0]: x: is not Base64 for URLs"),
        ({"key": {**ED, "x": "eA"}}, "keys[0]: x: must be of 32 bytes"),
        ({"key": {**RSA, "n": f"_{'A' * 170}w"}}, "keys[0]: n: has 1032 bits, and needs 2048"),
        ({"key": {**RSA, "e": "Ag"}}, "keys[0]: e: is no exponent of RSA"),
        ({"jwks_file": "none.json"}, "No such file"),
        ({"audiences": []}, "identity.issuers.0.audiences"),
        ({"jwks_url": "https://id.example.com/keys"}, "it needs either jwks_file or jwks_url"),
        ({"jwks_file": None, "jwks_url": "http://id.example.com/keys"}, "jwks_url: must be an HTTPS URL"),
        ({"jwks_file": None, "jwks_url": "https://192.0.2.1/keys"}, "jwks_url: must name its host"),
        ({"ca": "keys.json"}, "ca: only with jwks_url"),
        ({"claims": {"tenants": "org"}}, "identity.issuers.0.claims.tenants"),
        ({"identity": {**IDENTITY, "roles": {"reader": ["billing.read"]}}}, "identity.roles: Extra inputs"),
        ({"identity": {**IDENTITY, "issuers": [ISSUER, ISSUER]}}, "https://id.example.com is there twice"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_breaks_a_rule_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], rule: str) -> None:
    with pytest.raises(MeshError) as refused:
        mesh_of(tmp_path, **changes)
    assert rule in str(refused.value)


def test_the_file_of_revoked_tokens_is_watched(tmp_path: Path) -> None:
    """Its path is relative to mesh.yaml."""
    (tmp_path / "revoked.yaml").write_text("tokens: [one]\nsubjects: {acme/mira: 2026-11-30T12:00:00+01:00}\n")
    mesh, read = mesh_of(tmp_path, {**IDENTITY, "revoked": "revoked.yaml"}), list[Path]()
    load(tmp_path / "mesh.yaml", read=read)
    assert tmp_path / "revoked.yaml" in read
    assert mesh.identity
    table = mesh.identity.revoked.table()
    assert table == {"tokens": {"one": True}, "subjects": {"acme/mira": 1_796_036_400}, "tenants": {}}


def test_entries_of_revoked_tokens_are_bounded() -> None:
    """Also those of mesh.yaml and of the development issuer together."""
    with pytest.raises(ValueError, match="has 10,001 entries, and may have 10,000"):
        Revoked(tokens=tuple(str(number) for number in range(10_001)))
    full = Revoked(tokens=tuple(str(number) for number in range(10_000)))
    with pytest.raises(MeshError, match=r"revoked\.yaml has 10,001 entries, and may have 10,000"):
        full.joined(Revoked(tokens=("further",)))


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("tokens: one", "line 1: tokens: Input should be a valid tuple"),
        ("tokens:\n- one\n- two words", "line 3: tokens.1: String should match"),
        ("subjects: {mira: 2026-11-30T12:00:00Z}", "subjects.mira"),
        ("tenants: {acme: 2026-11-30T12:00:00}", "tenants.acme: Input should have timezone info"),
        ("subject: {}", "subject: Extra inputs are not permitted"),
        ("tokens: [", "is no YAML"),
        (None, "No such file"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_broken_file_of_revoked_tokens_is_refused(tmp_path: Path, content: str | None, rule: str) -> None:
    file = tmp_path / "revoked.yaml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(MeshError) as refused:
        mesh_of(tmp_path, {**IDENTITY, "revoked": "revoked.yaml"})
    assert (f"identity.revoked: {file}" in str(refused.value), rule in str(refused.value)) == (True, True)


@pytest.mark.parametrize("key", [EC, ED, RSA], ids=lambda key: key["kty"])
def test_each_kind_of_key_is_accepted(tmp_path: Path, key: dict[str, Any]) -> None:
    mesh = mesh_of(tmp_path, key=key)
    assert mesh.identity
    (found,) = json.loads(mesh.identity.issuers[0].jwks)["keys"]
    assert found == {**key, "alg": found["alg"], "use": "sig"}


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", "is not JSON"),
        (b'{"keys":' * 100_000, "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"null", "has no list of 1 to 100 keys"),
        (b'{"keys": {}}', "has no list of 1 to 100 keys"),
        (json.dumps({"keys": [EC] * 101}).encode(), "has no list of 1 to 100 keys"),
        (b" " * 1_048_577, "has 1,048,577 bytes, and may have 1,048,576"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_file_without_keys_is_refused(tmp_path: Path, content: bytes, rule: str) -> None:
    mesh_of(tmp_path)
    (tmp_path / "keys.json").write_bytes(content)
    with pytest.raises(MeshError, match=rule):
        load(tmp_path / "mesh.yaml")


def test_keys_of_a_url_come_over_verified_tls(tmp_path: Path) -> None:
    """From a cluster of their own, whose server must have the name of the URL."""
    mesh = mesh_of(tmp_path, jwks_file=None, jwks_url="https://id.example.com/keys")
    (cluster,) = (one for one in documents(mesh)["cds.yaml"]["resources"] if one["name"] == "issuer-0")
    context = cluster["transport_socket"]["typed_config"]
    trusted = context["common_tls_context"]["validation_context"]["match_typed_subject_alt_names"]
    assert (context["sni"], trusted) == (
        "id.example.com",
        [{"san_type": "DNS", "matcher": {"exact": "id.example.com"}}],
    )
