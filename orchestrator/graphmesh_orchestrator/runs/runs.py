"""The port of runs and their events, and its memory twin."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from itertools import accumulate
from typing import Any, Protocol, cast

from graphmesh_chassis.errors import NotFound

from graphmesh_orchestrator.db.clock import LEASE_SECONDS
from graphmesh_orchestrator.db.memory_tables import MemoryTables
from graphmesh_orchestrator.db.rows import RunRow
from graphmesh_orchestrator.errors import QueueFull, RequestIdReused, WrongGraph
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.admission import admitted, preemption_reason
from graphmesh_orchestrator.runs.events import EventBatch
from graphmesh_orchestrator.runs.rows import CONTENTS, columns_of, run_of
from graphmesh_orchestrator.runs.run import EventPage, Multitask, Run, RunProgress, StreamMode

MAX_PENDING = 10_000
"""The default for the pending runs of a tenant."""
RETRY_SECONDS = 5.0
"""The `RetryInfo` of a run that is refused because too many are pending."""


class Runs(Protocol):
    """The runs of all tenants."""

    async def add(self, run: Run, worker: str) -> Run:
        """Store a new run, or return the run that the same request created before.

        A run whose time and turn have come is held by `worker` from the start; without a worker, any may claim it.
        Other runs wait until `PendingRuns.admit` gives them their thread.

        Raises:
            ThreadBusy: another run holds the thread, and the run's strategy is to be rejected.
            WrongGraph: the thread is bound to another graph.
            QueueFull: too many runs of the tenant are pending.
            RequestIdReused: the request_id was used with another body.
        """

    async def get(self, tenant: str, run_id: str) -> Run:
        """Raises NotFound, also for another tenant's run."""

    async def modes(self, tenant: str, run_id: str) -> Collection[StreamMode]:
        """Return the contents of a run's events. Raises NotFound as `get`."""

    async def progress(self, run_ids: Collection[str]) -> Mapping[str, RunProgress]:
        """Return the progress of runs by id; runs that do not exist are missing."""

    async def find(
        self,
        tenant: str,
        columns: Mapping[str, str],
        before: tuple[datetime, str] | None,
        limit: int,
        id_prefix: str = "",
        *,
        contents: bool = True,
    ) -> Sequence[Run]:
        """Return runs whose columns have these values, the newest first, from behind the (created, run_id) `before`.

        Their ids begin with `id_prefix`.
        Without `contents` input and output are not read, and None.
        """

    async def request_cancellation(self, tenant: str, run_id: str, reason: str) -> Run:
        """Record that a run is to be ended, unless it has ended; the first reason is kept. Raises NotFound."""

    async def rolled_back(self, run: Run) -> Sequence[str]:
        """Return the runs on the same thread whose writes are to be deleted."""

    async def mark_reverted(self, run_ids: Collection[str]) -> None:
        """Record that the writes of rolled back runs are deleted."""

    async def events(self, run_id: str, after_seq: int, limit: int) -> EventPage:
        """Return the progress of a run, and its first `limit` batches of events after `after_seq`.

        Fewer where they would have more than `PAGE_BYTES`; one batch may have more.
        """


PAGE_BYTES = 2 * 1024 * 1024
"""The most bytes of events that are read at once; one batch may have more."""


