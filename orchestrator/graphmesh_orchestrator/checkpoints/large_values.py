"""What is too big for a row is stored aside, once, and the row refers to it by its name."""

import hashlib
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from langgraph.checkpoint.serde.base import SerializerProtocol
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.checkpoints.encoding import unpack
from graphmesh_orchestrator.checkpoints.tables import artifacts
from graphmesh_orchestrator.errors import StateTooLarge

Slot = bytes | str
"""A packed value in a row, or the name of the artifact that it is."""


@dataclass(frozen=True)
class Bounds:
    """In bytes, of values as they are packed."""

    artifact: int = 64 * 1024
    """A value that has more is stored aside."""
    state: int = 8 * 1024 * 1024
    """All values of a checkpoint together; also what one task may write at once."""

    def check(self, sizes: Mapping[str, int]) -> None:
        """Raises StateTooLarge, which names the biggest channel."""
        if (total := sum(sizes.values())) > self.state:
            biggest = max(sizes, key=lambda channel: sizes[channel])
            raise StateTooLarge(bytes=total, limit=self.state, channel=biggest, channel_bytes=sizes[biggest])


@dataclass
class Aside:
    """What of one row is stored aside."""

    thread_id: str
    bound: int
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Artifacts by name."""

    def slot(self, packed: bytes) -> Slot:
        """What stands in the row for a value."""
        if len(packed) <= self.bound:
            return packed
        row = artifact(self.thread_id, "value", packed)
        self.rows[row["name"]] = row
        return str(row["name"])


def artifact(thread_id: str, kind: str, data: bytes, media_type: str = "") -> dict[str, Any]:
    """The row of an artifact; the same bytes have the same name."""
    name = f"{kind}:{hashlib.sha256(data).hexdigest()}"
    return {
        "thread_id": thread_id,
        "name": name,
        "media_type": media_type,
        "stamp": time.time_ns(),
        "data": data,
    }


def referred(slots: Collection[Slot]) -> list[str] | None:
    """The names among slots, for the column `refers`."""
    return sorted({slot for slot in slots if isinstance(slot, str)}) or None


class Contents:
    """The values of slots of one thread, each read and unpacked once."""

    def __init__(self, serde: SerializerProtocol, aside: Mapping[str, bytes]) -> None:
        self._serde, self._aside = serde, aside

    @classmethod
    async def of(
        cls, connection: AsyncConnection, serde: SerializerProtocol, thread_id: str, slots: Collection[Slot]
    ) -> "Contents":
        """Read what of the slots is stored aside."""
        names: Sequence[str] = referred(slots) or ()
        if not names:
            return cls(serde, {})
        query = sa.select(artifacts.c.name, artifacts.c.data).where(
            artifacts.c.thread_id == thread_id, artifacts.c.name.in_(names)
        )
        return cls(serde, {row.name: row.data for row in await connection.execute(query)})

    def value(self, slot: Slot) -> Any:
        return unpack(self._serde, self._aside[slot] if isinstance(slot, str) else slot)
