"""`graphmesh run`, `watch`, `resume`, `thread` and `approve`: output and exit codes."""

import asyncio
import json
import os
import re
import shlex
import signal
import socket
import sqlite3
import sys
from asyncio.subprocess import PIPE, STDOUT
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from graphmesh_cli.app import app
from graphmesh_cli.commands.connection import Connection, parse_seconds
from graphmesh_cli.commands.runs import watch_run
from graphmesh_cli.failures import ExitCode, Failure
from graphmesh_local.state_folder import DEFAULT_STATE
from typer.testing import CliRunner

from tests.integration.orchestrator.gates import GATES
from tests.integration.orchestrator.mesh import Mesh

on_mesh = pytest.mark.asyncio(loop_scope="module")

INPUT = json.dumps({"name": "x"})
CONSOLE = {"COLUMNS": "80"}
"""A common width, independent of the terminal: commands to copy must not be wrapped."""


async def graphmesh(mesh: Mesh, *words: str, exits: int = 0) -> str:
    """Run a command as a process, check its exit code, and return its output."""
    command = (sys.executable, "-m", "graphmesh_cli", *words, "--address", mesh.address, "--tenant", mesh.tenant)
    environment = {**os.environ, **CONSOLE}
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT, env=environment)
    output, _ = await process.communicate()
    assert process.returncode == exits, output.decode()
    return output.decode()


async def run_suggested(mesh: Mesh, output: str, answer: str = "", exits: int = 0) -> str:
    """Run the last command that an output suggests, exactly as it is printed, and return its output."""
    line = re.findall(r"graphmesh (.+)$", output, re.MULTILINE)[-1]
    words = [word.replace("ANSWER", answer) for word in shlex.split(line)]
    assert words[-4:] == ["--address", mesh.address, "--tenant", mesh.tenant]
    return await graphmesh(mesh, *words[:-4], exits=exits)


def id_in(output: str, kind: str) -> str:
    found: list[str] = re.findall(rf"{kind}_[0-9a-f]+", output)
    return found[0]


@on_mesh
async def test_a_question_is_answered_with_the_suggested_command(mesh: Mesh) -> None:
    """For a run that parks, the command exits with 3 and shows the question and the command that answers it."""
    output = await graphmesh(mesh, "run", "ask_twice", INPUT, exits=3)
    assert "how many?" in output
    output = await run_suggested(mesh, output, "3", exits=3)
    assert "sure?" in output
    assert "note" not in output, "an event that was shown is shown again"
    output = await run_suggested(mesh, output, "yes")
    assert '"3, yes"' in output


@on_mesh
async def test_several_questions_are_answered_by_id(mesh: Mesh) -> None:
    output = await graphmesh(mesh, "run", "ask_both", INPUT, exits=3)
    run_id = id_in(output, "run")
    assert "--answer ID=JSON" in await graphmesh(mesh, "resume", run_id, "which?", exits=2)
    questions = re.findall(r"--answer (\w+)=ANSWER", output)
    answers = [word for one in questions for word in ("--answer", f"{one}=true")]
    output = await graphmesh(mesh, "resume", run_id, *answers)
    assert "left True" in output
    assert "waits for no answer" in await graphmesh(mesh, "resume", run_id, "late", exits=2)


@on_mesh
async def test_an_approval_is_listed_and_approved(mesh: Mesh) -> None:
    """The list shows tool and arguments; the suggested command approves the call, once."""
    assert await graphmesh(mesh, "approve") == "no approval is pending\n"
    invoice = await mesh.create_invoice()
    parked = await graphmesh(
        mesh, "run", "approved_by_rule", json.dumps({"invoice_id": invoice, "amount": 1000}), exits=3
    )
    listed = await graphmesh(mesh, "approve")
    for part in ("billing.Charge", f"Charge 1000 of {invoice}?", '"amount_minor": "1000"', "approvals.charge"):
        assert part in listed
    refused = await graphmesh(mesh, "resume", id_in(parked, "run"), "yes", exits=1)
    assert f"graphmesh approve {id_in(listed, 'apr')}" in refused
    approved = await run_suggested(mesh, parked)
    assert "approved" in approved
    assert "success" in await run_suggested(mesh, approved)
    assert "APPROVAL_ANSWERED" in await graphmesh(mesh, "approve", id_in(listed, "apr"), "--deny", exits=1)
    assert await mesh.count_charges(invoice) == 1


