"""The columns of the rows of checkpoints and task writes, besides their values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint

from graphmesh_orchestrator.checkpoints.bodies import Body
from graphmesh_orchestrator.checkpoints.config_keys import NEWEST, CheckpointRef, run_epoch_of
from graphmesh_orchestrator.checkpoints.encoding import Head
from graphmesh_orchestrator.checkpoints.rows import RowIdentity
from graphmesh_orchestrator.checkpoints.state_versions import FIRST, recorded_version


@dataclass(frozen=True, slots=True)
class Parent:
    """The facts about a checkpoint that writing the next one needs. The default is for no parent."""

    stamp: int = 0
    versions: Mapping[str, Any] = field(default_factory=dict)
    value_rows: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    bodies: Mapping[str, Body] = field(default_factory=dict)
    graph_version: int = FIRST

    @classmethod
    def of(cls, stamp: int, head: Head) -> "Parent":
        return cls(stamp, head.versions, head.value_rows, head.sizes, head.bodies, recorded_version(head.metadata))


def identity_of(ref: CheckpointRef, config: RunnableConfig, stamp: int, run_id: str | None = None) -> RowIdentity:
    """The run is that of the config's epoch, else `run_id`, else that of the config's metadata."""
    if run_epoch := run_epoch_of(config):
        run_id = run_epoch.run_id
    return {
        "thread_id": ref.thread_id,
        "ns": ref.ns,
        "checkpoint_id": cast(str, ref.checkpoint_id),  # LangGraph writes to named checkpoints only
        "run_id": run_id or config.get("metadata", {}).get("run_id"),
        "stamp": stamp,
    }


def value_rows_of(checkpoint: Checkpoint, new_versions: ChannelVersions, parent: Parent) -> dict[str, str]:
    """Return the id of the row that holds each channel's value: the parent's for an unchanged channel, else its own."""
    versions = checkpoint["channel_versions"]
    return {
        channel: parent.value_rows[channel]
        if channel in parent.value_rows
        and channel not in new_versions
        and parent.versions.get(channel) == versions[channel]
        else checkpoint["id"]
        for channel in checkpoint["channel_values"]
    }


def channel_sizes(writes: Sequence[tuple[int, str, bytes]]) -> Mapping[str, int]:
    """Return the bytes that are written to each channel."""
    sizes: dict[str, int] = {}
    for _, channel, value in writes:
        sizes[channel] = sizes.get(channel, 0) + len(value)
    return sizes


def follows_of(config: RunnableConfig, origin: CheckpointRef) -> str | None:
    """Return the parent, empty for none, where no other checkpoint may follow it; None where others may."""
    newest: str | None = config["configurable"].get(NEWEST)
    return None if newest is None else (origin.checkpoint_id or "")
