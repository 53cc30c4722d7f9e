"""The development issuer: its files, its tokens, and the mesh that accepts them."""

import asyncio
import json
from pathlib import Path

import jwt
import pytest
from graphmesh_local import development_issuer
from graphmesh_local.development_issuer import (
    AUDIENCE,
    ISSUER,
    NoIssuer,
    developer_token,
    issue_token,
    open_issuer,
    user_name,
    with_development_issuer,
)
from graphmesh_local.state_folder import Credentials, StateFolder
from graphmesh_mesh.errors import MeshError
from graphmesh_mesh.identity import Identity
from graphmesh_mesh.sample import MESH_FILE
from graphmesh_mesh.topology import Mesh, load


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    return StateFolder(tmp_path)


def test_only_its_user_reads_the_key_and_it_stays_the_same(folder: StateFolder) -> None:
    """Tokens stay valid when the mesh is started again."""
    open_issuer(folder)
    before = folder.issuer_key.read_bytes()
    open_issuer(folder)
    assert folder.issuer_key.read_bytes() == before
    assert {path.stat().st_mode & 0o777 for path in (folder.issuer_key, folder.issuer_jwks)} == {0o600}
    assert "d" not in json.loads(folder.issuer_jwks.read_text())["keys"][0]


def test_a_mesh_with_it_accepts_its_tokens(folder: StateFolder) -> None:
    """The key in the mesh verifies them. A mesh without roles has one, which may do everything."""
    given = load(MESH_FILE)
    mesh = with_development_issuer(given, folder)
    assert mesh.identity
    token = issue_token(folder, "acme", "mira", ["admin"], 60)
    key = jwt.PyJWKSet.from_json(mesh.identity.issuers[0].jwks).keys[0]
    claims = jwt.decode(token, key, ["ES256"], audience=AUDIENCE, issuer=mesh.identity.issuers[0].issuer)
    assert (claims["tenant"], claims["sub"], claims["roles"]) == ("acme", "mira", ["admin"])
    assert claims["exp"] - claims["iat"] == 60
    assert (mesh.edge.identity, mesh.roles) == ("tokens", given.roles)
    alone = with_development_issuer(given.model_copy(update={"roles": None}), folder)
    assert alone.roles
    assert given.roles
    assert dict(alone.roles.roles) == {"admin": given.roles.roles["admin"]}


def test_a_mesh_keeps_its_own_issuers_and_advice(folder: StateFolder) -> None:
    """The development issuer is added to them; the name of that one is reserved."""
    own = {"issuer": "https://id.example.com", "audiences": ["graphmesh"], "jwks_file": open_issuer(folder)}

    def with_issuer(**changes: str) -> Mesh:
        given = load(MESH_FILE)
        section = Identity.model_validate({"issuers": [{**own, **changes}], "advice": "ask the platform"})
        return with_development_issuer(given.model_copy(update={"identity": section}), folder)

    found = with_issuer().identity
    assert found
    assert [one.issuer for one in found.issuers] == [ISSUER, "https://id.example.com"]
    assert found.advice == "ask the platform"
    with pytest.raises(MeshError, match=r"^identity\.issuers: graphmesh-development is the name"):
        with_issuer(issuer=ISSUER)


def test_a_folder_without_an_issuer_makes_no_token(folder: StateFolder) -> None:
    with pytest.raises(NoIssuer, match="graphmesh up makes one"):
        issue_token(folder, "acme", "mira", [], 60)


@pytest.mark.parametrize(
    ("roles", "expected"),
    [(None, ["admin"]), (["agent", "admin"], ["admin"]), (["lead", "agent"], ["agent", "lead"])],
)
def test_a_developer_has_the_role_admin_or_all_of_the_file(
    folder: StateFolder, roles: list[str] | None, expected: list[str]
) -> None:
    open_issuer(folder)
    if roles:
        folder.roles.write_text(json.dumps({role: {} for role in roles}))
    claims = jwt.decode(developer_token(folder, "acme"), options={"verify_signature": False})
    assert (claims["roles"], claims["tenant"], claims["sub"]) == (expected, "acme", user_name())


async def test_stored_credentials_are_renewed_after_a_failure_too(
    folder: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the disk, which keeps the present ones."""
    monkeypatch.setattr(development_issuer, "RENEW_SECONDS", 0.01)
    open_issuer(folder)
    write, attempts = folder.write_credentials, 0

    def write_seldom(credentials: Credentials) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 2:
            raise OSError("no space left")
        write(credentials)

    monkeypatch.setattr(folder, "write_credentials", write_seldom)
    async with development_issuer.credentials(folder, "127.0.0.1:8080"), asyncio.timeout(60):
        first = folder.credentials.read_bytes()
        while folder.credentials.read_bytes() == first:
            await asyncio.sleep(0.01)
    assert attempts >= 3
    assert json.loads(first)["edge"] == "127.0.0.1:8080"
