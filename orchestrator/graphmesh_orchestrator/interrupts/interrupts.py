"""The port of interrupts and their answers, and its memory twin."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

from graphmesh_chassis.errors import ApprovalRequired, NotFound
from graphmesh_nodes.approval_terms import has_approval_key

from graphmesh_orchestrator.db.memory_tables import MemoryTables, StoredInterrupt
from graphmesh_orchestrator.db.rows import RunRow
from graphmesh_orchestrator.errors import InterruptAnswered, RunNotInterrupted
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.rows import run_of
from graphmesh_orchestrator.runs.run import Interrupt, Run

PENDING, ANSWERED = "pending", "answered"
"""The status of an interrupt; the answered interrupts of approvals have an `ApprovalStatus`."""


class Interrupts(Protocol):
    """The interrupts of the runs of all tenants. A parked run consists of these rows and its own."""

    async def open(self, run_ids: Sequence[str], *, values: bool = True) -> Mapping[str, Sequence[Interrupt]]:
        """Return the interrupts without an answer, by run. Without `values` these are not read, and None."""

    async def of_thread(self, tenant: str, thread_id: str) -> Mapping[str, Interrupt]:
        """Return the open interrupts of the run that holds a thread, by id."""

    async def answers(self, run_id: str) -> Mapping[str, Any]:
        """Return the answers of a run, by interrupt."""

    async def last_answered(self, run_id: str) -> datetime | None:
        """Return when the last interrupt of a run was answered, or has expired; None for never."""

    async def answer(self, tenant: str, run_id: str, answers: Mapping[str, Any], by: str) -> Run:
        """Answer interrupts of a parked run; the last answer resumes it. The same answers again change nothing.

        Raises:
            NotFound: there is no such run, or the run has no such interrupt.
            RunNotInterrupted: the run is not parked.
            InterruptAnswered: an interrupt has another answer.
            ApprovalRequired: an interrupt requests an approval, or an answer has the form of one; see `Approvals`.
        """


class MemoryInterrupts:
    """Interrupts in memory."""

    def __init__(self, tables: MemoryTables) -> None:
        self._tables = tables

    async def open(self, run_ids: Sequence[str], *, values: bool = True) -> Mapping[str, Sequence[Interrupt]]:
        found = {run_id: [interrupt_of(row) for row in open_rows(self._tables, run_id)] for run_id in run_ids}
        if values:
            return found
        return {run_id: [replace(one, value=None) for one in interrupts] for run_id, interrupts in found.items()}

    async def of_thread(self, tenant: str, thread_id: str) -> Mapping[str, Interrupt]:
        runs = self._tables.runs_on_thread(tenant, thread_id)
        holders = [row["run_id"] for row in runs if row["holds_thread"]]
        rows = [row for run_id in holders for row in open_rows(self._tables, run_id)]
        return {row["interrupt_id"]: interrupt_of(row) for row in rows}

    async def answers(self, run_id: str) -> Mapping[str, Any]:
        rows = (row for row in self._tables.interrupts.values() if row["run_id"] == run_id)
        return {row["interrupt_id"]: row["answer"]["value"] for row in rows if row["answer"] is not None}

    async def last_answered(self, run_id: str) -> datetime | None:
        rows = (row for row in self._tables.interrupts.values() if row["run_id"] == run_id)
        return max((row["answered"] for row in rows if row["answered"]), default=None)

    async def answer(self, tenant: str, run_id: str, answers: Mapping[str, Any], by: str) -> Run:
        run = self._tables.runs.get(run_id)
        if run is None or run["tenant"] != tenant:
            raise NotFound(resource="run", id=run_id)
        require_plain(answers, run_id)
        rows = {key[1]: row for key, row in self._tables.interrupts.items() if key[0] == run_id}
        require_answerable(rows, answers)
        new = [rows[key] for key, value in answers.items() if not is_answered(rows[key], value)]
        if new and run["status"] != RunStatus.INTERRUPTED:
            raise RunNotInterrupted(run=run_id, status=run["status"])
        for row in new:
            store_answer(row, ANSWERED, answers[row["interrupt_id"]], by)
        if new:
            resume_if_answered(self._tables, run)
        return run_of(run)


def require_plain(answers: Mapping[str, Any], run_id: str) -> None:
    """Raises ApprovalRequired where an answer has the form of an approval's."""
    if any(has_approval_key(value) for value in answers.values()):
        raise ApprovalRequired(run=run_id)


def require_answerable(rows: Mapping[str, Mapping[Any, Any]], answers: Mapping[str, Any]) -> None:
    """Raises NotFound for an answer without an interrupt, ApprovalRequired for one to an approval."""
    if missing := answers.keys() - rows.keys():
        raise NotFound(resource="interrupt", id=min(missing))
    if approval := next((rows[key]["approval_id"] for key in answers if rows[key]["approval_id"]), None):
        raise ApprovalRequired(approval=approval)


def is_answered(row: Mapping[Any, Any], value: Any) -> bool:
    """Whether an interrupt has this answer already. Raises InterruptAnswered where it has another one."""
    if row["status"] == PENDING:
        return False
    if row["answer"] != {"value": value}:
        raise InterruptAnswered(interrupt=row["interrupt_id"], by=row["answered_by"])
    return True


def interrupt_of(row: Mapping[Any, Any]) -> Interrupt:
    return Interrupt(row["interrupt_id"], row["node"], row["value"], row["approval_id"] or "")


def open_rows(tables: MemoryTables, run_id: str) -> list[StoredInterrupt]:
    rows = [row for row in tables.interrupts.values() if row["run_id"] == run_id and row["status"] == PENDING]
    return sorted(rows, key=lambda row: (row["created"], row["interrupt_id"]))


def store_answer(row: StoredInterrupt, status: str, value: Any, by: str, comment: str = "") -> None:
    row.update(
        {
            "status": status,
            "answer": {"value": value},
            "answered": datetime.now(UTC),
            "answered_by": by,
            "comment": comment,
        }
    )


def resume_if_answered(tables: MemoryTables, run: RunRow) -> None:
    """Make a parked run without open interrupts pending, and extend its deadline by the time that it was parked."""
    if run["status"] != RunStatus.INTERRUPTED or open_rows(tables, run["run_id"]):
        return
    now = datetime.now(UTC)
    run["deadline"] += now - (run["parked"] or now)
    run["status"], run["parked"], run["lease_expires"] = RunStatus.PENDING, None, 0