@on_mesh
async def test_a_denial_reaches_the_graph(mesh: Mesh) -> None:
    """With its comment."""
    invoice = await mesh.create_invoice()
    charge = json.dumps({"invoice_id": invoice, "amount": 1000})
    approval = id_in(await graphmesh(mesh, "run", "approved_by_rule", charge, exits=3), "apr")
    denied = await graphmesh(mesh, "approve", approval, "--deny", "--comment", "too much")
    assert "denied" in denied
    assert "APPROVAL_DENIED too much" in await run_suggested(mesh, denied)


@on_mesh
async def test_threads_are_listed_read_forked_and_deleted(mesh: Mesh) -> None:
    await graphmesh(mesh, "run", "thinking", INPUT, "--thread", "mine")
    assert "mine" in await graphmesh(mesh, "thread", "list")
    shown = await graphmesh(mesh, "thread", "show", "mine")
    assert "mine of thinking, idle" in shown
    assert '"thought"' in shown
    history = await graphmesh(mesh, "thread", "history", "mine")
    checkpoint = next(line.split()[0] for line in history.splitlines() if line.rstrip().endswith("two"))
    forked = await graphmesh(mesh, "thread", "fork", "mine", "--checkpoint", checkpoint, "--into", "other")
    assert (await run_suggested(mesh, forked)).count('"thought"') == 3
    await mesh.client.threads.create("fresh")
    assert "run GRAPH --thread" in await graphmesh(mesh, "thread", "fork", "fresh")
    assert await graphmesh(mesh, "thread", "delete", "mine") == "mine is deleted\n"
    assert "There is no thread mine" in await graphmesh(mesh, "thread", "show", "mine", exits=1)


@on_mesh
async def test_run_has_the_options_of_create_run(mesh: Mesh) -> None:
    """Budgets, delay, multitask strategy and request id."""
    assert "TOKEN_LIMIT" in await graphmesh(mesh, "run", "thinking", INPUT, "--max-tokens", "150", exits=1)
    assert "STEP_LIMIT" in await graphmesh(mesh, "run", "thinking", INPUT, "--max-steps", "1", exits=1)
    assert "BUDGET_EXCEEDED" in await graphmesh(mesh, "run", "thinking", INPUT, "--max-cost", "0.0006", exits=1)
    assert "begins at" in await graphmesh(mesh, "run", "thinking", INPUT, "--after", "1h", "--detach")
    parked = id_in(await graphmesh(mesh, "run", "ask_twice", INPUT, "--thread", "one", exits=3), "run")
    busy = await graphmesh(mesh, "run", "ask_twice", INPUT, "--thread", "one", exits=1)
    assert f"graphmesh cancel {parked}" in busy
    watch = f"graphmesh watch {parked} --address {mesh.address} --tenant {mesh.tenant}"
    assert f"{watch}; or begin with --multitask" in busy
    await graphmesh(mesh, "run", "ask_twice", INPUT, "--thread", "one", "--multitask", "interrupt", exits=3)
    assert "cancelled" in await graphmesh(mesh, "watch", parked, exits=1)
    same = {await graphmesh(mesh, "run", "thinking", INPUT, "--request-id", "same", "--detach") for _ in range(2)}
    assert len(same) == 1


@on_mesh
async def test_ctrl_c_leaves_the_run_running(mesh: Mesh) -> None:
    """The command to watch it again is shown."""
    on = ("--address", mesh.address, "--tenant", mesh.tenant)
    command = (sys.executable, "-m", "graphmesh_cli", "run", "gated", '{"name": "alone"}', *on)
    environment = {**os.environ, **CONSOLE}
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT, env=environment)
    assert process.stdout is not None
    begun = id_in((await process.stdout.readline()).decode(), "run")
    process.send_signal(signal.SIGINT)
    output = (await process.communicate())[0].decode()
    assert process.returncode == 130
    assert f"the run continues; watch it again: graphmesh watch {begun}" in output
    GATES["alone"].set()
    assert "success" in await run_suggested(mesh, output.rstrip())


