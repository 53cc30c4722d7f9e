"""Checkpoints and task writes as bytes, by LangGraph's serializer."""

from asyncio import CancelledError
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
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME, TASKS

from graphmesh_orchestrator.checkpoints.bodies import Body, Part

NAMES = {
    **dict.fromkeys(("__end__", "__return__", "__previous__"), "result"),
    INTERRUPT: "interrupt",
    ERROR: "error",
    TASKS: "sends",
}
"""The names by which errors name the channels of LangGraph's own."""


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
    value_rows: Mapping[str, str]
    """The id of the row that holds a channel's value, for every channel that has one."""
    sizes: Mapping[str, int]
    """The bytes of those values."""
    bodies: Mapping[str, Body]
    """The bodies of those of them that are large."""

    @classmethod
    def of(
        cls,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        value_rows: Mapping[str, str],
        sizes: Mapping[str, int],
        bodies: Mapping[str, Body],
    ) -> "Head":
        without_values = {key: value for key, value in checkpoint.items() if key != "channel_values"}
        return cls(without_values, metadata, value_rows, sizes, bodies)

    @classmethod
    def unpacked(cls, serde: SerializerProtocol, packed: bytes) -> "Head":
        checkpoint, metadata, rows, sizes, bodies = unpack(serde, packed)
        value_rows = {channel: row or checkpoint["id"] for row, channels in rows.items() for channel in channels}
        return cls(checkpoint, metadata, value_rows, sizes, {name: _body(*body) for name, body in bodies.items()})

    def packed(self, serde: SerializerProtocol) -> bytes:
        """Each row's id is written once, and the head's own as an empty string: ids are most of the bytes of a head."""
        rows: dict[str, list[str]] = {}
        for channel, row in self.value_rows.items():
            rows.setdefault("" if row == self.id else row, []).append(channel)
        bodies = {
            name: [body.digest, body.size, [[part.digest, part.end] for part in body.parts]]
            for name, body in self.bodies.items()
        }
        return pack(serde, [self.checkpoint, self.metadata, rows, self.sizes, bodies])

    @property
    def id(self) -> str:
        return str(self.checkpoint["id"])

    @property
    def versions(self) -> Mapping[str, Any]:
        return cast(Mapping[str, Any], self.checkpoint["channel_versions"])

    def with_values(self, values: Mapping[str, Mapping[str, Any]]) -> Checkpoint:
        """Return the whole checkpoint. `values` are by the id of the row that holds them, and by channel."""
        channel_values = {channel: values[row][channel] for channel, row in self.value_rows.items()}
        return cast(Checkpoint, {**self.checkpoint, "channel_values": channel_values})


def _body(digest: bytes, size: int, parts: Sequence[tuple[bytes, int]]) -> Body:
    return Body(digest, size, tuple(Part(*part) for part in parts))


def number_writes(writes: Sequence[tuple[str, Any]]) -> list[tuple[int, str, Any]]:
    """Return a task's writes as (number, channel, value), with the numbers that identify a repeat.

    Of a task that has failed, or was cut off, the writes until then are left out: LangGraph takes a task with any
    write for finished, and would resume without its missing writes, such as the next node, which the edge behind its
    node was about to choose. A graph that handles the error itself continues with the writes that there are.
    """
    writes = without_answers_of_cut_off(writes)
    channels = {channel for channel, _ in writes}
    is_unfinished = ERROR in channels and ERROR_SOURCE_NODE not in channels
    return [
        (WRITES_IDX_MAP.get(channel, number), channel, value)
        for number, (channel, value) in enumerate(writes)
        if channel in WRITES_IDX_MAP or not is_unfinished
    ]


def without_answers_of_cut_off(writes: Sequence[tuple[str, Any]]) -> Sequence[tuple[str, Any]]:
    """Return a task's writes without the answers that it has used, if it was cut off.

    It is executed again with the answer to the interrupt that is stored. With the used answer, LangGraph would take
    that for the answer to the next interrupt of the task.
    """
    if any(channel == ERROR and isinstance(value, CancelledError) for channel, value in writes):
        return [(channel, value) for channel, value in writes if channel != RESUME]
    return writes


def merge_writes(rows: Iterable[tuple[str, str, list[tuple[int, str, Any]]]]) -> list[PendingWrite]:
    """Merge the writes of all tasks of a checkpoint, from (task id, path, numbered writes) in the order of storage.

    The first write of a number is kept. Only a row of nothing but errors, interrupts and resumes replaces earlier ones.
    """
    kept: dict[tuple[str, int], tuple[str, PendingWrite]] = {}
    for task_id, path, writes in rows:
        replaces = all(number < 0 for number, _, _ in writes)
        for number, channel, value in writes:
            if replaces or (task_id, number) not in kept:
                kept[task_id, number] = (path, (task_id, channel, value))
    ordered = sorted(kept.items(), key=lambda item: writes_sort_key(item[1][0], *item[0]))
    return [write for _, (_, write) in ordered]
