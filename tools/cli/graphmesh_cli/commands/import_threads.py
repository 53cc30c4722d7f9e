"""`graphmesh import-threads`: threads of LangGraph's own savers become threads of the orchestrator.

A checkpoint keeps its id, its parent and its metadata, so the same import again finds what is there and goes on.
"""

import asyncio
import contextlib
import os
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import psycopg
import sqlalchemy as sa
import typer
from graphmesh_chassis.database import Database, open_database
from graphmesh_chassis.errors import AlreadyExists, GraphmeshError
from graphmesh_chassis.identity import TENANT_RULE
from graphmesh_local.readonly_database import connect_read_only
from graphmesh_local.state_folder import DEFAULT_STATE, StateFolder
from graphmesh_orchestrator.__main__ import MIGRATIONS
from graphmesh_orchestrator.checkpoints import Limits, GroupCommit, LogSaver
from graphmesh_orchestrator.checkpoints.config_keys import checkpoint_thread
from graphmesh_orchestrator.settings import Settings
from graphmesh_orchestrator.threads.threads_sql import insert
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, ChannelVersions, Checkpoint, CheckpointTuple
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError

DATABASE_SETTING = "GRAPHMESH_ORCHESTRATOR_DATABASE_URL"
SCHEMES = ("postgresql", "postgres", "postgresql+psycopg", "sqlite")
"""Of the databases that LangGraph has savers for."""
THREAD_RULE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class NotImportable(ValueError):
    """A thread cannot become one of the orchestrator's; the message says why."""


@dataclass
class Counts:
    """What became of the threads."""

    imported: int = 0
    already_there: int = 0
    refused: int = 0
    checkpoints: int = 0
    """Of those imported."""

    def __str__(self) -> str:
        threads = f"{self.imported} imported, {self.already_there} already there, {self.refused} refused"
        return f"{threads}; {self.checkpoints} checkpoints"


@dataclass(frozen=True)
class Target:
    """Whose the threads become."""

    database: Database
    saver: LogSaver
    tenant: str
    graph: str
    """That they are of; empty where nobody says, then their first run does."""


OnRefusal = Callable[[str, Exception], None]
"""Told of a thread and why it was refused."""


async def import_threads(source: str, target: Target, on_refusal: OnRefusal) -> Counts:
    """Import every thread of a database of LangGraph's, one after another."""
    counts = Counts()
    async with official(source) as theirs:
        for thread_id in thread_ids(source):
            try:
                new = await import_thread(theirs, thread_id, target)
            except Exception as error:
                on_refusal(thread_id, error)
                counts.refused += 1
            else:
                counts.checkpoints += new
                counts.imported += new > 0
                counts.already_there += new == 0
    return counts


async def import_thread(theirs: BaseCheckpointSaver[Any], thread_id: str, target: Target) -> int:
    """Copy what is new of a thread, parents first. Returns how many checkpoints that were.

    Raises:
        NotImportable: its name cannot be that of a thread, or both have gone on with it.
    """
    if not THREAD_RULE.fullmatch(thread_id):
        raise NotImportable(f"its id is not of the form {THREAD_RULE.pattern}")
    name = checkpoint_thread(target.tenant, thread_id)
    given = {_key(one): one async for one in theirs.alist({"configurable": {"thread_id": thread_id}})}
    there = {_key(one): one async for one in target.saver.alist({"configurable": {"thread_id": name}})}
    new = [key for key in given if key not in there]
    if new and there.keys() - given.keys():
        raise NotImportable("runs have gone on with it here and there: their states cannot be joined")
    for key in reversed(given):
        await _import(target.saver, name, given[key], there.get(key))
    await _register(target, thread_id)
    return len(new)


Key = tuple[str, str]
"""A namespace and the id of a checkpoint in it."""


def _key(one: CheckpointTuple) -> Key:
    configurable = one.config["configurable"]
    return str(configurable.get("checkpoint_ns", "")), str(configurable["checkpoint_id"])


async def _import(saver: LogSaver, name: str, given: CheckpointTuple, there: CheckpointTuple | None) -> None:
    """Store a checkpoint with what tasks have written since; of one that is there, only what is new of that."""
    ns, checkpoint_id = _key(given)
    if there is None:
        parent = (given.parent_config or {}).get("configurable", {}).get("checkpoint_id")
        await saver.aput(_at(name, ns, parent), translated(given.checkpoint), given.metadata, {})
    known = {(task_id, channel) for task_id, channel, _ in (there and there.pending_writes) or ()}
    writes = [write for write in given.pending_writes or () if write[:2] not in known]
    for number, (task_id, channel_writes) in enumerate(_by_task(writes).items()):
        # their order among tasks, which savers keep by a path that a checkpoint does not tell
        await saver.aput_writes(_at(name, ns, checkpoint_id), channel_writes, task_id, f"{number:06d}")


def _by_task(writes: Sequence[tuple[str, str, Any]]) -> Mapping[str, list[tuple[str, Any]]]:
    tasks: defaultdict[str, list[tuple[str, Any]]] = defaultdict(list)
    for task_id, channel, value in writes:
        tasks[task_id].append((channel, value))
    return tasks


