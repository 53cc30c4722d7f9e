"""`graphmesh run`, `watch`, `resume`, `thread` and `approve` as who types them sees them."""

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
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from graphmesh_cli.app import app
from graphmesh_cli.commands import connection as edge
from graphmesh_cli.commands.connection import Edge, seconds
from graphmesh_client import Client
from graphmesh_local.state_folder import DEFAULT_STATE
from typer.testing import CliRunner

from tests.integration.orchestrator.gates import GATES
from tests.integration.orchestrator.kit import Kit

ASKS = json.dumps({"name": "x"})
CONSOLE = {"COLUMNS": "80"}
"""As wide as most are, whatever the tests are run in: what is to be typed is not broken."""


async def typed(kit: Kit, *words: str, exits: int = 0) -> str:
    """What a command, a process of its own, prints."""
    command = (sys.executable, "-m", "graphmesh_cli", *words, "--address", kit.address)
    environment = {**os.environ, **CONSOLE}
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT, env=environment)
    output, _ = await process.communicate()
    assert process.returncode == exits, output.decode()
    return output.decode()


async def suggested(kit: Kit, output: str, answer: str = "", exits: int = 0) -> str:
    """What the last command that an output suggests prints, typed as it stands there."""
    line = re.findall(r"graphmesh (.+)$", output, re.MULTILINE)[-1]
    words = [word.replace("ANSWER", answer) for word in shlex.split(line)]
    assert words[-2:] == ["--address", kit.address]
    return await typed(kit, *words[:-2], exits=exits)


def id_in(output: str, kind: str) -> str:
    found: list[str] = re.findall(rf"{kind}_[0-9a-f]+", output)
    return found[0]


async def test_a_question_is_answered_as_the_command_says(kit: Kit) -> None:
    """A run that parks exits with 3, and says what it asks and the command that answers it."""
    output = await typed(kit, "run", "ask_twice", ASKS, exits=3)
    assert "how many?" in output
    output = await suggested(kit, output, "3", exits=3)
    assert "sure?" in output
    assert "note" not in output, "what has been shown is not shown again"
    output = await suggested(kit, output, "yes")
    assert '"3, yes"' in output


async def test_several_questions_are_answered_by_id(kit: Kit) -> None:
    output = await typed(kit, "run", "ask_both", ASKS, exits=3)
    run_id = id_in(output, "run")
    assert "--answer ID=JSON" in await typed(kit, "resume", run_id, "which?", exits=2)
    questions = re.findall(r"--answer (\w+)=ANSWER", output)
    answers = [word for one in questions for word in ("--answer", f"{one}=true")]
    output = await typed(kit, "resume", run_id, *answers)
    assert "left True" in output
    assert "waits for no answer" in await typed(kit, "resume", run_id, "late", exits=2)


async def test_an_approval_is_listed_and_given(kit: Kit) -> None:
    """The list shows what is to be called and with what; the command that it suggests gives consent, once (E1)."""
    assert await typed(kit, "approve") == "nothing waits for an approval\n"
    invoice = await kit.invoice()
    asked = await typed(kit, "run", "approved_by_rule", json.dumps({"invoice_id": invoice, "amount": 1000}), exits=3)
    listed = await typed(kit, "approve")
    for part in ("billing.Charge", f"Charge 1000 of {invoice}?", '"amount_minor": "1000"', "approvals.charge"):
        assert part in listed
    refused = await typed(kit, "resume", id_in(asked, "run"), "yes", exits=1)
    assert f"graphmesh approve {id_in(listed, 'apr')}" in refused
    approved = await suggested(kit, asked)
    assert "approved" in approved
    assert "success" in await suggested(kit, approved)
    assert "APPROVAL_ANSWERED" in await typed(kit, "approve", id_in(listed, "apr"), "--deny", exits=1)
    assert await kit.charges(invoice) == 1


async def test_a_denial_is_told_to_the_graph(kit: Kit) -> None:
    invoice = await kit.invoice()
    wanted = json.dumps({"invoice_id": invoice, "amount": 1000})
    approval = id_in(await typed(kit, "run", "approved_by_rule", wanted, exits=3), "apr")
    denied = await typed(kit, "approve", approval, "--deny", "--comment", "too much")
    assert "denied" in denied
    assert "APPROVAL_DENIED too much" in await suggested(kit, denied)


async def test_a_thread_is_read_forked_and_deleted(kit: Kit) -> None:
    await typed(kit, "run", "thinking", ASKS, "--thread", "mine")
    assert "mine" in await typed(kit, "thread", "list")
    shown = await typed(kit, "thread", "show", "mine")
    assert "mine of thinking, idle" in shown
    assert '"thought"' in shown
    history = await typed(kit, "thread", "history", "mine")
    checkpoint = next(line.split()[0] for line in history.splitlines() if line.rstrip().endswith("two"))
    forked = await typed(kit, "thread", "fork", "mine", "--checkpoint", checkpoint, "--into", "other")
    assert (await suggested(kit, forked)).count('"thought"') == 3
    await kit.client.threads.create("fresh")
    assert "run GRAPH --thread" in await typed(kit, "thread", "fork", "fresh")
    assert await typed(kit, "thread", "delete", "mine") == "mine is deleted\n"
    assert "There is no thread mine" in await typed(kit, "thread", "show", "mine", exits=1)


