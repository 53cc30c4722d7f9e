"""The artifacts of a thread, in the table that holds the large values of its checkpoints too."""

import sqlalchemy as sa
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import NotFound
from graphmesh_chassis.own_loop import OwnLoop, on_own_loop
from graphmesh_nodes.artifacts import MAX_BYTES, SCHEME, check_size

from graphmesh_orchestrator.checkpoints.config_keys import RunEpoch
from graphmesh_orchestrator.checkpoints.entries import Commits, Entry
from graphmesh_orchestrator.checkpoints.large_values import artifact_row
from graphmesh_orchestrator.checkpoints.retry_reads import RETRY_SECONDS, retry_while_unavailable
from graphmesh_orchestrator.db.tables import artifacts


class SqlArtifacts:
    """See `Artifacts`. They are stored under the run's epoch, by the group commit."""

    def __init__(
        self,
        database: Database,
        commits: Commits,
        thread_id: str,
        run_epoch: RunEpoch | None,
        *,
        max_bytes: int = MAX_BYTES,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._database, self._commits = database, commits
        self._thread_id, self._run_epoch = thread_id, run_epoch
        self._max_bytes, self.retry_seconds = max_bytes, retry_seconds
        self._loop = OwnLoop("await the artifacts of a thread")

    @on_own_loop
    async def put(self, data: bytes, media_type: str = "application/octet-stream") -> str:
        check_size(data, self._max_bytes)
        row = artifact_row(self._thread_id, SCHEME, data, media_type)
        await self._commits.store(Entry(self._run_epoch, artifacts=[row]))
        return row["name"]

    @on_own_loop
    @retry_while_unavailable
    async def get(self, uri: str) -> bytes:
        is_named = (artifacts.c.thread_id == self._thread_id, artifacts.c.name == uri)
        query = sa.select(artifacts.c.data).where(*is_named, artifacts.c.name.startswith(f"{SCHEME}:"))
        async with self._database.read() as connection:
            data = (await connection.execute(query)).scalar()
        if data is None:
            raise NotFound(resource="artifact", id=uri)
        return bytes(data)
