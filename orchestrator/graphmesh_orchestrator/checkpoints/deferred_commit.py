"""Keeps entries back, to store them in a transaction that changes other rows too."""

from graphmesh_chassis.database import Database
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.checkpoints.batch_writer import Outcome
from graphmesh_orchestrator.checkpoints.entries import Entry, Source
from graphmesh_orchestrator.checkpoints.group_commit_sql import SqlBatchWriter


class DeferredCommit:
    """Takes the place of the group commit of a `LogSaver`: nothing is stored before `write`.

    The saver reads what was stored before, so it is for writers that do not read their own writes, as `aupdate_state`.
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