def translated(checkpoint: Checkpoint) -> Checkpoint:
    """With the versions of channels as the orchestrator counts them."""
    seen = {node: _counted(versions) for node, versions in checkpoint["versions_seen"].items()}
    return {**checkpoint, "channel_versions": _counted(checkpoint["channel_versions"]), "versions_seen": seen}


def _counted(versions: ChannelVersions) -> ChannelVersions:
    """LangGraph's savers write 3 as "00000000000000000000000000000003.0.4711"; the fraction is chance."""
    return {channel: int(str(version).partition(".")[0]) for channel, version in versions.items()}


def _at(name: str, ns: str, checkpoint_id: str | None) -> RunnableConfig:
    place = {"thread_id": name, "checkpoint_ns": ns}
    return {"configurable": {**place, "checkpoint_id": checkpoint_id} if checkpoint_id else place}


async def _register(target: Target, thread_id: str) -> None:
    row = {"graph": target.graph, "labels": {}, "ttl_seconds": 0}
    with contextlib.suppress(AlreadyExists):
        async with target.database.transaction() as connection:
            await insert(connection, target.database, target.tenant, thread_id, **row)


def official(source: str) -> AbstractAsyncContextManager[BaseCheckpointSaver[Any]]:
    """LangGraph's saver of a database."""
    url = sa.make_url(source)
    if url.get_backend_name() == "sqlite":
        return AsyncSqliteSaver.from_conn_string(str(url.database))
    return AsyncPostgresSaver.from_conn_string(url.set(drivername="postgresql").render_as_string(hide_password=False))


def thread_ids(source: str) -> list[str]:
    with connect_read_only(source) as connection:
        found = connection.execute(sa.text("SELECT DISTINCT thread_id FROM checkpoints ORDER BY thread_id"))
        return list(found.scalars())


def source_url(source: str) -> str:
    """The SQLAlchemy URL of a file, or of a PostgreSQL database by libpq's URL."""
    scheme, separator, rest = source.partition("://")
    if not separator:
        return sa.URL.create("sqlite", database=source).render_as_string()
    return f"postgresql+psycopg://{rest}" if scheme in ("postgresql", "postgres") else source


def import_threads_command(
    source: Annotated[str, typer.Argument(help="postgresql://… or an SQLite file that LangGraph wrote.")],
    tenant: Annotated[str, typer.Option(help="Whose threads they become.")] = "default",
    graph: Annotated[str, typer.Option(help="The graph that they are of; else their first run says.")] = "",
    database: Annotated[
        str, typer.Option(help="SQLAlchemy URL of the orchestrator's database; else of its settings, or of --state.")
    ] = "",
    state: Annotated[Path, typer.Option(help="The state folder of a mesh that is up, or was.")] = DEFAULT_STATE,
) -> None:
    """Copy the threads of LangGraph's AsyncPostgresSaver or AsyncSqliteSaver, with their history and what is pending.

    The same again changes nothing, and copies what is new. No run may be active on the threads, here or there. Their
    states count as version 1 of the graph. Exits with 1 when a thread was refused, and says which and why.
    """
    console = Console(highlight=False, soft_wrap=True)
    if not TENANT_RULE.fullmatch(tenant):
        raise typer.BadParameter("has characters that it cannot have, or is too long", param_hint="tenant")
    scheme, separator, _ = source.partition("://")
    if separator and scheme not in SCHEMES:
        raise typer.BadParameter(f"{scheme}:// is none of {', '.join(SCHEMES)}", param_hint="source")
    if not separator and not Path(source).is_file():
        raise typer.BadParameter(f"there is no file {source}", param_hint="source")
    try:
        counts = asyncio.run(_imported(console, source_url(source), tenant, graph, database or _of_the_mesh(state)))
    except (GraphmeshError, SQLAlchemyError, psycopg.Error) as error:
        cause = str(getattr(error, "orig", error)).partition("\n")[0]
        console.print(f"the threads cannot be read, or not be stored: {cause}", style="red", markup=False)
        raise typer.Exit(2) from None
    console.print(str(counts), markup=False)
    raise typer.Exit(1 if counts.refused else 0)


def _of_the_mesh(state: Path) -> str:
    """The database of a state folder's orchestrator; empty where its settings name one, or the folder has none."""
    kept = StateFolder(state).databases / "orchestrator.db"
    return f"sqlite+aiosqlite:///{kept}" if DATABASE_SETTING not in os.environ and kept.exists() else ""


async def _imported(console: Console, source: str, tenant: str, graph: str, database_url: str) -> Counts:
    """Import, with a line for each thread that is refused."""

    def on_refusal(thread_id: str, error: Exception) -> None:
        console.print(f"thread {thread_id}: {error}", style="red", markup=False)

    settings = Settings()
    async with (
        open_database(database_url or settings.database_url, MIGRATIONS) as database,
        GroupCommit(database).running() as commits,
    ):
        bounds = Limits(settings.artifact_bytes, settings.max_state_bytes)
        target = Target(database, LogSaver(database, commits, bounds), tenant, graph)
        return await import_threads(source, target, on_refusal)
