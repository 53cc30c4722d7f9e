"""The history of LangGraph's delta channels: a channel is rebuilt from an ancestor's value and the writes since."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from langgraph.checkpoint.base import DeltaChannelHistory, PendingWrite
from langgraph.checkpoint.serde.base import SerializerProtocol
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.checkpoints.config_keys import CheckpointRef
from graphmesh_orchestrator.checkpoints.encoding import Head
from graphmesh_orchestrator.checkpoints.queries import PAGE, select_older
from graphmesh_orchestrator.checkpoints.reading import HeadRow, Values, ref_of

Writes = Mapping[CheckpointRef, Sequence[PendingWrite]]


class DeltaHistory:
    """The ancestors of a checkpoint, back to where each of some channels has a value."""

    def __init__(self, channels: Sequence[str]) -> None:
        self._channels = channels
        self._seeds: dict[str, str] = {}
        """The id of the nearest ancestor that has a channel's value."""
        self.ancestors: list[HeadRow] = []
        """The newest first."""

    @property
    def seeds(self) -> list[HeadRow]:
        """The ancestors whose values the channels are rebuilt from."""
        return [(row, head) for row, head in self.ancestors if row.checkpoint_id in self._seeds.values()]

    async def read_ancestors(
        self, connection: AsyncConnection, serde: SerializerProtocol, target: sa.Row[Any] | None
    ) -> None:
        """An ancestor is older than its children, so that ancestors are read in the order of their stamps."""
        if target is None:
            return
        parent_id = target.parent_id
        async for row in _read_older(connection, target):
            if row.checkpoint_id == parent_id:
                self._add(row, Head.unpacked(serde, row.head))
                parent_id = row.parent_id
            if parent_id is None or len(self._seeds) == len(self._channels):
                return

    def _add(self, row: sa.Row[Any], head: Head) -> None:
        self.ancestors.append((row, head))
        for channel in self._channels:
            if channel in head.value_rows:
                self._seeds.setdefault(channel, row.checkpoint_id)

    def by_channel(self, values: Values, writes: Writes) -> Mapping[str, DeltaChannelHistory]:
        """Return LangGraph's histories, from the values of `seeds`, by checkpoint, and the writes of `ancestors`."""
        return {channel: self._channel_history(channel, values, writes) for channel in self._channels}

    def _channel_history(self, channel: str, values: Values, writes: Writes) -> DeltaChannelHistory:
        seed = self._seeds.get(channel, "")
        history: list[PendingWrite] = []
        for row, _ in self.ancestors:
            history = [write for write in writes[ref_of(row)] if write[1] == channel] + history
            if row.checkpoint_id == seed and channel in values[seed]:
                return {"writes": history, "seed": values[seed][channel]}
        return {"writes": history}


async def _read_older(connection: AsyncConnection, row: sa.Row[Any]) -> AsyncIterator[sa.Row[Any]]:
    """Yield the older checkpoints of the same namespace, the newest first, read a page at a time."""
    while True:
        page = (await connection.execute(select_older(row))).all()
        for row in page:
            yield row
        if len(page) < PAGE:
            return
