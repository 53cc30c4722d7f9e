"""The artifacts of a thread, in the table that big values of its checkpoints are in too."""

import sqlalchemy as sa
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import NotFound
from graphmesh_nodes.artifacts import SCHEME, check_size

from graphmesh_orchestrator.checkpoints.config_keys import Claim
from graphmesh_orchestrator.checkpoints.entries import Entry
from graphmesh_orchestrator.checkpoints.group_commit import GroupCommit
from graphmesh_orchestrator.checkpoints.large_values import artifact
from graphmesh_orchestrator.checkpoints.retry_reads import patient
from graphmesh_orchestrator.checkpoints.tables import artifacts


class SqlArtifacts:
    """See `Artifacts`. What is put is stored under the run's epoch, by the group commit."""

    def __init__(self, database: Database, commits: GroupCommit, thread_id: str, claim: Claim | None) -> None:
        self._database, self._commits = database, commits
        self._thread_id, self._claim = thread_id, claim

    async def put(self, data: bytes, media_type: str = "application/octet-stream") -> str:
        check_size(data)
        row = artifact(self._thread_id, SCHEME, data, media_type)
        await self._commits.store(Entry(self._claim, artifacts=[row]))
        return str(row["name"])

    @patient
    async def get(self, uri: str) -> bytes:
        place = (artifacts.c.thread_id == self._thread_id, artifacts.c.name == uri)
        ours = sa.select(artifacts.c.data).where(*place, artifacts.c.name.startswith(f"{SCHEME}:"))
        async with self._database.read() as connection:
            data = (await connection.execute(ours)).scalar()
        if data is None:
            raise NotFound(resource="artifact", id=uri)
        return bytes(data)
