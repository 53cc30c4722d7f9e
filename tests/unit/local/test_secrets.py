"""Secrets of servers, found in all settings classes, are in no text, argument or file, and in no other process."""

import importlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from graphmesh_chassis.settings import BadSetting, ServerSettings, check_arguments, is_secret
from graphmesh_contracts.workloads import PROBER
from graphmesh_local.call_keys import open_call_keys
from graphmesh_local.certificates import issue_certificates, open_authority, secured
from graphmesh_local.development_issuer import with_development_issuer
from graphmesh_local.server_programs import mesh_programs
from graphmesh_local.state_folder import StateFolder
from graphmesh_mesh.envoy.render import render
from graphmesh_mesh.sample import MESH_FILE
from graphmesh_mesh.topology import load
from pydantic import ValidationError
from pydantic.fields import FieldInfo

MARKER = "0123456789abcdefMARKER"
SUSPICIOUS = ("url", "key", "keys", "secret", "password", "token", "credentials")
PUBLIC = {"otlp_endpoint"}


def settings_types() -> Iterator[tuple[str, type[ServerSettings]]]:
    for name, service in load(MESH_FILE).services.items():
        yield name, importlib.import_module(f"{service.module}.settings").Settings


def value_of(name: str, field: FieldInfo) -> str:
    """A valid value of a setting, with the marker in it."""
    if "Mapping" in str(field.annotation):
        return json.dumps({"openai": MARKER})
    if is_secret(field):
        return f"whsec_{MARKER}"
    scheme = "redis" if name.startswith("redis") else "postgresql+psycopg"
    return f"{scheme}://user:{MARKER}@127.0.0.1:1/0"


def is_secret_url(field: FieldInfo) -> bool:
    return "SecretUrl" in str(field.annotation)


SETTINGS = dict(settings_types())
SECRETS = [
    (server, name)
    for server, kind in SETTINGS.items()
    for name, field in kind.model_fields.items()
    if is_secret(field) or is_secret_url(field)
]


def variable(server: str, name: str) -> str:
    return f"{SETTINGS[server].model_config['env_prefix']}{name}".upper()


def value(server: str, name: str) -> str:
    return value_of(name, SETTINGS[server].model_fields[name])


def test_texts_that_may_hold_a_secret_are_declared_as_such() -> None:
    """A file with a secret is none: its path may be shown."""
    plain = {
        f"{server}.{name}"
        for server, kind in SETTINGS.items()
        for name, field in kind.model_fields.items()
        if name.endswith(SUSPICIOUS) and "Path" not in str(field.annotation) and not is_secret(field)
        if not is_secret_url(field)
    }
    assert not plain
    assert len(SECRETS) >= 9


@pytest.mark.parametrize(("server", "name"), SECRETS)
def test_settings_do_not_show_a_secret(server: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither as text, nor in the error of another setting, nor in that of their own."""
    kind = SETTINGS[server]
    monkeypatch.setenv(variable(server, name), value(server, name))
    assert MARKER not in f"{kind()!r} {kind()}"
    with pytest.raises(ValidationError) as error:
        kind(listen="nowhere")
    assert MARKER not in str(error.value)
    monkeypatch.setenv(variable(server, name), f"no-url:{MARKER}@x:y")
    refusal = ""
    try:
        kind()
    except ValueError as refused:
        refusal = str(refused)
    assert MARKER not in refusal


@pytest.mark.parametrize(("server", "name"), SECRETS)
def test_no_argument_sets_a_secret(server: str, name: str) -> None:
    """Every user of a machine sees the arguments of its processes."""
    option, given = f"--{name.replace('_', '-')}", value(server, name)
    for arguments in ([option, given], [f"{option}={given}"]):
        with pytest.raises(BadSetting, match=variable(server, "")) as error:
            check_arguments(SETTINGS[server], arguments)
        assert MARKER not in str(error.value)


def test_other_arguments_are_no_secrets() -> None:
    check_arguments(SETTINGS["orchestrator"], ["--listen=127.0.0.1:1", "--database-url", "sqlite+aiosqlite:///runs.db"])


def test_an_abbreviation_sets_no_secret() -> None:
    with pytest.raises(BadSetting, match="GRAPHMESH_ORCHESTRATOR_WEBHOOK_SECRET"):
        check_arguments(SETTINGS["orchestrator"], ["--webhook-sec", "x"])


def test_only_the_server_of_a_secret_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its environment, never in arguments, and in no file that Envoy gets."""
    planted = {f"{MARKER}_{number}_": one for number, one in enumerate(SECRETS)}
    for marker, (server, name) in planted.items():
        monkeypatch.setenv(variable(server, name), value(server, name).replace(MARKER, marker))
    open_call_keys(tmp_path)
    folder = StateFolder(tmp_path)
    mesh = secured(with_development_issuer(load(MESH_FILE), folder), folder.certificates)
    open_authority(folder.certificates)
    issue_certificates(folder.certificates, "graphmesh.local", [PROBER])
    programs = [one for group in mesh_programs(mesh, "", folder, {}, {}) for one in group]
    environments = {one.name: json.dumps(dict(one.spec.env or {})) for one in programs}
    for marker, (server, _) in planted.items():
        assert [name for name, text in environments.items() if marker in text] == [server]
    assert MARKER not in str([one.argv for one in programs])
    assert not [file for file, content in render(mesh).items() if MARKER.encode() in content]
