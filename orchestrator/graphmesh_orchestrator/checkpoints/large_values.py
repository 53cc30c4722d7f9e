"""Large values of the log: each is stored once, as an artifact, to which rows refer by its name.

A value that extends the one before it, as a list of messages does, is stored as what was added: its artifact names that
of the value before as its base.
"""

import hashlib
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from langgraph.checkpoint.serde.base import SerializerProtocol
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.checkpoints.bodies import Body, Split, join
from graphmesh_orchestrator.checkpoints.encoding import NAMES, unpack
from graphmesh_orchestrator.checkpoints.stored_objects import UnreadableObject
from graphmesh_orchestrator.db.rows import ArtifactRow
from graphmesh_orchestrator.db.tables import artifacts
from graphmesh_orchestrator.errors import StateTooLarge, StateUnreadable

StoredValue = bytes | str
"""A value as the data of a row hold it: packed, or the name of its artifact."""
SMALL_BYTES = 4096
"""Up to so many bytes a value is stored in each row whole."""


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
    before: Mapping[str, Body] = field(default_factory=dict)
    """The bodies of the large values before, by channel. They are stored, or are stored with this row."""
    rows: dict[str, ArtifactRow] = field(default_factory=dict)
    """Artifacts by name."""
    bodies: dict[str, Body] = field(default_factory=dict)
    """Those of the collected values, by channel."""

    def store(self, channel: str, packed: bytes) -> StoredValue:
        """Return the value as the row holds it.

        Its artifact is collected where it extends the value before, or is larger than the limit.
        """
        if len(packed) <= min(SMALL_BYTES, self.limit):
            return packed
        split, before = Split.of(packed), self.before.get(channel)
        body, extends = split.body(before)
        if not extends and len(packed) <= self.limit:
            self.bodies[channel] = body
            return packed
        if before is not None and before.digest == body.digest and before.parts:
            self.bodies[channel] = before
            return before.parts[-1].name
        self.bodies[channel] = body = body.stored_after(before.parts if before is not None and extends else ())
        *kept, part = body.parts
        data, base = (split.without(kept[-1].end), kept[-1].name) if kept else (packed, None)
        self.rows[part.name] = _row(self.thread_id, part.name, data, base)
        return part.name


def artifact_row(thread_id: str, kind: str, data: bytes, media_type: str = "") -> ArtifactRow:
    """Return the row of an artifact. Equal bytes have the same name."""
    row = _row(thread_id, f"{kind}:{hashlib.sha256(data).hexdigest()}", data)
    return {**row, "media_type": media_type}


def _row(thread_id: str, name: str, data: bytes, base: str | None = None) -> ArtifactRow:
    return {
        "thread_id": thread_id,
        "name": name,
        "media_type": "",
        "stamp": time.time_ns(),
        "base": base,
        "data": data,
    }


def artifact_names(values: Collection[StoredValue]) -> list[str] | None:
    """Return the names of the artifacts among values, for the column `refers`; None for no names."""
    return sorted({value for value in values if isinstance(value, str)}) or None


def with_bases(names: Iterable[str], bases: Mapping[str, str]) -> set[str]:
    """Return artifacts with those that they extend, directly or not; `bases` are by the name of what extends them."""
    found: set[str] = set()
    for name in names:
        part: str | None = name
        while part is not None and part not in found:
            found.add(part)
            part = bases.get(part)
    return found


class ValueReader:
    """Unpacks values of one thread whose artifacts have been read."""

    def __init__(self, serde: SerializerProtocol, parts: Mapping[str, tuple[str | None, bytes]]) -> None:
        """`parts` are the bases and the data of artifacts by name."""
        self._serde, self._parts = serde, parts

    @classmethod
    async def of(
        cls, connection: AsyncConnection, serde: SerializerProtocol, thread_id: str, values: Collection[StoredValue]
    ) -> "ValueReader":
        """Read the artifacts of values, and those that they extend, each once."""
        names = artifact_names(values)
        if names is None:
            return cls(serde, {})
        rows = await connection.execute(_SELECT_PARTS, {"thread": thread_id, "names": names})
        return cls(serde, {row.name: (row.base, row.data) for row in rows})

    def size_of(self, values: Collection[StoredValue]) -> int:
        """Return the bytes of packed values, with the artifacts of all."""
        in_rows = sum(len(value) for value in values if isinstance(value, bytes))
        return in_rows + sum(len(data) for _, data in self._parts.values())

    def unpack(self, channel: str, value: StoredValue) -> Any:
        """Raises StateUnreadable."""
        try:
            return unpack(self._serde, self._joined(value) if isinstance(value, str) else value)
        except UnreadableObject as error:
            raise StateUnreadable(channel=NAMES.get(channel, channel), cause=error) from error

    def _joined(self, name: str) -> bytes:
        base, data = self._parts[name]
        if base is None:
            return data
        found = [data]
        while base is not None:
            base, data = self._parts[base]
            found.append(data)
        return join(found)


def _select_parts() -> sa.Select[Any]:
    """Return the query of artifacts by `thread` and `names`, with all that they extend."""
    is_on_thread = artifacts.c.thread_id == sa.bindparam("thread")
    on_thread = sa.select(artifacts.c.name, artifacts.c.base).where(is_on_thread)
    named = on_thread.where(artifacts.c.name.in_(sa.bindparam("names", expanding=True)))
    parts = named.cte("parts", recursive=True)
    parts = parts.union(on_thread.join(parts, artifacts.c.name == parts.c.base))
    columns = sa.select(artifacts.c.name, artifacts.c.base, artifacts.c.data)
    return columns.join(parts, artifacts.c.name == parts.c.name).where(is_on_thread)


_SELECT_PARTS = _select_parts()
