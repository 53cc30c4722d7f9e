"""What stands in the rows of a checkpoint and of a task's writes, besides their values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint

from graphmesh_orchestrator.checkpoints.config_keys import HEAD, Place, claim_of
from graphmesh_orchestrator.checkpoints.encoding import Head
from graphmesh_orchestrator.checkpoints.state_versions import FIRST, recorded_version


@dataclass(frozen=True, slots=True)
class Parent:
    """What writing a checkpoint needs to know of the one before."""

    stamp: int = 0
    versions: Mapping[str, Any] = field(default_factory=dict)
    homes: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    graph_version: int = FIRST

    @classmethod
    def of(cls, stamp: int, head: Head) -> "Parent":
        return cls(stamp, head.versions, head.homes, head.sizes, recorded_version(head.metadata))


def written(place: Place, config: RunnableConfig, stamp: int, run_id: str | None = None) -> dict[str, Any]:
    """The columns that checkpoints and task writes share. The claim says whose they are, else the metadata."""
    if claim := claim_of(config):
        run_id = claim.run_id
    return {
        "thread_id": place.thread_id,
        "ns": place.ns,
        "checkpoint_id": place.checkpoint_id,
        "run_id": run_id or config.get("metadata", {}).get("run_id"),
        "stamp": stamp,
    }


def homes_of(checkpoint: Checkpoint, new_versions: ChannelVersions, parent: Parent) -> dict[str, str]:
    """The row that holds each channel's value: the parent's where the channel has not changed since, else the own."""
    versions = checkpoint["channel_versions"]
    return {
        channel: parent.homes[channel]
        if channel in parent.homes and channel not in new_versions and parent.versions.get(channel) == versions[channel]
        else checkpoint["id"]
        for channel in checkpoint["channel_values"]
    }


def sizes_of(writes: Sequence[tuple[int, str, bytes]]) -> Mapping[str, int]:
    """The bytes that are written to each channel."""
    sizes: dict[str, int] = {}
    for _, channel, value in writes:
        sizes[channel] = sizes.get(channel, 0) + len(value)
    return sizes


def follows_of(config: RunnableConfig, origin: Place) -> str | None:
    """The parent, or none, where no other checkpoint may follow it."""
    marker: str | None = config["configurable"].get(HEAD)
    return None if marker is None else (origin.checkpoint_id or "")
