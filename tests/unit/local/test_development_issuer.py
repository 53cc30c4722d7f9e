"""The development issuer: its files, its tokens, and the mesh that accepts them."""

import asyncio
import json
from pathlib import Path

import jwt
import pytest
from graphmesh_local import development_issuer
from graphmesh_local.development_issuer import AUDIENCE, NoIssuer, issue_token, open_issuer, with_development_issuer
from graphmesh_local.state_folder import Credentials, StateFolder
from graphmesh_mesh.sample import MESH_FILE
from graphmesh_mesh.topology import load


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    return StateFolder(tmp_path)


def test_only_its_user_reads_the_key_and_it_stays_the_same(folder: StateFolder) -> None:
    """Tokens stay valid when the mesh is started again."""
    open_issuer(folder)
    before = folder.issuer_key.read_bytes()
    open_issuer(folder)
    assert folder.issuer_key.read_bytes() == before
    assert folder.issuer_key.stat().st_mode & 0o777 == 0o600
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


def test_a_folder_without_an_issuer_makes_no_token(folder: StateFolder) -> None:
    with pytest.raises(NoIssuer, match="graphmesh up --tokens makes one"):
        issue_token(folder, "acme", "mira", [], 60)


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
