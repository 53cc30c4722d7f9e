"""Threads of LangGraph's own savers go on with the orchestrator: state, history, what is pending."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import sqlalchemy as sa
from graphmesh_chassis.database import Database, open_database
from graphmesh_cli.app import app
from graphmesh_cli.commands.import_threads import Counts, Target, import_threads, official, source_url
from graphmesh_orchestrator.__main__ import MIGRATIONS
from graphmesh_orchestrator.checkpoints import Bounds, GroupCommit, LogSaver
from graphmesh_orchestrator.checkpoints.tables import checkpoints, task_writes
from graphmesh_orchestrator.db.tables import threads
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.types import Command, StateSnapshot
from typer.testing import CliRunner

from tests.contract.checkpoints import kit

Official = BaseCheckpointSaver[Any]


@pytest.fixture(params=["sqlite", "postgresql"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where LangGraph's savers have written; our own database is of the other kind."""
    if request.param == "postgresql":
        return source_url(str(request.getfixturevalue("postgres_url")).replace("+psycopg", ""))
    return source_url(str(tmp_path / "theirs.db"))


@pytest_asyncio.fixture
async def theirs(source: str) -> AsyncIterator[Official]:
    async with official(source) as saver:
        if isinstance(saver, AsyncPostgresSaver):
            await saver.setup()
        yield saver


@pytest.fixture
def ours(source: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    if source.startswith("sqlite"):
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite+aiosqlite:///{tmp_path}/orchestrator.db"


@pytest_asyncio.fixture
async def target(ours: str) -> AsyncIterator[Target]:
    async with open_database(ours, MIGRATIONS) as database, GroupCommit(database).running() as commits:
        yield Target(database, LogSaver(database, commits), "acme", "asking")


async def imported(source: str, target: Target) -> tuple[Counts, dict[str, str]]:
    refused: dict[str, str] = {}
    counts = await import_threads(source, target, lambda thread, error: refused.update({thread: str(error)}))
    return counts, refused


async def told(saver: Official, thread_id: str) -> list[Any]:
    """The history of a thread as its users see it, ids and metadata too."""

    def of(snapshot: StateSnapshot) -> Any:
        ids = [(config or {}).get("configurable", {}).get("checkpoint_id") for config in _configs(snapshot)]
        tasks = [(task.id, task.name, task.result, [i.value for i in task.interrupts]) for task in snapshot.tasks]
        return snapshot.values, snapshot.next, tasks, ids, snapshot.created_at, snapshot.metadata

    return [of(snapshot) async for snapshot in kit.asking(saver).aget_state_history(kit.at(thread_id))]


def _configs(snapshot: StateSnapshot) -> Any:
    return snapshot.config, snapshot.parent_config


async def rows(database: Database) -> list[int]:
    async with database.read() as connection:
        counting = [sa.select(sa.func.count()).select_from(table) for table in (checkpoints, task_writes, threads)]
        return [(await connection.execute(count)).scalar_one() for count in counting]


async def test_an_imported_thread_goes_on(theirs: Official, source: str, target: Target) -> None:
    """Interrupted in a subgraph, with a sibling's answer pending: it is resumed, and its history is what it was."""
    await kit.asking(theirs).ainvoke({"document": "x" * 100_000, "log": []}, kit.at("t"), durability="sync")
    counts, refused = await imported(source, target)
    assert (counts.imported, counts.refused, refused) == (1, 0, {})
    assert await told(target.saver, "acme/t") == await told(theirs, "t")
    graph, config = kit.asking(target.saver), kit.at("acme/t")
    ended = await graph.ainvoke(Command(resume="yes"), config, durability="sync")
    assert ended == {"document": "x" * 100_000, "log": ["other", "ask", "end"], "answer": "yes"}
    again = await graph.ainvoke({"log": ["more"]}, config, durability="sync")
    assert again["log"] == ["other", "ask", "end", "more", "other"]
    async with target.database.read() as connection:
        [row] = (await connection.execute(sa.select(threads))).all()
    assert (row.tenant, row.thread_id, row.graph) == ("acme", "t", "asking")


async def test_delta_channels_are_imported(theirs: Official, source: str, target: Target) -> None:
    graph = kit.chain(theirs, kit.Delta)
    for turn in range(3):
        await graph.ainvoke({"log": [f"{turn}"]}, kit.at("t"), durability="sync")
    await imported(source, target)
    before = (await graph.aget_state(kit.at("t"))).values
    ended = await kit.chain(target.saver, kit.Delta).ainvoke({"log": ["3"]}, kit.at("acme/t"), durability="sync")
    assert ended["log"] == [*before["log"], "3", *kit.LETTERS]


async def test_the_same_again_changes_nothing(theirs: Official, source: str, target: Target) -> None:
    await kit.asking(theirs).ainvoke({"log": []}, kit.at("t"), durability="sync")
    await imported(source, target)
    before = await rows(target.database)
    counts, _ = await imported(source, target)
    assert (counts.imported, counts.already_there) == (0, 1)
    assert await rows(target.database) == before


async def test_what_is_new_is_imported(theirs: Official, source: str, target: Target) -> None:
    """After an import that broke off, or where the thread has gone on since."""
    await kit.asking(theirs).ainvoke({"log": []}, kit.at("t"), durability="sync")
    await imported(source, target)
    await kit.asking(theirs).ainvoke(Command(resume="yes"), kit.at("t"), durability="sync")
    await kit.asking(theirs).ainvoke({"log": []}, kit.at("u"), durability="sync")
    counts, _ = await imported(source, target)
    assert counts.imported == 2
    for thread in ("t", "u"):
        assert await told(target.saver, f"acme/{thread}") == await told(theirs, thread)


async def test_a_thread_that_cannot_be_imported_stops_no_other(theirs: Official, source: str, target: Target) -> None:
    """Its name is none, it is too big, or it has gone on in both places."""
    for thread in ("a thread", "both", "good"):
        await kit.asking(theirs).ainvoke({"log": []}, kit.at(thread), durability="sync")
    await imported(source, target)
    for saver, thread in ((theirs, "both"), (target.saver, "acme/both")):
        await kit.asking(saver).ainvoke(Command(resume="yes"), kit.at(thread), durability="sync")
    await kit.asking(theirs).ainvoke({"document": "x" * 100_000}, kit.at("big"), durability="sync")
    target.saver._bounds = Bounds(state=50_000)
    counts, refused = await imported(source, target)
    assert (counts.imported, counts.already_there, counts.refused) == (0, 1, 3)
    assert refused["a thread"] == "its id is not of the form [A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
    assert "gone on with it here and there" in refused["both"]
    assert "of 50000" in refused["big"]


async def test_the_command_tells_what_became_of_the_threads(theirs: Official, source: str, ours: str) -> None:
    for thread in ("a thread", "good"):
        await kit.asking(theirs).ainvoke({"log": []}, kit.at(thread), durability="sync")
    given = source.removeprefix("sqlite:///").replace("+psycopg", "")
    command = ["import-threads", given, "--tenant", "acme", "--database", ours]
    done = await in_a_thread(command)
    assert done.exit_code == 1
    assert "thread a thread: its id is not of the form" in done.output
    assert "1 imported, 0 already there, 1 refused; 4 checkpoints" in done.output
    missing = await in_a_thread(["import-threads", "nowhere.db"])
    assert missing.exit_code == 2
    assert "there is no file nowhere.db" in missing.output


async def in_a_thread(arguments: list[str]) -> Any:
    """The command has an event loop of its own."""
    return await asyncio.to_thread(CliRunner().invoke, app, arguments, env={"COLUMNS": "200"})