class MemoryRuns:
    """Runs in memory."""

    def __init__(self, tables: MemoryTables, max_pending: int = MAX_PENDING) -> None:
        self._tables, self._max_pending = tables, max_pending

    async def add(self, run: Run, worker: str) -> Run:
        if earlier := self._by_request(run):
            return earlier
        self._require_graph(run)
        stored = admitted(run, self._before(run), worker)
        if stored.status is RunStatus.PENDING:
            self._require_capacity(run.identity.tenant)
        self._bind_thread(run)
        is_held = stored.status is RunStatus.RUNNING
        lease_expires = self._tables.clock() + LEASE_SECONDS if is_held else 0.0
        columns = cast(dict[str, Any], columns_of(stored))
        lease = {"lease_owner": worker if is_held else "", "lease_expires": lease_expires}
        self._tables.add_run(cast(RunRow, {**columns, **lease}))
        if is_ready(self._tables, self._tables.runs[run.run_id]):
            preempt(self._tables, stored)
        return stored

    async def get(self, tenant: str, run_id: str) -> Run:
        row = self._tables.runs.get(run_id)
        if row is None or row["tenant"] != tenant:
            raise NotFound(resource="run", id=run_id)
        return run_of(row)

    async def modes(self, tenant: str, run_id: str) -> Collection[StreamMode]:
        return (await self.get(tenant, run_id)).request.modes

    async def progress(self, run_ids: Collection[str]) -> Mapping[str, RunProgress]:
        found = {run_id: self._tables.runs[run_id] for run_id in run_ids if run_id in self._tables.runs}
        return {run_id: RunProgress(RunStatus(row["status"]), row["last_seq"]) for run_id, row in found.items()}

    async def find(
        self,
        tenant: str,
        columns: Mapping[str, str],
        before: tuple[datetime, str] | None,
        limit: int,
        id_prefix: str = "",
        *,
        contents: bool = True,
    ) -> Sequence[Run]:
        rows = [
            row
            for row in self._tables.runs.values()
            if row["tenant"] == tenant
            and row["run_id"].startswith(id_prefix)
            and all(cast(Mapping[str, Any], row)[name] == value for name, value in columns.items())
            and (before is None or (row["created"], row["run_id"]) < before)
        ]
        rows.sort(key=lambda row: (row["created"], row["run_id"]), reverse=True)
        hidden = {} if contents else dict.fromkeys(CONTENTS)
        return [run_of({**row, **hidden}) for row in rows[:limit]]

    async def request_cancellation(self, tenant: str, run_id: str, reason: str) -> Run:
        run = await self.get(tenant, run_id)
        cancel(self._tables.runs[run_id], reason)
        return await self.get(tenant, run.run_id)

    async def rolled_back(self, run: Run) -> Sequence[str]:
        return [row["run_id"] for row in rows_on_thread(self._tables, run) if row["rolled_back"]]

    async def mark_reverted(self, run_ids: Collection[str]) -> None:
        for run_id in self._tables.runs.keys() & set(run_ids):
            self._tables.runs[run_id]["rolled_back"] = False

    async def events(self, run_id: str, after_seq: int, limit: int) -> EventPage:
        stored = self._tables.events.get(run_id, {})
        rows = [stored[seq] for seq in sorted(stored) if seq > after_seq][:limit]
        ends = accumulate(len(row["data"]) for row in rows)
        fitting = [row for row, end in zip(rows, ends, strict=True) if row is rows[0] or end <= PAGE_BYTES]
        batches = [EventBatch.of(row).after(after_seq) for row in fitting]
        return EventPage(batches, (await self.progress([run_id])).get(run_id))

    def _by_request(self, run: Run) -> Run | None:
        """Raises RequestIdReused."""
        row = self._tables.run_of_request(run.identity.tenant, run.request.request_id)
        if row is None:
            return None
        if row["fingerprint"] != run.request.fingerprint:
            raise RequestIdReused(request_id=run.request.request_id, run=row["run_id"])
        return run_of(row)

    def _require_graph(self, run: Run) -> None:
        """Raises WrongGraph."""
        thread = self._tables.threads.get((run.identity.tenant, run.identity.thread_id))
        if thread is not None and thread["graph"] not in ("", run.identity.graph):
            raise WrongGraph(thread=run.identity.thread_id, graph=thread["graph"])

    def _bind_thread(self, run: Run) -> None:
        """Create the run's thread, or bind it to the run's graph."""
        identity, now = run.identity, run.request.created
        key = (identity.tenant, identity.thread_id)
        row = self._tables.threads.setdefault(
            key,
            {
                "tenant": identity.tenant,
                "thread_id": identity.thread_id,
                "graph": identity.graph,
                "labels": {},
                "created": now,
                "used": now,
                "ttl_seconds": 0,
            },
        )
        row["graph"], row["used"] = identity.graph, now

    def _before(self, run: Run) -> list[Run]:
        """Return the runs that hold the thread, or wait for it and could begin by now, the oldest first."""
        rows = [row for row in rows_on_thread(self._tables, run) if row["holds_thread"] or is_due(self._tables, row)]
        return [run_of(row) for row in sorted(rows, key=lambda row: row["created"])]

    def _require_capacity(self, tenant: str) -> None:
        """Raises QueueFull."""
        pending = [
            row for row in self._tables.runs.values() if row["tenant"] == tenant and row["status"] == RunStatus.PENDING
        ]
        if len(pending) >= self._max_pending:
            raise QueueFull(limit=self._max_pending, retry_after=RETRY_SECONDS)


async def is_repeat(run: Run, runs: Runs) -> bool:
    """Return whether a run of the same request exists."""
    request_id = run.request.request_id
    return bool(
        request_id and await runs.find(run.identity.tenant, {"request_id": request_id}, None, 1, contents=False)
    )


def rows_on_thread(tables: MemoryTables, run: Run) -> list[RunRow]:
    """Return the rows of the runs on a run's thread, its own included."""
    return tables.runs_on_thread(run.identity.tenant, run.identity.thread_id)


def is_waiting(row: RunRow) -> bool:
    """Whether a run waits for its time or its turn."""
    return row["status"] == RunStatus.PENDING and not row["holds_thread"]


def is_due(tables: MemoryTables, row: RunRow) -> bool:
    """Whether a run waits for its turn, and no longer for its time."""
    return is_waiting(row) and row["due"] <= tables.clock()


def is_ready(tables: MemoryTables, row: RunRow) -> bool:
    """Whether a run waits for nothing but its turn."""
    return is_due(tables, row) and not row["cancel_reason"]


def cancel(row: RunRow, reason: str) -> None:
    """Record that a run is to be ended. A parked run becomes pending, for a worker to end it."""
    status = RunStatus(row["status"])
    if status.is_final or row["cancel_reason"]:
        return
    row["cancel_reason"] = reason
    if status is RunStatus.INTERRUPTED:
        row["status"], row["lease_expires"] = RunStatus.PENDING, 0.0


def preempt(tables: MemoryTables, run: Run) -> None:
    """Cancel the runs before a ready run on its thread, if its strategy is to."""
    if not run.request.multitask.preempts:
        return
    for row in rows_on_thread(tables, run):
        is_earlier = row["holds_thread"] or (is_waiting(row) and row["created"] <= run.request.created)
        if row["run_id"] == run.run_id or not is_earlier:
            continue
        if row["holds_thread"] and run.request.multitask is Multitask.ROLLBACK:
            row["rolled_back"] = True
        cancel(row, preemption_reason(run.run_id))
