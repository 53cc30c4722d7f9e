"""`graphmesh import-threads`: copy threads of LangGraph's own savers to the orchestrator.

A checkpoint keeps its id, its parent and its metadata, so that a repeated import copies only what is new.
"""

import asyncio
import contextlib
import os
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import psycopg
import sqlalchemy as sa
import typer
from graphmesh_chassis.database import Database, open_database
from graphmesh_chassis.errors import AlreadyExists, GraphmeshError
from graphmesh_contracts.keys import checkpoint_thread
from graphmesh_local.readonly_database import connect_read_only
from graphmesh_local.state_folder import DEFAULT_STATE, StateFolder
from graphmesh_orchestrator.backend import MIGRATIONS
from graphmesh_orchestrator.checkpoints import GroupCommit, LogSaver, SqlBatchWriter, StateLimits
from graphmesh_orchestrator.checkpoints.state_serializer import StateSerializer
from graphmesh_orchestrator.checkpoints.stored_objects import UnreadableObject
from graphmesh_orchestrator.project import Project, ProjectError
from graphmesh_orchestrator.settings import Settings
from graphmesh_orchestrator.threads.threads_sql import insert_thread
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, ChannelVersions, Checkpoint, CheckpointTuple
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from sqlalchemy.exc import SQLAlchemyError

from graphmesh_cli.commands.connection import check_tenant
from graphmesh_cli.commands.output import AsJson, console, noted, print_json_line
from graphmesh_cli.failures import ExitCode, usage_error

DATABASE_SETTING = "GRAPHMESH_ORCHESTRATOR_DATABASE_URL"
SCHEMES = ("postgresql", "postgres", "postgresql+psycopg", "sqlite")
"""Schemes of the databases that LangGraph has savers for."""
THREAD_RULE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class NotImportable(ValueError):
    """A thread cannot be imported; the message is the reason."""


@dataclass
class Counts:
    """The results of the threads."""

    imported: int = 0
    already_there: int = 0
    refused: int = 0
    checkpoints: int = 0
    """The checkpoints of the imported threads."""

    def __str__(self) -> str:
        threads = f"{self.imported} imported, {self.already_there} already there, {self.refused} refused"
        return f"{threads}; {self.checkpoints} checkpoints"


@dataclass(frozen=True)
class Target:
    """The destination of an import."""

    database: Database
    saver: LogSaver
    tenant: str
    graph: str
    """The graph of the threads; empty: that of their first run."""


OnRefusal = Callable[[str, Exception], None]
"""Called with a refused thread and the reason."""


async def import_threads(source: str, target: Target, on_refusal: OnRefusal) -> Counts:
    """Import every thread of a LangGraph database, one after another."""
    counts = Counts()
    async with langgraph_saver(source) as saver:
        for thread_id in thread_ids(source):
            try:
                new = await import_thread(saver, thread_id, target)
            except Exception as error:
                on_refusal(thread_id, error)
                counts.refused += 1
            else:
                counts.checkpoints += new
                counts.imported += new > 0
                counts.already_there += new == 0
    return counts


async def import_thread(source: BaseCheckpointSaver[Any], thread_id: str, target: Target) -> int:
    """Copy the new checkpoints of a thread, parents first, and return their number.

    Raises:
        NotImportable: its id breaks the rule for threads, or both databases have new checkpoints.
        UnreadableObject: it has an object of a class that does not exist here.
    """
    if not THREAD_RULE.fullmatch(thread_id):
        raise NotImportable(f"its id is not of the form {THREAD_RULE.pattern}")
    name = checkpoint_thread(target.tenant, thread_id)
    theirs = {_key(one): one async for one in source.alist({"configurable": {"thread_id": thread_id}})}
    ours = {_key(one): one async for one in target.saver.alist({"configurable": {"thread_id": name}})}
    new = [key for key in theirs if key not in ours]
    if new and ours.keys() - theirs.keys():
        raise NotImportable("both databases have new checkpoints of it: they cannot be merged")
    for key in reversed(theirs):
        await _import_checkpoint(target.saver, name, theirs[key], ours.get(key))
    await _register(target, thread_id)
    return len(new)


