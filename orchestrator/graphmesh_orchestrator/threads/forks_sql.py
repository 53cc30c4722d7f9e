"""Forks and artifacts of threads: operations on the checkpoint log, which LangGraph's checkpointers do not have."""

import sqlalchemy as sa
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import NotFound
from graphmesh_contracts.keys import checkpoint_thread
from langgraph.checkpoint.serde.base import SerializerProtocol

from graphmesh_orchestrator.checkpoints.fork import fork_thread
from graphmesh_orchestrator.db.tables import artifacts
from graphmesh_orchestrator.threads.thread import Thread
from graphmesh_orchestrator.threads.threads_sql import SqlThreads, insert_thread, lock


class SqlForks:
    """Forks of the threads of all tenants, and their artifacts. Every method also raises DatabaseUnavailable."""

    def __init__(self, database: Database, threads: SqlThreads, serde: SerializerProtocol) -> None:
        self._database, self._threads, self._serde = database, threads, serde

    async def fork(self, tenant: str, source_id: str, checkpoint_id: str, thread_id: str) -> Thread:
        """Create a thread with the history of another one up to a checkpoint; empty: the newest.

        The fork has the other's graph, labels and time to live. A run that holds the other thread continues.

        Raises:
            NotFound: there is no such thread, or it has no such checkpoint.
            AlreadyExists: the thread `thread_id` exists.
        """
        source, target = checkpoint_thread(tenant, source_id), checkpoint_thread(tenant, thread_id)
        async with self._database.transaction() as connection:
            row = await lock(connection, tenant, source_id)
            values = {name: row._mapping[name] for name in ("graph", "labels", "ttl_seconds")}
            await insert_thread(connection, self._database, tenant, thread_id, **values)
            copied = await fork_thread(connection, self._serde, source, target, checkpoint_id)
            if checkpoint_id and not copied:
                raise NotFound(resource="checkpoint", id=checkpoint_id)
            return await self._threads.read(connection, tenant, thread_id)

    async def artifact(self, tenant: str, thread_id: str, digest: str) -> tuple[str, bytes]:
        """Return the media type and the bytes of an artifact of a thread. Raises NotFound."""
        match = (
            artifacts.c.thread_id == checkpoint_thread(tenant, thread_id),
            artifacts.c.name == f"artifact:{digest}",
        )
        async with self._database.read() as connection:
            await self._threads.read(connection, tenant, thread_id)
            query = sa.select(artifacts.c.media_type, artifacts.c.data).where(*match)
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise NotFound(resource="artifact", id=digest)
        return row.media_type, row.data
