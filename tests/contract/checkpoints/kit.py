"""Checkpoints made by hand, and graphs to run."""

import operator
from typing import Annotated, Any

from graphmesh_orchestrator.checkpoints import CLAIM, TRAIL, Claim, LogSaver, Trail
from langchain_core.runnables import RunnableConfig
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver, Checkpoint, CheckpointMetadata, CheckpointTuple
from langgraph.checkpoint.base.id import uuid6
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

Graph = CompiledStateGraph[Any, Any, Any, Any]
LETTERS = ("a", "b", "c", "d", "e")
TWO = LETTERS[:2]
DOCUMENT = "x" * 100_000
"""So big that it is stored aside."""


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    document: str
    answer: str


class Delta(TypedDict, total=False):
    log: Annotated[list[str], DeltaChannel(lambda value, writes: sum(writes, value or []), snapshot_frequency=4)]


def at(thread_id: str, checkpoint_id: str = "", ns: str = "", **more: Any) -> RunnableConfig:
    given = {"thread_id": thread_id, "checkpoint_ns": ns, **more}
    return {"configurable": {**given, "checkpoint_id": checkpoint_id} if checkpoint_id else given}


def claimed(config: RunnableConfig, run_id: str, epoch: int = 1) -> RunnableConfig:
    return {**config, "configurable": {**config["configurable"], CLAIM: Claim(run_id, epoch)}}


def leaving(config: RunnableConfig, trail: Trail) -> RunnableConfig:
    """What is written goes to the trail."""
    return {**config, "configurable": {**config["configurable"], TRAIL: trail}}


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
    """Store a checkpoint whose values are all new. Returns its config, with the claim."""
    made, metadata = checkpoint(**values), CheckpointMetadata(source="loop", step=0, parents={})
    stored = await saver.aput(config, made, metadata, made["channel_versions"])
    return {"configurable": {**config["configurable"], **stored["configurable"]}}


async def listed(saver: LogSaver, config: RunnableConfig | None) -> list[CheckpointTuple]:
    return [found async for found in saver.alist(config)]


def chain(saver: BaseCheckpointSaver[Any], state: type = State, nodes: tuple[str, ...] = LETTERS) -> Graph:
    """Nodes one after another, each of which logs its name."""
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(state)
    for name, before in zip(nodes, (START, *nodes), strict=False):
        builder.add_node(name, _logging(name))
        builder.add_edge(before, name)
    builder.add_edge(nodes[-1], END)
    return builder.compile(checkpointer=saver)


def asking(saver: BaseCheckpointSaver[Any]) -> Graph:
    """Two nodes at once, of which one asks a person; then one that sums up. Asked in a subgraph."""
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