Key = tuple[str, str]
"""A namespace and the id of a checkpoint in it."""


def _key(one: CheckpointTuple) -> Key:
    configurable = one.config["configurable"]
    return str(configurable.get("checkpoint_ns", "")), str(configurable["checkpoint_id"])


async def _import_checkpoint(saver: LogSaver, name: str, theirs: CheckpointTuple, ours: CheckpointTuple | None) -> None:
    """Store a checkpoint and its pending writes; if the checkpoint is stored already, only its new writes."""
    ns, checkpoint_id = _key(theirs)
    if ours is None:
        parent = (theirs.parent_config or {}).get("configurable", {}).get("checkpoint_id")
        await saver.aput(_config(name, ns, parent), with_integer_versions(theirs.checkpoint), theirs.metadata, {})
    known = {(task_id, channel) for task_id, channel, _ in (ours and ours.pending_writes) or ()}
    writes = [write for write in theirs.pending_writes or () if write[:2] not in known]
    for number, (task_id, channel_writes) in enumerate(_by_task(writes).items()):
        # The order of the tasks: savers store it as a task path, which a CheckpointTuple does not have.
        await saver.aput_writes(_config(name, ns, checkpoint_id), channel_writes, task_id, f"{number:06d}")


def _by_task(writes: Sequence[tuple[str, str, Any]]) -> Mapping[str, list[tuple[str, Any]]]:
    tasks: defaultdict[str, list[tuple[str, Any]]] = defaultdict(list)
    for task_id, channel, value in writes:
        tasks[task_id].append((channel, value))
    return tasks


def with_integer_versions(checkpoint: Checkpoint) -> Checkpoint:
    """Return the checkpoint with integers as versions of channels, which the orchestrator uses."""
    seen = {node: _integers(versions) for node, versions in checkpoint["versions_seen"].items()}
    return {**checkpoint, "channel_versions": _integers(checkpoint["channel_versions"]), "versions_seen": seen}


def _integers(versions: ChannelVersions) -> ChannelVersions:
    """LangGraph's savers write 3 as "00000000000000000000000000000003.0.4711"; the fraction is random."""
    return {channel: int(str(version).partition(".")[0]) for channel, version in versions.items()}


def _config(name: str, ns: str, checkpoint_id: str | None) -> RunnableConfig:
    configurable = {"thread_id": name, "checkpoint_ns": ns}
    return {"configurable": {**configurable, "checkpoint_id": checkpoint_id} if checkpoint_id else configurable}


async def _register(target: Target, thread_id: str) -> None:
    row = {"graph": target.graph, "labels": {}, "ttl_seconds": 0}
    with contextlib.suppress(AlreadyExists):
        async with target.database.transaction() as connection:
            await insert_thread(connection, target.database, target.tenant, thread_id, **row)


@asynccontextmanager
async def langgraph_saver(source: str) -> AsyncIterator[BaseCheckpointSaver[Any]]:
    """Open LangGraph's saver of a database. It raises UnreadableObject where LangGraph's serializer only logs."""
    url = sa.make_url(source)
    opened: AbstractAsyncContextManager[BaseCheckpointSaver[Any]]
    if url.get_backend_name() == "sqlite":
        opened = AsyncSqliteSaver.from_conn_string(str(url.database))
    else:
        libpq = url.set(drivername="postgresql").render_as_string(hide_password=False)
        opened = AsyncPostgresSaver.from_conn_string(libpq)
    async with opened as saver:
        saver.serde = StateSerializer()
        yield saver


def thread_ids(source: str) -> list[str]:
    with connect_read_only(source) as connection:
        found = connection.execute(sa.text("SELECT DISTINCT thread_id FROM checkpoints ORDER BY thread_id"))
        return list(found.scalars())


