"""Import of threads from LangGraph's own savers: state, history and pending writes."""

import asyncio
import importlib
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import sqlalchemy as sa
from graphmesh_chassis.database import Database, open_database
from graphmesh_cli.app import app
from graphmesh_cli.commands.import_threads import Counts, Target, import_threads, langgraph_saver, source_url
from graphmesh_orchestrator.backend import MIGRATIONS
from graphmesh_orchestrator.checkpoints import GroupCommit, LogSaver, SqlBatchWriter, StateLimits
from graphmesh_orchestrator.checkpoints.tables import checkpoints, task_writes
from graphmesh_orchestrator.db.tables import threads
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.types import Command, StateSnapshot
from typer.testing import CliRunner

from tests.contract.checkpoints import kit

MODELS = """
from dataclasses import dataclass
from enum import Enum

class Size(Enum):
    LARGE = "large"

@dataclass
class Order:
    number: int
    size: Size
"""
Saver = BaseCheckpointSaver[Any]


@pytest.fixture(params=["sqlite", "postgresql"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of LangGraph's savers; the orchestrator's database is of the other kind."""
    if request.param == "postgresql":
        return source_url(str(request.getfixturevalue("postgres_url")).replace("+psycopg", ""))
    return source_url(str(tmp_path / "theirs.db"))


@pytest_asyncio.fixture
async def theirs(source: str) -> AsyncIterator[Saver]:
    async with langgraph_saver(source) as saver:
        if isinstance(saver, AsyncPostgresSaver):
            await saver.setup()
        yield saver


@pytest.fixture
def ours(source: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    if source.startswith("sqlite"):
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite+aiosqlite:///{tmp_path}/orchestrator.db"


@pytest_asyncio.fixture
async def database(ours: str) -> AsyncIterator[Database]:
    async with open_database(ours, MIGRATIONS) as database:
        yield database


@pytest_asyncio.fixture
async def commits(database: Database) -> AsyncIterator[GroupCommit]:
    async with GroupCommit(SqlBatchWriter(database)).running() as commits:
        yield commits


@pytest_asyncio.fixture
async def target(database: Database, commits: GroupCommit) -> Target:
    return Target(database, LogSaver(database, commits), "acme", "asking")


async def imported(source: str, target: Target) -> tuple[Counts, dict[str, str]]:
    refused: dict[str, str] = {}
    counts = await import_threads(source, target, lambda thread, error: refused.update({thread: str(error)}))
    return counts, refused


async def history_of(saver: Saver, thread_id: str) -> list[Any]:
    """Return the history of a thread as its users read it, with ids and metadata."""

    def of(snapshot: StateSnapshot) -> Any:
        ids = [(config or {}).get("configurable", {}).get("checkpoint_id") for config in _configs(snapshot)]
        tasks = [(task.id, task.name, task.result, [i.value for i in task.interrupts]) for task in snapshot.tasks]
        return snapshot.values, snapshot.next, tasks, ids, snapshot.created_at, snapshot.metadata

    return [of(snapshot) async for snapshot in kit.interrupting(saver).aget_state_history(kit.at(thread_id))]


def _configs(snapshot: StateSnapshot) -> Any:
    return snapshot.config, snapshot.parent_config


async def count_rows(database: Database) -> list[int]:
    async with database.read() as connection:
        counting = [sa.select(sa.func.count()).select_from(table) for table in (checkpoints, task_writes, threads)]
        return [(await connection.execute(count)).scalar_one() for count in counting]


async def test_imported_thread_resumes(theirs: Saver, source: str, target: Target) -> None:
    """It is interrupted in a subgraph, with pending writes of a sibling; its history is the same as before."""
    await kit.interrupting(theirs).ainvoke({"document": "x" * 100_000, "log": []}, kit.at("t"), durability="sync")
    counts, refused = await imported(source, target)
    assert (counts.imported, counts.refused, refused) == (1, 0, {})
    assert await history_of(target.saver, "acme/t") == await history_of(theirs, "t")
    graph, config = kit.interrupting(target.saver), kit.at("acme/t")
    ended = await graph.ainvoke(Command(resume="yes"), config, durability="sync")
    assert ended == {"document": "x" * 100_000, "log": ["other", "ask", "end"], "answer": "yes"}
    again = await graph.ainvoke({"log": ["more"]}, config, durability="sync")
    assert again["log"] == ["other", "ask", "end", "more", "other"]
    async with target.database.read() as connection:
        [row] = (await connection.execute(sa.select(threads))).all()
    assert (row.tenant, row.thread_id, row.graph) == ("acme", "t", "asking")


async def test_delta_channels_are_imported(theirs: Saver, source: str, target: Target) -> None:
    graph = kit.chain(theirs, kit.Delta)
    for turn in range(3):
        await graph.ainvoke({"log": [f"{turn}"]}, kit.at("t"), durability="sync")
    await imported(source, target)
    before = (await graph.aget_state(kit.at("t"))).values
    ended = await kit.chain(target.saver, kit.Delta).ainvoke({"log": ["3"]}, kit.at("acme/t"), durability="sync")
    assert ended["log"] == [*before["log"], "3", *kit.LETTERS]


async def test_repeated_import_changes_nothing(theirs: Saver, source: str, target: Target) -> None:
    await kit.interrupting(theirs).ainvoke({"log": []}, kit.at("t"), durability="sync")
    await imported(source, target)
    before = await count_rows(target.database)
    counts, _ = await imported(source, target)
    assert (counts.imported, counts.already_there) == (0, 1)
    assert await count_rows(target.database) == before


async def test_repeated_import_copies_new_checkpoints(theirs: Saver, source: str, target: Target) -> None:
    """After an interrupted import, or where a thread has new checkpoints since."""
    await kit.interrupting(theirs).ainvoke({"log": []}, kit.at("t"), durability="sync")
    await imported(source, target)
    await kit.interrupting(theirs).ainvoke(Command(resume="yes"), kit.at("t"), durability="sync")
    await kit.interrupting(theirs).ainvoke({"log": []}, kit.at("u"), durability="sync")
    counts, _ = await imported(source, target)
    assert counts.imported == 2
    for thread in ("t", "u"):
        assert await history_of(target.saver, f"acme/{thread}") == await history_of(theirs, thread)


async def test_refused_thread_does_not_stop_the_import(
    theirs: Saver, source: str, target: Target, commits: GroupCommit
) -> None:
    """Its id is invalid, its state is too large, or both databases have new checkpoints of it."""
    for thread in ("a thread", "both", "good"):
        await kit.interrupting(theirs).ainvoke({"log": []}, kit.at(thread), durability="sync")
    await imported(source, target)
    for saver, thread in ((theirs, "both"), (target.saver, "acme/both")):
        await kit.interrupting(saver).ainvoke(Command(resume="yes"), kit.at(thread), durability="sync")
    await kit.interrupting(theirs).ainvoke({"document": "x" * 100_000}, kit.at("big"), durability="sync")
    limited = LogSaver(target.database, commits, StateLimits(state=50_000))
    counts, refused = await imported(source, replace(target, saver=limited))
    assert (counts.imported, counts.already_there, counts.refused) == (0, 1, 3)
    assert refused["a thread"] == "its id is not of the form [A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
    assert "both databases have new checkpoints of it" in refused["both"]
    assert "more than 50000" in refused["big"]


async def test_command_reports_the_results(theirs: Saver, source: str, ours: str) -> None:
    for thread in ("a thread", "good"):
        await kit.interrupting(theirs).ainvoke({"log": []}, kit.at(thread), durability="sync")
    given = source.removeprefix("sqlite:///").replace("+psycopg", "")
    command = ["import-threads", given, "--tenant", "acme", "--database", ours]
    done = await run_command(command)
    assert done.exit_code == 1
    assert "thread a thread: its id is not of the form" in done.output
    assert "1 imported, 0 already there, 1 refused; 4 checkpoints" in done.output
    missing = await run_command(["import-threads", "nowhere.db"])
    assert missing.exit_code == 2
    assert "there is no file nowhere.db" in missing.output


async def test_classes_of_states_are_kept_or_named(
    theirs: Saver, source: str, ours: str, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are those of the project; without it the thread is refused, and not stored with their fields alone."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "shop_models.py").write_text(MODELS)
    (project / "langgraph.json").write_text(json.dumps({"dependencies": ["."], "graphs": {"shop": "./shop.py:graph"}}))
    with monkeypatch.context() as old_program:
        old_program.syspath_prepend(project)
        models = importlib.import_module("shop_models")
        written = {"document": [models.Order(7, models.Size.LARGE)], "log": []}
        await kit.interrupting(theirs).ainvoke(written, kit.at("t"), durability="sync")
    monkeypatch.delitem(sys.modules, "shop_models")
    command = ["import-threads", source.removeprefix("sqlite:///").replace("+psycopg", ""), "--database", ours]
    refused = await run_command([*command, "--tenant", "acme"])
    assert refused.exit_code == 1
    assert "thread t: the class shop_models.Size cannot be read: there is no module shop_models" in refused.output
    assert (await count_rows(target.database))[0] == 0

    monkeypatch.setattr(sys, "path", [*sys.path])
    done = await run_command([*command, "--tenant", "acme", "--graphs", str(project / "langgraph.json")])
    assert done.exit_code == 0, done.output
    found = await target.saver.aget_tuple(kit.at("acme/t"))
    models = sys.modules["shop_models"]
    assert found
    assert found.checkpoint["channel_values"]["document"] == [models.Order(7, models.Size.LARGE)]


async def run_command(arguments: list[str]) -> Any:
    """Run a command in a thread, since it has an event loop of its own."""
    return await asyncio.to_thread(CliRunner().invoke, app, arguments, env={"COLUMNS": "200"})
