"""The port of threads, and its memory twin."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

from graphmesh_chassis.errors import AlreadyExists, NotFound

from graphmesh_orchestrator.db.memory_tables import MemoryTables
from graphmesh_orchestrator.db.rows import ThreadRow
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.threads.thread import Thread, ThreadStatus

NEVER_EXPIRES = -1.0
"""As `ttl_seconds`; 0: the setting holds."""


class Threads(Protocol):
    """The threads of all tenants."""

    async def create(
        self, tenant: str, thread_id: str, graph: str, labels: Mapping[str, str], ttl_seconds: float
    ) -> Thread:
        """Raises AlreadyExists."""

    async def get(self, tenant: str, thread_id: str) -> Thread:
        """Raises NotFound, also for another tenant's thread."""

    async def find(
        self,
        tenant: str,
        graph: str,
        status: ThreadStatus | None,
        before: tuple[datetime, str] | None,
        limit: int,
        id_prefix: str = "",
    ) -> Sequence[Thread]:
        """Return threads of a graph and a status, the newest first, from behind the (created, thread_id) `before`.

        An empty graph, no status and an empty `id_prefix` match all.
        """

    async def update(self, tenant: str, thread_id: str, labels: Mapping[str, str], ttl_seconds: float | None) -> Thread:
        """Set labels, of which an empty value deletes one, and the time to live unless it is None. Raises NotFound."""


class MemoryThreads:
    """Threads in memory."""

    def __init__(self, tables: MemoryTables, default_ttl: float = 0) -> None:
        """`default_ttl`, in seconds, is that of threads that state none; 0: they do not expire."""
        self._tables, self._default_ttl = tables, default_ttl

    async def create(
        self, tenant: str, thread_id: str, graph: str, labels: Mapping[str, str], ttl_seconds: float
    ) -> Thread:
        if (tenant, thread_id) in self._tables.threads:
            raise AlreadyExists(resource="thread", id=thread_id)
        now = datetime.now(UTC)
        self._tables.threads[tenant, thread_id] = {
            "tenant": tenant,
            "thread_id": thread_id,
            "graph": graph,
            "labels": dict(labels),
            "created": now,
            "used": now,
            "ttl_seconds": ttl_seconds,
        }
        return await self.get(tenant, thread_id)

    async def get(self, tenant: str, thread_id: str) -> Thread:
        return self._thread(self._row(tenant, thread_id))

    async def find(
        self,
        tenant: str,
        graph: str,
        status: ThreadStatus | None,
        before: tuple[datetime, str] | None,
        limit: int,
        id_prefix: str = "",
    ) -> Sequence[Thread]:
        threads = [
            thread
            for row in self._tables.threads.values()
            if row["tenant"] == tenant and graph in ("", row["graph"]) and row["thread_id"].startswith(id_prefix)
            for thread in [self._thread(row)]
            if status in (None, thread.status) and (before is None or (thread.created, thread.thread_id) < before)
        ]
        threads.sort(key=lambda thread: (thread.created, thread.thread_id), reverse=True)
        return threads[:limit]

    async def update(self, tenant: str, thread_id: str, labels: Mapping[str, str], ttl_seconds: float | None) -> Thread:
        row = self._row(tenant, thread_id)
        row["labels"] = merged_labels(row["labels"], labels)
        row["ttl_seconds"] = row["ttl_seconds"] if ttl_seconds is None else ttl_seconds
        return self._thread(row)

    def _row(self, tenant: str, thread_id: str) -> ThreadRow:
        if (tenant, thread_id) not in self._tables.threads:
            raise NotFound(resource="thread", id=thread_id)
        return self._tables.threads[tenant, thread_id]

    def _thread(self, row: ThreadRow) -> Thread:
        runs = self._tables.runs_on_thread(row["tenant"], row["thread_id"])
        used = [moment for run in runs if (moment := run["ended"] or run["started"])]
        holder = next((run["status"] for run in runs if run["holds_thread"]), None)
        return thread_of(row, max(used, default=None), holder, self._default_ttl)


def merged_labels(labels: Mapping[str, str], changes: Mapping[str, str]) -> dict[str, str]:
    """Return labels with changes applied, of which an empty value deletes a label."""
    return {name: value for name, value in {**labels, **changes}.items() if value}


def thread_of(row: ThreadRow, run_used: datetime | None, holder: str | None, default_ttl: float) -> Thread:
    """Make a thread of its row, the last time that a run began or ended, and the status of the run that holds it."""
    ttl = row["ttl_seconds"] or default_ttl
    return Thread(
        row["thread_id"],
        row["tenant"],
        row["graph"],
        row["labels"],
        row["created"],
        max(row["used"], run_used or row["used"]),
        _status(holder),
        timedelta(seconds=ttl) if ttl > 0 else None,
    )


def _status(holder: str | None) -> ThreadStatus:
    if holder is None:
        return ThreadStatus.IDLE
    return ThreadStatus.INTERRUPTED if holder == RunStatus.INTERRUPTED else ThreadStatus.BUSY
