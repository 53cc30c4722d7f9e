"""Keeps entries back, to store them in a transaction that changes other rows too."""

from graphmesh_chassis.database import Database
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.checkpoints.batch_writer import Outcome
from graphmesh_orchestrator.checkpoints.entries import Entry, Source
from graphmesh_orchestrator.checkpoints.group_commit_sql import SqlBatchWriter


class DeferredCommit:
    """A replacement of a saver's group commit that stores nothing before `write`.

    The saver does not read the entries that are kept back, so its user must not read its own writes; `aupdate_state`
    does not.
    """

    def __init__(self, database: Database) -> None:
        self._writer = SqlBatchWriter(database)
        self._entries: list[Entry] = []

    async def store(self, source: Source) -> None:
        self._entries.append(source.take())

    def wake(self) -> None:
        """Nothing is waiting."""

    async def write(self, connection: AsyncConnection) -> None:
        """Store the entries in the transaction of `connection`. Raises CheckpointConflict."""
        outcomes: list[Outcome] = [None] * len(self._entries)
        await self._writer.add_rows(connection, self._entries, outcomes)
        if refused := next(filter(None, outcomes), None):
            raise refused
