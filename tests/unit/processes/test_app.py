"""The commands of `graphmesh`."""

import subprocess
import sys

import pytest
from graphmesh_cli.app import app, commands, load
from typer.testing import CliRunner


def test_help_lists_every_command() -> None:
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    assert all(name in shown for name in commands())


@pytest.mark.parametrize("name", commands())
def test_every_command_can_be_loaded(name: str) -> None:
    """A line of the table names something that exists, and it explains itself."""
    assert load(name).help


def test_help_imports_no_command() -> None:
    """`graphmesh --help` answers at once: nothing heavy is imported for it."""
    code = (
        "import sys\n"
        "from graphmesh_cli.app import app\n"
        "app(['--help'], standalone_mode=False)\n"
        "print([name for name in sys.modules if name in {'grpc', 'yaml', 'google.protobuf', 'sqlalchemy'}])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "[]"


def test_unknown_command_is_refused() -> None:
    result = CliRunner().invoke(app, ["nonsense"])
    assert result.exit_code == 2
    assert "No such command" in result.output
