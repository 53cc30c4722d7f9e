"""The command `graphmesh`: its list of commands, their imports, and plug-ins."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from graphmesh_cli.app import app, commands, load
from typer.testing import CliRunner


def test_help_lists_every_command() -> None:
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    assert all(name in shown for name in commands())


@pytest.mark.parametrize("name", commands())
def test_every_command_can_be_loaded(name: str) -> None:
    """Each target exists and has a help text."""
    assert load(name).help


def test_help_imports_no_command() -> None:
    """So that `graphmesh --help` answers at once."""
    code = (
        "import sys\n"
        "from graphmesh_cli.app import app\n"
        "app(['--help'], standalone_mode=False)\n"
        "print([name for name in sys.modules if name in {'grpc', 'yaml', 'google.protobuf', 'sqlalchemy'}])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "[]"


def test_a_terminal_without_utf_8_gets_escapes(tmp_path: Path) -> None:
    """And JSON that is still JSON."""
    log = tmp_path / "logs/billing.log"
    log.parent.mkdir()
    log.write_text('{"event": "caf\u00e9 \u2713 \U0001f600", "level": "info"}\n')
    command = [sys.executable, "-m", "graphmesh_cli", "logs", "--state", str(tmp_path)]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "200"}
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert r"caf\xe9 \u2713 \U0001f600" in shown
    written = subprocess.run([*command, "--json"], env=environment, capture_output=True, text=True, check=True).stdout
    assert json.loads(written)["entry"]["event"] == "caf\u00e9 \u2713 \U0001f600"


def test_an_unknown_command_is_refused() -> None:
    result = CliRunner().invoke(app, ["nonsense"])
    assert result.exit_code == 2
    assert "No such command" in result.output


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    """A folder with an installed distribution of three commands: a sound one, a broken one, and one named `run`."""
    installed = tmp_path / "greetings-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: greetings\nVersion: 1.0\nSummary: Greet people.\n"
    )
    (installed / "entry_points.txt").write_text(
        "[graphmesh.commands]\ngreet = greetings:greet\nbroken = greetings.missing:command\nrun = greetings:greet\n"
    )
    (tmp_path / "greetings.py").write_text('def greet() -> None:\n    """Greet."""\n    print("hello")\n')
    return tmp_path


def graphmesh(plugins: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `graphmesh` in a process that has the plug-ins on its path."""
    path = os.pathsep.join(filter(None, [str(plugins), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "200"}
    command = [sys.executable, "-m", "graphmesh_cli", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_an_installed_plug_in_adds_its_command(plugins: Path) -> None:
    """Listed with the summary of its distribution."""
    shown = graphmesh(plugins, "--help").stdout
    assert [line.split() for line in shown.splitlines() if " greet " in line] == [["greet", "Greet", "people."]]
    assert graphmesh(plugins, "greet").stdout == "hello\n"


def test_a_broken_plug_in_is_named(plugins: Path) -> None:
    """It breaks neither the help nor other commands."""
    assert graphmesh(plugins, "--help").returncode == 0
    broken = graphmesh(plugins, "broken")
    assert broken.returncode == 1
    assert "the command broken cannot be loaded from greetings.missing:command" in broken.stderr
    assert "Traceback" not in broken.stderr


def test_a_plug_in_cannot_replace_a_command(plugins: Path) -> None:
    assert "hello" not in graphmesh(plugins, "run", "--help").stdout
