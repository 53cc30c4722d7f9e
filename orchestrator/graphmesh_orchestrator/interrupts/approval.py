"""Approvals as values: the terms, the answer, and whether the approval can still be answered."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from graphmesh_chassis.epoch import Epoch
from graphmesh_chassis.identity import Caller
from graphmesh_nodes.approval_terms import ApprovalAnswer, ApprovalStatus, ApprovalTerms, require_four_eyes
from graphmesh_nodes.errors import ApprovalExpired

from graphmesh_orchestrator.errors import ApprovalAnswered, RunNotInterrupted
from graphmesh_orchestrator.run_status import RunStatus


@dataclass(frozen=True)
class Approval:
    """An approval, and the status of the run that waits for it."""

    approval_id: str
    run_id: str
    run_status: RunStatus
    run_epoch: Epoch
    thread_id: str
    graph: str
    requester: str
    """The subject that created the run."""
    node: str
    interrupt_id: str
    checkpoint_id: str
    """The checkpoint that the node runs from."""
    terms: ApprovalTerms
    status: ApprovalStatus
    created: datetime
    expires: float
    """Seconds since 1970 of the database's clock."""
    answered: datetime | None
    answered_by: str
    comment: str

    @classmethod
    def of(cls, row: Mapping[Any, Any], run: Mapping[Any, Any], status: ApprovalStatus) -> "Approval":
        """Make the approval of an interrupt's row and of its run's `status`, `epoch`, `thread_id`, `graph` and
        `subject`."""
        terms = dict(row["approval"])
        return cls(
            approval_id=row["approval_id"],
            run_id=row["run_id"],
            run_status=RunStatus(run["status"]),
            run_epoch=Epoch(run["epoch"]),
            thread_id=run["thread_id"],
            graph=run["graph"],
            requester=run["subject"],
            node=row["node"],
            interrupt_id=row["interrupt_id"],
            checkpoint_id=terms.pop("checkpoint_id"),
            terms=ApprovalTerms(**terms),
            status=status,
            created=row["created"],
            expires=row["expires"],
            answered=row["answered"],
            answered_by=row["answered_by"],
            comment=row["comment"],
        )

    def answer(self, status: ApprovalStatus, by: str = "", comment: str = "") -> ApprovalAnswer:
        """Return the answer that the node gets."""
        return ApprovalAnswer(self.approval_id, self.terms.digest, status, by, comment, self.run_epoch, self.thread_id)

    def require_approver(self, caller: Caller, status: ApprovalStatus, answerers: Collection[str]) -> None:
        """Check that a caller may give this answer.

        Args:
            answerers: the subjects that have answered questions of the run: what is to be approved may be theirs.

        Raises:
            ScopeMissing: it lacks a scope.
            ApproverIsRequester: the approval needs another one than the caller that created the run, and than these.
        """
        caller.require(frozenset(self.terms.scopes))
        require_four_eyes(self.terms.four_eyes, status, caller.subject, {self.requester, *answerers})

    def require_open(self) -> None:
        """Check that the approval can be answered.

        Raises:
            ApprovalAnswered: it has an answer.
            ApprovalExpired: it has expired.
            RunNotInterrupted: its run no longer waits.
        """
        match self.status:
            case ApprovalStatus.APPROVED | ApprovalStatus.DENIED:
                raise ApprovalAnswered(approval=self.approval_id, status=self.status, by=self.answered_by)
            case ApprovalStatus.EXPIRED:
                raise ApprovalExpired(approval=self.approval_id, tool=self.terms.tool)
        if self.run_status is not RunStatus.INTERRUPTED:
            raise RunNotInterrupted(run=self.run_id, status=self.run_status)