async def test_bounds_delays_and_turns(kit: Kit) -> None:
    """What the contract of CreateRun has, the command has."""
    assert "TOKEN_LIMIT" in await typed(kit, "run", "thinking", ASKS, "--max-tokens", "150", exits=1)
    assert "STEP_LIMIT" in await typed(kit, "run", "thinking", ASKS, "--max-steps", "1", exits=1)
    assert "BUDGET_EXCEEDED" in await typed(kit, "run", "thinking", ASKS, "--max-cost", "0.0006", exits=1)
    assert "begins at" in await typed(kit, "run", "thinking", ASKS, "--after", "1h", "--detach")
    parked = id_in(await typed(kit, "run", "ask_twice", ASKS, "--thread", "one", exits=3), "run")
    busy = await typed(kit, "run", "ask_twice", ASKS, "--thread", "one", exits=1)
    assert f"graphmesh cancel {parked}" in busy
    assert f"graphmesh watch {parked} --address {kit.address}; or begin with --multitask" in busy
    await typed(kit, "run", "ask_twice", ASKS, "--thread", "one", "--multitask", "interrupt", exits=3)
    assert "cancelled" in await typed(kit, "watch", parked, exits=1)
    same = {await typed(kit, "run", "thinking", ASKS, "--request-id", "same", "--detach") for _ in range(2)}
    assert len(same) == 1


async def test_who_stops_looking_is_told_how_to_look_again(kit: Kit) -> None:
    """Ctrl-C leaves the run running; the command that it suggests shows how it goes on (A2)."""
    command = (sys.executable, "-m", "graphmesh_cli", "run", "gated", '{"name": "alone"}', "--address", kit.address)
    environment = {**os.environ, **CONSOLE}
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT, env=environment)
    assert process.stdout is not None
    begun = id_in((await process.stdout.readline()).decode(), "run")
    process.send_signal(signal.SIGINT)
    said = (await process.communicate())[0].decode()
    assert process.returncode == 130
    assert f"goes on without you: graphmesh watch {begun}" in said
    GATES["alone"].set()
    assert "success" in await suggested(kit, said.rstrip())


async def test_who_does_not_wait_for_the_answer_is_told_where_to_look() -> None:
    """Ctrl-C before the mesh has answered: nobody knows whether there is a run."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.setblocking(False)
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        command = (sys.executable, "-m", "graphmesh_cli", "run", "gated", ASKS, "--address", address)
        environment = {**os.environ, **CONSOLE}
        process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT, env=environment)
        connection, _ = await asyncio.get_running_loop().sock_accept(silent)
        with connection:
            process.send_signal(signal.SIGINT)
            said = (await process.communicate())[0].decode()
    assert process.returncode == 130
    assert f"it may have begun: graphmesh runs --graph gated --address {address}" in said


def test_who_does_not_reach_the_mesh_is_told_how_to_look_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "Client", partial(Client, patience=0.5))
    result = CliRunner().invoke(app, ["watch", "run_1", "--address", "127.0.0.1:1", "--after", "7"], env=CONSOLE)
    assert result.exit_code == 1
    assert "UNREACHABLE" in result.output
    assert "look again: graphmesh watch run_1 --after 7 --address 127.0.0.1:1" in result.output


@pytest.mark.parametrize(("text", "value"), [("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86400), (600, 600)])
def test_times(text: Any, value: float) -> None:
    assert seconds(text) == value


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
        ["run", "x", "{}", "--address", "http://127.0.0.1:8080"],
        ["watch", "run_1", "--after", str(10**20)],
        ["approve", "--deny"],
        ["import-threads", "mysql://localhost/app"],
    ],
    ids=" ".join,
)
def test_what_is_typed_wrongly_is_named(words: list[str]) -> None:
    """In one sentence, before anything is sent."""
    result = CliRunner().invoke(app, words, env=CONSOLE)
    assert result.exit_code == 2
    for part in ("has to be", "No such file", "100 years", "less than or equal", "name the approval", "is none of"):
        if part in result.output:
            return
    pytest.fail(result.output)


def test_a_database_that_is_away_is_said(tmp_path: Path) -> None:
    """In one line without the password."""
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
    """Where no database is named: the default of the settings is no database of any mesh."""
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


def test_suggested_commands_go_to_the_same_mesh() -> None:
    assert (
        Edge("127.0.0.1:1", DEFAULT_STATE, "acme").command("watch", "run_1")
        == "graphmesh watch run_1 --address 127.0.0.1:1 --tenant acme"
    )
    assert Edge("", DEFAULT_STATE, "default").command("runs") == "graphmesh runs"
