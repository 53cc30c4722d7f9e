"""The port of approvals, and its memory twin. An approval is an interrupt that only this port answers, once."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from graphmesh_chassis.errors import NotFound
from graphmesh_chassis.identity import Caller
from graphmesh_nodes.approval_terms import ApprovalStatus

from graphmesh_orchestrator.db.memory_tables import MemoryTables, StoredInterrupt
from graphmesh_orchestrator.interrupts.approval import Approval
from graphmesh_orchestrator.interrupts.interrupts import PENDING, resume_if_answered, store_answer
from graphmesh_orchestrator.run_status import RunStatus


class Approvals(Protocol):
    """The approvals of all tenants."""

    async def get(self, tenant: str, approval_id: str) -> Approval:
        """Raises NotFound, also for another tenant's approval."""

    async def find(
        self,
        tenant: str,
        status: ApprovalStatus | None,
        run_id: str,
        after: tuple[datetime, str] | None,
        limit: int,
        id_prefix: str = "",
    ) -> Sequence[Approval]:
        """Return approvals of a status and a run, the oldest first, from behind the (created, approval_id) `after`.

        Their ids begin with `id_prefix`.
        """

    async def answer(self, caller: Caller, approval_id: str, status: ApprovalStatus, comment: str) -> Approval:
        """Answer an approval, which is possible once. Its run resumes if it waits for nothing else.

        Raises:
            NotFound: the caller's tenant has no such approval.
            ScopeMissing, ApproverIsRequester: the caller may not give this answer.
            ApprovalAnswered, ApprovalExpired, RunNotInterrupted: as `Approval.require_open`.
        """

    async def next_expiry(self) -> float | None:
        """Return the seconds until the first open approval expires; None where none does.

        Those of an active run are not among them: it is being resumed or ended, and they can be expired after that.
        """

    async def expire(self, limit: int) -> int:
        """Deny the expired approvals of at most `limit` runs. Returns the number of runs that had some.

        Several processes may do this at a time: each takes other runs.
        """


class MemoryApprovals:
    """Approvals in memory."""

    def __init__(self, tables: MemoryTables) -> None:
        self._tables = tables

    async def get(self, tenant: str, approval_id: str) -> Approval:
        return self._approval(self._row(tenant, approval_id))

    async def find(
        self,
        tenant: str,
        status: ApprovalStatus | None,
        run_id: str,
        after: tuple[datetime, str] | None,
        limit: int,
        id_prefix: str = "",
    ) -> Sequence[Approval]:
        rows = (row for row in self._tables.interrupts.values() if row["approval_id"] and row["tenant"] == tenant)
        rows = (row for row in rows if (row["approval_id"] or "").startswith(id_prefix))
        approvals = [self._approval(row) for row in rows if run_id in ("", row["run_id"])]
        approvals.sort(key=lambda approval: (approval.created, approval.approval_id))
        return [
            approval
            for approval in approvals
            if status in (None, approval.status) and (after is None or (approval.created, approval.approval_id) > after)
        ][:limit]

    async def answer(self, caller: Caller, approval_id: str, status: ApprovalStatus, comment: str) -> Approval:
        row = self._row(caller.tenant, approval_id)
        approval = self._approval(row)
        approval.require_approver(caller, status, self._answerers(row["run_id"]))
        approval.require_open()
        answer = approval.answer(status, caller.subject, comment)
        store_answer(row, status, answer.to_resume(), caller.subject, comment)
        resume_if_answered(self._tables, self._tables.runs[row["run_id"]])
        return self._approval(row)

    async def next_expiry(self) -> float | None:
        rows = self._tables.interrupts.values()
        expiring = [row["expires"] for row in rows if _expires(row) and not self._is_active(row)]
        return min(expiring) - self._tables.clock() if expiring else None

    async def expire(self, limit: int) -> int:
        overdue = [row for row in self._tables.interrupts.values() if self._is_overdue(row)]
        runs = {row["run_id"] for row in overdue[:limit] if not self._is_active(row)}
        for row in overdue:
            if row["run_id"] in runs:
                self._expire(row)
        for run_id in runs:
            resume_if_answered(self._tables, self._tables.runs[run_id])
        return len(runs)

    def _expire(self, row: StoredInterrupt) -> None:
        """Deny an overdue approval; that of a run that has ended is void."""
        if self._tables.runs[row["run_id"]]["status"] != RunStatus.INTERRUPTED:
            row["status"] = ApprovalStatus.VOID
            return
        answer = self._approval(row).answer(ApprovalStatus.EXPIRED)
        store_answer(row, ApprovalStatus.EXPIRED, answer.to_resume(), "")

    def _answerers(self, run_id: str) -> set[str]:
        rows = (row for row in self._tables.interrupts.values() if row["run_id"] == run_id and not row["approval_id"])
        return {row["answered_by"] for row in rows if row["answered_by"]}

    def _row(self, tenant: str, approval_id: str) -> StoredInterrupt:
        rows = (row for row in self._tables.interrupts.values() if row["approval_id"] == approval_id)
        row = next(rows, None)
        if row is None or row["tenant"] != tenant:
            raise NotFound(resource="approval", id=approval_id)
        return row

    def _approval(self, row: StoredInterrupt) -> Approval:
        run = self._tables.runs[row["run_id"]]
        status = ApprovalStatus(row["status"])
        if status is ApprovalStatus.PENDING and RunStatus(run["status"]).is_final:
            status = ApprovalStatus.VOID
        elif self._is_overdue(row):
            status = ApprovalStatus.EXPIRED
        return Approval.of(row, run, status)

    def _is_overdue(self, row: StoredInterrupt) -> bool:
        return _expires(row) and row["expires"] <= self._tables.clock()

    def _is_active(self, row: StoredInterrupt) -> bool:
        return RunStatus(self._tables.runs[row["run_id"]]["status"]).is_active


def _expires(row: StoredInterrupt) -> bool:
    return row["status"] == PENDING and row["expires"] > 0