def source_url(source: str) -> str:
    """Return the SQLAlchemy URL of an SQLite file, or of a PostgreSQL database with a libpq URL."""
    scheme, separator, rest = source.partition("://")
    if not separator:
        return sa.URL.create("sqlite", database=source).render_as_string()
    return f"postgresql+psycopg://{rest}" if scheme in ("postgresql", "postgres") else source


def import_threads_command(
    source: Annotated[str, typer.Argument(help="postgresql://… or an SQLite file that LangGraph wrote.")],
    tenant: Annotated[str, typer.Option(help="The tenant of the imported threads.")] = "default",
    graph: Annotated[str, typer.Option(help="The graph of the threads; by default that of their first run.")] = "",
    graphs: Annotated[
        Path | None,
        typer.Option(envvar="GRAPHMESH_GRAPHS", help="The langgraph.json of the project that has the states' classes."),
    ] = None,
    database: Annotated[
        str, typer.Option(help="SQLAlchemy URL of the orchestrator's database; else of its settings, or of --state.")
    ] = "",
    state: Annotated[Path, typer.Option(help="The state folder of a running or stopped mesh.")] = DEFAULT_STATE,
    as_json: AsJson = False,
) -> None:
    """Copy the threads of LangGraph's AsyncPostgresSaver or AsyncSqliteSaver, with history and pending writes.

    A repeated import copies only what is new. No run may be active on the threads in either database. Their states
    have version 1 of the graph. A state with objects of classes that cannot be imported here is refused; --graphs names
    the project that has them. Exits with 1 when a thread was refused, and names the thread and the reason.
    """
    check_tenant(tenant)
    scheme, separator, _ = source.partition("://")
    if separator and scheme not in SCHEMES:
        raise typer.BadParameter(f"{scheme}:// is none of {', '.join(SCHEMES)}", param_hint="source")
    if not separator and not Path(source).is_file():
        raise typer.BadParameter(f"there is no file {source}", param_hint="source")
    try:
        if graphs is not None:
            Project.read(graphs).enter()
        counts = asyncio.run(_import_all(source_url(source), tenant, graph, database or _database_in(state), as_json))
    except ProjectError as error:
        raise typer.BadParameter(str(error), param_hint="--graphs") from None
    except (GraphmeshError, SQLAlchemyError, psycopg.Error) as error:
        cause = str(getattr(error, "orig", error)).partition("\n")[0]
        raise usage_error(f"the threads cannot be read or stored: {cause}") from None
    if as_json:
        print_json_line({"counts": asdict(counts)})
    else:
        console().print(str(counts), soft_wrap=True)
    raise typer.Exit(ExitCode.FAILED if counts.refused else ExitCode.SUCCESS)


def _database_in(state: Path) -> str:
    """Return the URL of the orchestrator's database in a state folder; empty where it is set, or does not exist."""
    file = StateFolder(state).databases / "orchestrator.db"
    return f"sqlite+aiosqlite:///{file}" if DATABASE_SETTING not in os.environ and file.exists() else ""


async def _import_all(source: str, tenant: str, graph: str, database_url: str, as_json: bool) -> Counts:
    """Import, with a line for each thread that is refused."""

    def on_refusal(thread_id: str, error: Exception) -> None:
        hint = "; --graphs names the project that has its classes" if isinstance(error, UnreadableObject) else ""
        if as_json:
            print_json_line({"refused": {"thread_id": thread_id, "reason": f"{error}{hint}"}})
        else:
            console().print(f"thread {thread_id}: {error}{hint}", style="red", soft_wrap=True)

    settings = Settings()
    async with (
        open_database(database_url or settings.database_url, MIGRATIONS) as database,
        GroupCommit(SqlBatchWriter(database)).running() as commits,
    ):
        limits = StateLimits(settings.artifact_bytes, settings.max_state_bytes)
        target = Target(database, LogSaver(database, commits, limits), tenant, graph)
        async with noted("copying threads"):
            return await import_threads(source, target, on_refusal)
