"""The port that deletes threads and runs with everything that belongs to them, and its memory twin."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from graphmesh_chassis.errors import NotFound
from graphmesh_contracts.keys import checkpoint_thread
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver

from graphmesh_orchestrator.db.memory_tables import MemoryTables
from graphmesh_orchestrator.db.rows import RunRow, ThreadRow
from graphmesh_orchestrator.errors import ThreadBusy
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.threads.thread import Deleted
from graphmesh_orchestrator.webhooks.delivery import DeliveryStatus


class Deletion(Protocol):
    """Deletes and prunes threads, each of them as a whole, and runs that have ended."""

    async def delete(self, tenant: str, thread_id: str) -> Deleted:
        """Delete a thread, in one transaction. A process that still writes for one of its runs is fenced.

        Raises:
            NotFound: there is no such thread.
            ThreadBusy: a run holds it, or waits for it.
        """

    async def prune(self, tenant: str, unused_for: timedelta, delete: bool, dry_run: bool) -> Deleted:
        """Delete the tenant's threads that are unused for so long and have no active run, or all but their last state.

        Several transactions do it, some threads each. A dry run makes the same changes and rolls them back.
        """

    async def expire(self) -> int:
        """Delete some threads, of all tenants, whose time to live is over. Returns their number.

        Several processes may do this at a time: each takes other threads.
        """

    async def delete_runs(self, ended_before: datetime) -> int:
        """Delete some runs, of all tenants, that ended before, with their events. Returns their number.

        A run whose delivery is pending is kept.
        """


class MemoryDeletion:
    """Deletes threads and runs in memory, and the checkpoints of threads through a saver."""

    def __init__(self, tables: MemoryTables, saver: BaseCheckpointSaver[Any], default_ttl: float = 0) -> None:
        """`default_ttl`, in seconds, is that of threads that state none; 0: they do not expire."""
        self._tables, self._saver, self._default_ttl = tables, saver, default_ttl

    async def delete(self, tenant: str, thread_id: str) -> Deleted:
        if (tenant, thread_id) not in self._tables.threads:
            raise NotFound(resource="thread", id=thread_id)
        row = self._tables.threads[tenant, thread_id]
        occupants = [run for run in self._runs(row) if not RunStatus(run["status"]).is_final]
        if occupants:
            first = min(occupants, key=lambda run: (not run["holds_thread"], run["created"]))
            raise ThreadBusy(thread=thread_id, run=first["run_id"])
        return await self._delete(row)

    async def prune(self, tenant: str, unused_for: timedelta, delete: bool, dry_run: bool) -> Deleted:
        since, total = datetime.now(UTC) - unused_for, Deleted()
        for row in [row for row in self._tables.threads.values() if row["tenant"] == tenant]:
            if self._last_use(row) <= since and self._is_idle(row):
                total += await (self._delete if delete else self._keep_latest)(row, dry_run=dry_run)
        return total

    async def expire(self) -> int:
        now = datetime.now(UTC)
        expired = []
        for row in self._tables.threads.values():
            ttl = row["ttl_seconds"] or self._default_ttl
            if ttl > 0 and self._last_use(row) + timedelta(seconds=ttl) <= now and self._is_idle(row):
                expired.append(row)
        for row in expired:
            await self._delete(row)
        return len(expired)

    async def delete_runs(self, ended_before: datetime) -> int:
        undelivered = {
            row["run_id"] for row in self._tables.deliveries.values() if row["status"] == DeliveryStatus.PENDING
        }
        gone = [
            row["run_id"]
            for row in self._tables.runs.values()
            if row["ended"] and row["ended"] < ended_before and row["run_id"] not in undelivered
        ]
        for run_id in gone:
            self._tables.delete_run(run_id)
        return len(gone)

    async def _delete(self, row: ThreadRow, *, dry_run: bool = False) -> Deleted:
        runs, thread = self._runs(row), checkpoint_thread(row["tenant"], row["thread_id"])
        deleted = Deleted(1, len(runs), (await self._checkpoints(row)).total())
        if not dry_run:
            for run in runs:
                self._tables.delete_run(run["run_id"])
            del self._tables.threads[row["tenant"], row["thread_id"]]
            await self._saver.adelete_thread(thread)
        return deleted

    async def _keep_latest(self, row: ThreadRow, *, dry_run: bool) -> Deleted:
        stored = await self._checkpoints(row)
        deleted = stored.total() - len(stored)
        if not dry_run:
            await self._saver.aprune([checkpoint_thread(row["tenant"], row["thread_id"])])
        return Deleted(1 if deleted else 0, 0, deleted)

    def _runs(self, row: ThreadRow) -> list[RunRow]:
        return self._tables.runs_on_thread(row["tenant"], row["thread_id"])

    def _is_idle(self, row: ThreadRow) -> bool:
        return all(run["ended"] for run in self._runs(row))

    def _last_use(self, row: ThreadRow) -> datetime:
        return max([row["used"], *(run["ended"] for run in self._runs(row) if run["ended"])])

    async def _checkpoints(self, row: ThreadRow) -> Counter[str]:
        """Count the checkpoints of a thread by namespace."""
        config: RunnableConfig = {"configurable": {"thread_id": checkpoint_thread(row["tenant"], row["thread_id"])}}
        return Counter([found.config["configurable"]["checkpoint_ns"] async for found in self._saver.alist(config)])
