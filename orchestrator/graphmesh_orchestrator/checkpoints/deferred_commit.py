"""What a graph writes, kept back to be stored in a transaction that changes other things too."""

from graphmesh_chassis.database import Database
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.checkpoints.entries import Entry, Source
from graphmesh_orchestrator.checkpoints.group_commit import GroupCommit
from graphmesh_orchestrator.checkpoints.tables import task_writes


class Draft(GroupCommit):
    """Given to a `LogSaver` in place of the group commit: nothing is stored before `write`.

    The saver reads what was stored before, so a draft is for writers that do not read their own writes, as
    `aupdate_state`.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._entries: list[Entry] = []

    async def store(self, source: Source) -> None:
        self._entries.append(source.taken())

    async def write(self, connection: AsyncConnection) -> None:
        """Store it in the transaction of `connection`. Raises CheckpointConflict."""
        outcomes: list[Exception | None] = [None] * len(self._entries)
        await self._add_checkpoints(connection, self._entries, outcomes)
        if refused := next(filter(None, outcomes), None):
            raise refused
        await self._add(connection, task_writes, [row for entry in self._entries for row in entry.writes])
        await self._add_artifacts(connection, [row for entry in self._entries for row in entry.artifacts])
        for entry in self._entries:
            for table, rows in entry.further.items():
                await self._add(connection, table, rows)
