"""What holds for every command: its help fits a terminal, its defaults are accepted, and it can print JSON."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from graphmesh_cli.app import app, commands, load
from typer.testing import CliRunner

WITHOUT_JSON = {"bench", "chaos", "demo", "up"}
"""Programs that show something to a person, or write their report to a file."""


def every_command() -> Iterator[tuple[str, ...]]:
    """Yield the words of every command, and of the commands of groups."""
    for name in commands():
        subcommands = getattr(load(name), "commands", {})
        yield from ((name, sub) for sub in subcommands) if subcommands else [(name,)]


def command_of(words: tuple[str, ...]) -> Any:
    command = load(words[0])
    return command.commands[words[1]] if words[1:] else command


COMMANDS = list(every_command())


@pytest.mark.parametrize("words", sorted({(), *((name,) for name in commands()), *COMMANDS}), ids=" ".join)
def test_help_fits_the_width_and_is_not_shortened(words: tuple[str, ...]) -> None:
    command = command_of(words) if words else typer.main.get_command(app)
    for width in (60, 80):
        context = command.make_context("graphmesh", [], resilient_parsing=True, terminal_width=width)
        shown = context.get_help()
        assert [line for line in shown.splitlines() if len(line) > width] == []
        assert "..." not in shown.replace("]...", "").replace("process...", "")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_defaults_are_shown_in_the_form_that_is_accepted(words: tuple[str, ...]) -> None:
    command = command_of(words)
    for option in command.params:
        if isinstance(shown := option.show_default, str) and shown:
            context = command.make_context(words[-1], [option.opts[0], shown], resilient_parsing=True)
            assert context.params[option.name] == option.default, option.name


@pytest.mark.parametrize("words", [one for one in COMMANDS if one[0] not in WITHOUT_JSON], ids=" ".join)
def test_every_command_prints_json(words: tuple[str, ...]) -> None:
    assert any("--json" in option.opts for option in command_of(words).params)


def test_the_version_is_shown() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.output.split()[0]) == (0, "graphmesh")


@pytest.mark.parametrize(
    ("words", "exit_code", "reason"),
    [
        (["runs", "--state", "/nowhere"], 4, ""),
        (["runs", "--limit", "0"], 2, "USAGE"),
        (["render", "envoy", "--mesh", "/nowhere"], 2, ""),
        (["logs", "--state", "/nowhere"], 2, ""),
        (["audit", "--database", "nonsense"], 2, ""),
        (["run", "g", "[]", "--address", "127.0.0.1:1"], 2, "USAGE"),
    ],
    ids=str,
)
def test_errors_are_json_where_that_is_chosen(words: list[str], exit_code: int, reason: str) -> None:
    """One object on standard error, with the exit code; nothing on standard output."""
    result = CliRunner().invoke(app, [*words, "--json"])
    shown = json.loads(result.stderr)
    assert (result.exit_code, shown["exit_code"], result.stdout) == (exit_code, exit_code, "")
    assert shown["error"].get("reason", "") == reason
    assert shown["error"]["message"]


def test_a_closed_pipe_ends_a_command_silently() -> None:
    """As `graphmesh --help | true`: with the code of SIGPIPE, and without a traceback."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        command = [sys.executable, "-m", "graphmesh_cli", "run", "--help"]
        ended = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (141, "")
