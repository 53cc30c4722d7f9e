"""Large values of the log: each is stored once, as an artifact, to which rows refer by its name."""

import hashlib
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from langgraph.checkpoint.serde.base import SerializerProtocol
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.checkpoints.encoding import unpack
from graphmesh_orchestrator.checkpoints.rows import ArtifactRow
from graphmesh_orchestrator.checkpoints.tables import artifacts
from graphmesh_orchestrator.errors import StateTooLarge

StoredValue = bytes | str
"""A value as the data of a row hold it: packed, or the name of its artifact."""


@dataclass(frozen=True)
class StateLimits:
    """In bytes, of packed values."""

    artifact: int = 64 * 1024
    """A larger value is stored as an artifact."""
    state: int = 8 * 1024 * 1024
    """The most that all values of a checkpoint, or the writes that a task stores at once, may have together."""

    def check(self, sizes: Mapping[str, int]) -> None:
        """Raises StateTooLarge, which names the largest channel."""
        if (total := sum(sizes.values())) > self.state:
            largest = max(sizes, key=lambda channel: sizes[channel])
            raise StateTooLarge(bytes=total, limit=self.state, channel=largest, channel_bytes=sizes[largest])


@dataclass
class LargeValues:
    """Collects the artifacts of one row."""

    thread_id: str
    limit: int
    rows: dict[str, ArtifactRow] = field(default_factory=dict)
    """Artifacts by name."""

    def store(self, packed: bytes) -> StoredValue:
        """Return the value as the row holds it, and collect its artifact where it is larger than the limit."""
        if len(packed) <= self.limit:
            return packed
        row = artifact_row(self.thread_id, "value", packed)
        self.rows[row["name"]] = row
        return row["name"]


def artifact_row(thread_id: str, kind: str, data: bytes, media_type: str = "") -> ArtifactRow:
    """Return the row of an artifact. Equal bytes have the same name."""
    return {
        "thread_id": thread_id,
        "name": f"{kind}:{hashlib.sha256(data).hexdigest()}",
        "media_type": media_type,
        "stamp": time.time_ns(),
        "data": data,
    }


def artifact_names(values: Collection[StoredValue]) -> list[str] | None:
    """Return the names of the artifacts among values, for the column `refers`; None for no names."""
    return sorted({value for value in values if isinstance(value, str)}) or None


class ValueReader:
    """Unpacks values of one thread whose artifacts have been read."""

    def __init__(self, serde: SerializerProtocol, artifact_data: Mapping[str, bytes]) -> None:
        self._serde, self._artifact_data = serde, artifact_data

    @classmethod
    async def of(
        cls, connection: AsyncConnection, serde: SerializerProtocol, thread_id: str, values: Collection[StoredValue]
    ) -> "ValueReader":
        """Read the artifacts of values, each once."""
        names = artifact_names(values)
        if names is None:
            return cls(serde, {})
        query = sa.select(artifacts.c.name, artifacts.c.data).where(
            artifacts.c.thread_id == thread_id, artifacts.c.name.in_(names)
        )
        return cls(serde, {row.name: row.data for row in await connection.execute(query)})

    def unpack(self, value: StoredValue) -> Any:
        return unpack(self._serde, self._artifact_data[value] if isinstance(value, str) else value)
