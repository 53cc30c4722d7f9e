"""Makes states of LangGraph's snapshots, and of the checkpoints of a listing."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog
from graphmesh_chassis.errors import DependencyError
from graphmesh_chassis.large_values import convert_aside, is_large
from graphmesh_nodes.json_values import JsonEncoder, as_object, showable
from langchain_core.runnables import RunnableConfig
from langgraph._internal._constants import CONFIG_KEY_CHECKPOINTER, NS_SEP
from langgraph.channels import AnyValue, BinaryOperatorAggregate, EphemeralValue, LastValue, UntrackedValue
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple, DeltaChannelHistory
from langgraph.types import PregelTask, StateSnapshot

from graphmesh_orchestrator.checkpoints.history import ListedCheckpoint
from graphmesh_orchestrator.runs.run import Interrupt
from graphmesh_orchestrator.threads.subgraphs import Compiled, ThreadGraph
from graphmesh_orchestrator.threads.thread import State, Task

log = structlog.get_logger("graphmesh.threads")

AVAILABLE_WITH_ANY_VALUE = (
    AnyValue,
    BinaryOperatorAggregate,
    DeltaChannel,
    EphemeralValue,
    LastValue,
    UntrackedValue,
)
"""Channels that trigger nodes as soon as they have a value. Of others, as those that wait for several nodes, the value
itself decides."""
NO_INPUTS = {"mapper": None, "cache_policy": None}
"""Attributes of a node that compute with its input."""


def deciding_channels(compiled: Compiled) -> set[str]:
    """Return the channels whose values decide on the next nodes."""
    return {name for name, channel in compiled.channels.items() if type(channel) not in AVAILABLE_WITH_ANY_VALUE}


async def listed_state(of: ThreadGraph, listed: ListedCheckpoint, *, is_basic: bool) -> State:
    """Return the state of a checkpoint, without values where it `is_basic` or has a failure, which `not_shown` names.

    Raises:
        DependencyError: the database is unavailable.
    """
    state = State(listed.ref.checkpoint_id or "", listed.parent_id)
    if listed.found is None:
        return replace(state, not_shown=[f"checkpoint: {listed.failure}"])
    try:
        if is_basic or listed.failure:
            summary = await _summary(of.compiled, listed.found)
            return replace(summary, not_shown=[f"values: {listed.failure}"]) if listed.failure else summary
        snapshot = await _snapshot(of.compiled, _ReadCheckpoint(listed.found, of.root.saver))
        return await convert_aside(is_large(snapshot.values), state_of, snapshot)
    except DependencyError:
        raise
    except Exception as error:
        reason = type(error).__name__
        log.warning("a state cannot be shown", graph=of.root.name, checkpoint=state.checkpoint_id, reason=reason)
        return replace(state, not_shown=[f"checkpoint: cannot be shown: {reason}"])


def state_of(snapshot: StateSnapshot, encoder: JsonEncoder | None = None) -> State:
    """Return the state of a snapshot. `encoder` bounds the states that are shown together."""
    values, not_shown = _showable(snapshot.values, encoder or JsonEncoder())
    metadata, reason = showable(snapshot.metadata or {})
    tasks = [_task_of(task) for task in snapshot.tasks]
    return State(
        checkpoint_id_of(snapshot),
        str((snapshot.parent_config or {}).get("configurable", {}).get("checkpoint_id", "")),
        values,
        snapshot.next,
        [interrupt for task in tasks for interrupt in task.interrupts],
        datetime.fromisoformat(snapshot.created_at) if snapshot.created_at else None,
        metadata or {},
        [*not_shown, f"metadata{reason}"] if reason else not_shown,
        tasks,
    )


def _task_of(task: PregelTask) -> Task:
    interrupts = [Interrupt(one.id, task.name, showable(one.value)[0]) for one in task.interrupts]
    subgraph = task.state["configurable"].get("checkpoint_ns", "") if isinstance(task.state, dict) else ""
    return Task(task.id, task.name, interrupts, subgraph.split(NS_SEP) if subgraph else ())


def checkpoint_id_of(snapshot: StateSnapshot | None) -> str:
    return str(snapshot.config["configurable"]["checkpoint_id"]) if snapshot is not None else ""


class _ReadCheckpoint(BaseCheckpointSaver[Any]):
    """Hands a checkpoint that has been read to LangGraph."""

    def __init__(self, found: CheckpointTuple, saver: BaseCheckpointSaver[Any] | None = None) -> None:
        """`saver` reads the history of delta channels; without it they are empty."""
        super().__init__()
        self.found, self._saver = found, saver

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple:
        return self.found

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        if self._saver is None:
            return {}
        return await self._saver.aget_delta_channel_history(config=config, channels=channels)


async def _summary(compiled: Compiled, found: CheckpointTuple) -> State:
    """Return the state of a checkpoint of which only the values of deciding channels were read."""
    nodes = {name: node.copy(NO_INPUTS) for name, node in compiled.nodes.items()}
    without_inputs = compiled.copy({"nodes": nodes, "cache_policy": None})
    snapshot = await _snapshot(without_inputs, _ReadCheckpoint(found))
    state = state_of(snapshot._replace(values={}))
    tasks = [replace(task, interrupts=_without_values(task.interrupts)) for task in state.tasks]
    return replace(state, interrupts=_without_values(state.interrupts), tasks=tasks)


def _without_values(interrupts: Sequence[Interrupt]) -> Sequence[Interrupt]:
    return [replace(interrupt, value=None) for interrupt in interrupts]


async def _snapshot(compiled: Compiled, read: _ReadCheckpoint) -> StateSnapshot:
    config: RunnableConfig = {"configurable": {**read.found.config["configurable"], CONFIG_KEY_CHECKPOINTER: read}}
    return await compiled.aget_state(config)


def _showable(values: Any, encoder: JsonEncoder) -> tuple[dict[str, Any], list[str]]:
    """Return the channels that can be shown, and the others with their reasons. A workflow has a result only."""
    found: dict[str, Any] = {}
    not_shown: list[str] = []
    for name, value in as_object(values).items():
        shown, reason = encoder.showable({name: value})
        if reason:
            not_shown.append(f"values{reason}")
        else:
            found |= shown
    return found, not_shown
