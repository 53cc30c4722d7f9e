"""Checkpoints and task writes as bytes, by LangGraph's serializer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from langgraph._internal._constants import ERROR_SOURCE_NODE
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    Checkpoint,
    CheckpointMetadata,
    PendingWrite,
    writes_sort_key,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.types import ERROR


def pack(serde: SerializerProtocol, value: Any) -> bytes:
    kind, data = serde.dumps_typed(value)
    return kind.encode() + b"\0" + data


def unpack(serde: SerializerProtocol, packed: bytes) -> Any:
    kind, _, data = packed.partition(b"\0")
    return serde.loads_typed((kind.decode(), data))


@dataclass(frozen=True, slots=True)
class Head:
    """A checkpoint without its values."""

    checkpoint: Mapping[str, Any]
    metadata: CheckpointMetadata
    homes: Mapping[str, str]
    """The id of the row that holds a channel's value, for every channel that has one."""
    sizes: Mapping[str, int]
    """The bytes of those values."""

    @classmethod
    def of(
        cls,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        homes: Mapping[str, str],
        sizes: Mapping[str, int],
    ) -> "Head":
        bare = {key: value for key, value in checkpoint.items() if key != "channel_values"}
        return cls(bare, metadata, homes, sizes)

    @classmethod
    def unpacked(cls, serde: SerializerProtocol, packed: bytes) -> "Head":
        checkpoint, metadata, rows, sizes = unpack(serde, packed)
        homes = {channel: row or checkpoint["id"] for row, channels in rows.items() for channel in channels}
        return cls(checkpoint, metadata, homes, sizes)

    def packed(self, serde: SerializerProtocol) -> bytes:
        """Each of the rows is named once, and its own with nothing: their ids are most of what a head would be."""
        rows: dict[str, list[str]] = {}
        for channel, home in self.homes.items():
            rows.setdefault("" if home == self.id else home, []).append(channel)
        return pack(serde, [self.checkpoint, self.metadata, rows, self.sizes])

    @property
    def id(self) -> str:
        return str(self.checkpoint["id"])

    @property
    def versions(self) -> Mapping[str, Any]:
        return cast(Mapping[str, Any], self.checkpoint["channel_versions"])

    def filled(self, values: Mapping[str, Mapping[str, Any]]) -> Checkpoint:
        """The whole checkpoint. `values` are those of its homes, by their ids."""
        filled = {channel: values[home][channel] for channel, home in self.homes.items()}
        return cast(Checkpoint, {**self.checkpoint, "channel_values": filled})


def numbered(writes: Sequence[tuple[str, Any]]) -> list[tuple[int, str, Any]]:
    """A task's writes with the numbers by which a repeat is known.

    Of a task that has failed, or was cut off, what it wrote until then is left out: LangGraph takes a task that has
    written anything for done, and would go on without what it had still to write, such as the way on that the edge
    behind its node was about to choose. A graph that handles the error itself goes on with what there is.
    """
    channels = {channel for channel, _ in writes}
    unfinished = ERROR in channels and ERROR_SOURCE_NODE not in channels
    return [
        (WRITES_IDX_MAP.get(channel, number), channel, value)
        for number, (channel, value) in enumerate(writes)
        if channel in WRITES_IDX_MAP or not unfinished
    ]


def merged(rows: Iterable[tuple[str, str, list[tuple[int, str, Any]]]]) -> list[PendingWrite]:
    """The writes of all tasks of a checkpoint, from (task id, path, numbered writes) in the order they were stored.

    The first write of a number stays. Only a row of nothing but errors, interrupts and resumes replaces earlier ones.
    """
    kept: dict[tuple[str, int], tuple[str, PendingWrite]] = {}
    for task_id, path, writes in rows:
        replaces = all(number < 0 for number, _, _ in writes)
        for number, channel, value in writes:
            if replaces or (task_id, number) not in kept:
                kept[task_id, number] = (path, (task_id, channel, value))
    ordered = sorted(kept.items(), key=lambda item: writes_sort_key(item[1][0], *item[0]))
    return [write for _, (_, write) in ordered]
