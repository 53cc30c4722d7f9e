"""What LangGraph's delta channels are rebuilt from: a value that an ancestor has, and what was written since."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from langgraph.checkpoint.base import DeltaChannelHistory, PendingWrite
from langgraph.checkpoint.serde.base import SerializerProtocol
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.checkpoints.config_keys import Place
from graphmesh_orchestrator.checkpoints.encoding import Head
from graphmesh_orchestrator.checkpoints.queries import older
from graphmesh_orchestrator.checkpoints.reading import Found

PAGE = 64
"""Rows that are read at once."""


class History:
    """The ancestors of a checkpoint, back to where each of some channels has a value."""

    def __init__(self, channels: Sequence[str]) -> None:
        self._channels = channels
        self._seeds: dict[str, str] = {}
        """The id of the ancestor that has a channel's value."""
        self.line: list[Found] = []
        """The newest first."""

    @property
    def seeding(self) -> list[Found]:
        return [(row, head) for row, head in self.line if row.checkpoint_id in self._seeds.values()]

    async def walk(self, connection: AsyncConnection, serde: SerializerProtocol, target: sa.Row[Any] | None) -> None:
        """An ancestor is older than its children, so they are met in the order of their stamps."""
        if target is None:
            return
        wanted = target.parent_id
        async for row in _older(connection, target):
            if row.checkpoint_id == wanted:
                self._add(row, Head.unpacked(serde, row.head))
                wanted = row.parent_id
            if wanted is None or len(self._seeds) == len(self._channels):
                return

    def _add(self, row: sa.Row[Any], head: Head) -> None:
        self.line.append((row, head))
        for channel in self._channels:
            if channel in head.homes:
                self._seeds.setdefault(channel, row.checkpoint_id)

    def told(
        self, values: Mapping[str, Mapping[str, Any]], writes: Mapping[Place, Sequence[PendingWrite]]
    ) -> Mapping[str, DeltaChannelHistory]:
        """As LangGraph wants it, from the values of `seeding`, by their ids, and the writes of `line`."""
        return {channel: self._of(channel, values, writes) for channel in self._channels}

    def _of(
        self,
        channel: str,
        values: Mapping[str, Mapping[str, Any]],
        writes: Mapping[Place, Sequence[PendingWrite]],
    ) -> DeltaChannelHistory:
        seed = self._seeds.get(channel, "")
        found: list[PendingWrite] = []
        for row, _ in self.line:
            place = Place(row.thread_id, row.ns, row.checkpoint_id)
            found = [write for write in writes[place] if write[1] == channel] + found
            if row.checkpoint_id == seed and channel in values[seed]:
                return {"writes": found, "seed": values[seed][channel]}
        return {"writes": found}


async def _older(connection: AsyncConnection, row: sa.Row[Any]) -> AsyncIterator[sa.Row[Any]]:
    """The checkpoints of the same namespace that are older, the newest first, read a page at a time."""
    while True:
        page = (await connection.execute(older(row, PAGE))).all()
        for row in page:
            yield row
        if len(page) < PAGE:
            return
