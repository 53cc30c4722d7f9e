"""Checkpoints and graphs for the suites of the saver."""

import operator
from datetime import UTC, datetime
from typing import Annotated, Any

import sqlalchemy as sa
from graphmesh_chassis.database import Database
from graphmesh_chassis.epoch import Epoch
from graphmesh_contracts.keys import WRITE_BEHIND_KEY
from graphmesh_orchestrator.checkpoints import RUN_EPOCH, LogSaver, RunEpoch, WriteBehind
from graphmesh_orchestrator.db.tables import runs
from graphmesh_orchestrator.runs.runs_sql import SqlRuns
from langchain_core.runnables import RunnableConfig
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver, Checkpoint, CheckpointMetadata, CheckpointTuple
from langgraph.checkpoint.base.id import uuid6
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

from tests.contract.runs import a_run

Graph = CompiledStateGraph[Any, Any, Any, Any]
NOW = datetime(2026, 1, 31, tzinfo=UTC)
LETTERS = ("a", "b", "c", "d", "e")
TWO = LETTERS[:2]
DOCUMENT = "x" * 100_000
"""Large enough to be stored as an artifact."""
LONG = "l" * 10_000
"""An element of a list whose further elements are stored as what they add to it."""

INTERRUPTED, BUFFERED, PRUNED = "interrupted-", "buffered-", "pruned-"
"""Prefixes of the threads of processes that die."""


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    document: str
    answer: str


class Delta(TypedDict, total=False):
    log: Annotated[list[str], DeltaChannel(lambda value, writes: sum(writes, value or []), snapshot_frequency=4)]


async def add_run(database: Database, run_id: str, epoch: int = 1) -> None:
    """Add a run that a worker executes, on a thread of its name."""
    await SqlRuns(database).add(a_run(run_id, thread_id=run_id, created=NOW, epoch=epoch - 1), "worker")


async def take_over(database: Database, run_id: str) -> None:
    """Begin the run's next epoch, as another worker does."""
    async with database.transaction() as connection:
        await connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(epoch=runs.c.epoch + 1))


def at(thread_id: str, checkpoint_id: str = "", ns: str = "", **keys: Any) -> RunnableConfig:
    given = {"thread_id": thread_id, "checkpoint_ns": ns, **keys}
    return {"configurable": {**given, "checkpoint_id": checkpoint_id} if checkpoint_id else given}


def with_epoch(config: RunnableConfig, run_id: str, epoch: int = 1) -> RunnableConfig:
    return {**config, "configurable": {**config["configurable"], RUN_EPOCH: RunEpoch(run_id, Epoch(epoch))}}


def with_write_behind(config: RunnableConfig, buffer: WriteBehind) -> RunnableConfig:
    return {**config, "configurable": {**config["configurable"], WRITE_BEHIND_KEY: buffer}}


def checkpoint(**values: Any) -> Checkpoint:
    return Checkpoint(
        v=4,
        id=str(uuid6()),
        ts="2026-01-31T00:00:00+00:00",
        channel_values=values,
        channel_versions=dict.fromkeys(values, 1),
        versions_seen={},
        updated_channels=None,
    )


async def put(saver: LogSaver, config: RunnableConfig, **values: Any) -> RunnableConfig:
    """Store a checkpoint whose values are all new. Returns its config, with the epoch and the buffer."""
    new, metadata = checkpoint(**values), CheckpointMetadata(source="loop", step=0, parents={})
    stored = await saver.aput(config, new, metadata, new["channel_versions"])
    return {"configurable": {**config["configurable"], **stored["configurable"]}}


async def list_all(saver: LogSaver, config: RunnableConfig | None) -> list[CheckpointTuple]:
    return [found async for found in saver.alist(config)]


def chain(saver: BaseCheckpointSaver[Any], state: type = State, nodes: tuple[str, ...] = LETTERS) -> Graph:
    """Build a sequence of nodes, each of which logs its name."""
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(state)
    for name, before in zip(nodes, (START, *nodes), strict=False):
        builder.add_node(name, _logging(name))
        builder.add_edge(before, name)
    builder.add_edge(nodes[-1], END)
    return builder.compile(checkpointer=saver)


def interrupting(saver: BaseCheckpointSaver[Any]) -> Graph:
    """Build two parallel nodes, one of which is a subgraph that interrupts, and a last node after both."""
    inner = StateGraph(State)
    inner.add_node("ask", lambda state: {"answer": interrupt("sure?"), "log": ["ask"]})
    inner.add_edge(START, "ask")
    builder = StateGraph(State)
    builder.add_node("sub", inner.compile())
    builder.add_node("other", _logging("other"))
    builder.add_node("end", _logging("end"))
    for name in ("sub", "other"):
        builder.add_edge(START, name)
        builder.add_edge(name, "end")
    return builder.compile(checkpointer=saver)


def _logging(name: str) -> Any:
    async def node(state: dict[str, Any]) -> dict[str, Any]:
        return {"log": [name]}

    return node
