"""`graphmesh token`, and the tokens that commands make for themselves."""

import asyncio
import json
from pathlib import Path

import jwt
import pytest
from graphmesh_chassis.errors import NotFound, Unreachable
from graphmesh_cli.app import app
from graphmesh_cli.commands.connection import MeshTarget, development_token
from graphmesh_client.token import Token
from graphmesh_local.development_issuer import open_issuer, with_development_issuer
from graphmesh_local.running_mesh import are_roles_of_graphs
from graphmesh_local.state_folder import MeshState, StateFolder
from graphmesh_mesh.sample import MESH_FILE, default_mesh_file
from graphmesh_mesh.topology import load
from typer.testing import CliRunner


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["token", *map(str, arguments)])
    return done.exit_code, done.output


def claims(token: str) -> dict[str, object]:
    found: dict[str, object] = jwt.decode(token, options={"verify_signature": False})
    return found


def test_prints_a_token_of_what_it_is_given(tmp_path: Path) -> None:
    open_issuer(StateFolder(tmp_path))
    options = ("--tenant", "acme", "--subject", "mira", "--role", "a", "--role", "b", "--ttl", "10m")
    code, output = run("--state", tmp_path, *options)
    found = claims(output.strip())
    assert (code, found["tenant"], found["sub"], found["roles"]) == (0, "acme", "mira", ["a", "b"])
    assert int(str(found["exp"])) - int(str(found["iat"])) == 600


@pytest.mark.parametrize(
    ("options", "code", "rule"),
    [
        ((), 1, "graphmesh up makes one"),
        (("--tenant", "ACME"), 2, "--tenant"),
        (("--ttl", "0s"), 2, "--ttl"),
        (("--ttl", "-1s"), 2, "--ttl"),
        (("--ttl", "31d"), 2, "30 days at most"),
        (("--tenant", ""), 2, "--tenant"),
        (("--subject", "mira o"), 2, "--subject"),
        (("--subject", "\u00e4"), 2, "--subject"),
        (("--ttl", "soon"), 2, "must be a number followed by"),
    ],
)
def test_refuses_what_it_cannot_issue(tmp_path: Path, options: tuple[str, ...], code: int, rule: str) -> None:
    found, output = run("--state", tmp_path, *options)
    assert found == code
    assert rule in " ".join(output.split())


def test_revokes_tokens_by_themselves_and_by_their_ids(tmp_path: Path) -> None:
    """A mesh of the folder then refuses them, beside those of mesh.yaml; a file that is broken is not replaced."""
    folder, given = StateFolder(tmp_path), load(default_mesh_file())
    assert (run("--state", tmp_path, "--revoke", "one")[0], folder.revoked.exists()) == (1, False)
    open_issuer(folder)
    made = json.loads(run("--state", tmp_path, "--json")[1])
    assert made["jti"] == claims(made["token"])["jti"]
    assert run("--state", tmp_path, "--revoke", made["token"]) == (0, f"revoked: {made['jti']}\n")
    assert run("--state", tmp_path, "--revoke", "one")[0] == 0
    own = with_development_issuer(given, folder).identity
    assert own
    assert own.revoked.tokens == tuple(sorted([made["jti"], "one"]))
    for mistake in ("two words", "a.b.c"):
        assert run("--state", tmp_path, "--revoke", mistake)[0] == 2
    folder.revoked.write_text("tokens: [")
    assert run("--state", tmp_path, "--revoke", "two")[0] == 1
    assert folder.revoked.read_text() == "tokens: ["


@pytest.mark.parametrize("name", ["", "mira o", KeyError("uid not found"), OSError("no username")])
def test_a_user_without_a_name_is_local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str | Exception) -> None:
    """As in containers that run as any user id."""

    def getuser() -> str:
        if isinstance(name, Exception):
            raise name
        return name

    monkeypatch.setattr("getpass.getuser", getuser)
    open_issuer(StateFolder(tmp_path))
    code, output = run("--state", tmp_path)
    assert (code, claims(output.strip())["sub"]) == (0, "local")


def test_commands_make_tokens_of_their_tenant(tmp_path: Path) -> None:
    """From the state folder; without an issuer there is none."""
    assert development_token(tmp_path, "acme") == ""
    open_issuer(StateFolder(tmp_path))
    ((_, sent),) = asyncio.run(Token(development_token(tmp_path, "acme"), "127.0.0.1:1", "acme").headers())
    assert claims(sent.removeprefix("Bearer "))["tenant"] == "acme"


def test_commands_send_no_token_to_another_mesh(tmp_path: Path) -> None:
    """With --address they find their token for the edge that runs from the state folder only."""
    folder = StateFolder(tmp_path)
    with folder.locked():
        open_issuer(folder)
        listeners = {"edge": "127.0.0.1:18080", "mesh": "", "admin": ""}
        rest = {"certificates": tmp_path, "services": {}, "processes": {}}
        folder.write(MeshState.model_validate({"pid": 1, "environment": "", **listeners, **rest}))
        for address in ("http://127.0.0.1:18080", "localhost:18080"):
            assert development_token(tmp_path, "acme", address)
        assert development_token(tmp_path, "acme", "http://127.0.0.1:18081") == ""
    assert development_token(tmp_path, "acme", "http://127.0.0.1:18080") == ""


def test_graphs_of_others_have_no_roles_of_the_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file names graphs that they do not have: the developer is the admin of all."""
    monkeypatch.chdir(tmp_path)
    assert not are_roles_of_graphs(None, None)
    MESH_FILE.parent.mkdir()
    MESH_FILE.touch()
    assert are_roles_of_graphs(None, None)
    assert not are_roles_of_graphs(None, "other/langgraph.json")
    assert are_roles_of_graphs(MESH_FILE, "other/langgraph.json")


def test_a_command_that_gets_no_connection_names_what_it_lacks() -> None:
    """With --address it does not find the certificate of a mesh by itself."""
    plain, certified = MeshTarget("127.0.0.1:1"), MeshTarget("127.0.0.1:1", certificate=Path("commands.pem"))
    assert "set GRAPHMESH_CERTIFICATE and GRAPHMESH_AUTHORITIES" in plain.failure(Unreachable()).advice
    assert certified.failure(Unreachable()).advice.startswith("is the mesh up?")
    assert "GRAPHMESH_CERTIFICATE" not in certified.failure(Unreachable()).advice
    assert not plain.failure(NotFound()).advice