@on_mesh
async def test_ctrl_c_before_the_response_shows_the_command_that_lists_runs() -> None:
    """The run may have begun or not."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.setblocking(False)
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        command = (sys.executable, "-m", "graphmesh_cli", "run", "gated", INPUT, "--address", address)
        environment = {**os.environ, **CONSOLE}
        process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT, env=environment)
        connection, _ = await asyncio.get_running_loop().sock_accept(silent)
        with connection:
            process.send_signal(signal.SIGINT)
            output = (await process.communicate())[0].decode()
    assert process.returncode == 130
    assert f"the run may have begun: graphmesh runs --graph gated --address {address}" in output


def test_an_unreachable_mesh_is_reported_with_the_command_to_repeat(capsys: pytest.CaptureFixture[str]) -> None:
    unreachable = Connection("127.0.0.1:1", DEFAULT_STATE, "default", retry_timeout=0.5)
    with pytest.raises(Failure) as ended:
        watch_run(unreachable, "run_1", after_seq=7)
    assert (ended.value.exit_code, ended.value.reason) == (ExitCode.UNAVAILABLE, "UNREACHABLE")
    command = "watch it again: graphmesh watch run_1 --after 7 --address 127.0.0.1:1"
    assert command in capsys.readouterr().err


@pytest.mark.parametrize(("text", "value"), [("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86400), (600, 600)])
def test_times_are_parsed_to_seconds(text: Any, value: float) -> None:
    assert parse_seconds(text) == value


@pytest.mark.parametrize(
    "words",
    [
        ["run", "x", "[]"],
        ["run", "x", "{}", "--after", "10"],
        ["run", "x", "@nowhere"],
        ["run", "x", "{}", "--after", "999999999d"],
        ["run", "x", "{}", "--max-steps", str(10**10)],
        ["run", "x", "{}", "--max-tokens", str(10**20)],
        ["run", "x", "{}", "--max-cost", "1e300"],
        ["run", "x", "{}", "--tenant", "Ü"],
        ["run", "x", "{}", "--address", "http://127.0.0.1:8080/v1"],
        ["watch", "run_1", "--after", str(10**20)],
        ["approve", "--deny"],
        ["import-threads", "mysql://localhost/app"],
    ],
    ids=" ".join,
)
def test_an_invalid_argument_is_explained(words: list[str]) -> None:
    """In one sentence, before any call."""
    result = CliRunner().invoke(app, words, env=CONSOLE)
    assert result.exit_code == 2
    for part in (
        "must be",
        "must consist",
        "No such file",
        "100 years",
        "less than or equal",
        "name the approval",
        "is none of",
    ):
        if part in result.output:
            return
    pytest.fail(result.output)


def test_an_unreachable_database_is_reported(tmp_path: Path) -> None:
    """In one line, without the password."""
    words = [
        "import-threads",
        "postgresql://me:secret@127.0.0.1:1/app",
        "--database",
        f"sqlite+aiosqlite:///{tmp_path}/x",
    ]
    result = CliRunner().invoke(app, words, env=CONSOLE)
    assert result.exit_code == 2
    assert "Connection refused" in result.output
    assert "secret" not in result.output


def test_threads_are_imported_into_the_mesh_of_the_state_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no database is named, since the default of the settings is not the database of a mesh."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GRAPHMESH_ORCHESTRATOR_DATABASE_URL", raising=False)
    there = tmp_path / "mine" / "databases" / "orchestrator.db"
    there.parent.mkdir(parents=True)
    there.touch()
    with closing(sqlite3.connect(theirs := tmp_path / "theirs.db")) as saver:
        saver.execute("CREATE TABLE checkpoints (thread_id TEXT)")
    result = CliRunner().invoke(app, ["import-threads", str(theirs), "--state", str(tmp_path / "mine")])
    assert result.exit_code == 0, result.output
    with closing(sqlite3.connect(there)) as ours:
        assert ours.execute("SELECT count(*) FROM threads").fetchone() == (0,)
    assert not (tmp_path / ".graphmesh").exists()


def test_suggested_commands_name_the_same_mesh() -> None:
    assert (
        Connection("127.0.0.1:1", DEFAULT_STATE, "acme").command("watch", "run_1")
        == "graphmesh watch run_1 --address 127.0.0.1:1 --tenant acme"
    )
    assert Connection("", DEFAULT_STATE, "default").command("runs") == "graphmesh runs"
