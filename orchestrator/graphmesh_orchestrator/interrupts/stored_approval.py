"""Approvals as values: what is asked, what was decided, and who may still answer (B8; design invariant 8)."""

from dataclasses import dataclass
from datetime import datetime

from graphmesh_nodes.approval_terms import ApprovalAnswer, ApprovalStatus, ApprovalTerms
from graphmesh_nodes.errors import ApprovalExpired

from graphmesh_orchestrator.errors import ApprovalAnswered, RunNotInterrupted
from graphmesh_orchestrator.runs.run import RunStatus


@dataclass(frozen=True)
class StoredApproval:
    """An approval, and how the run that waits for it stands."""

    approval_id: str
    run_id: str
    run_status: RunStatus
    run_epoch: int
    thread_id: str
    graph: str
    node: str
    interrupt_id: str
    checkpoint_id: str
    """That the node runs from."""
    terms: ApprovalTerms
    status: ApprovalStatus
    created: datetime
    expires: float
    """In seconds since 1970."""
    answered: datetime | None
    answered_by: str
    comment: str

    def decided(self, status: ApprovalStatus, by: str = "", comment: str = "") -> ApprovalAnswer:
        return ApprovalAnswer(self.approval_id, self.terms.digest, status, by, comment, self.run_epoch, self.thread_id)

    def require_open(self) -> None:
        """Hold it against being answered twice, late, or for nothing.

        Raises:
            ApprovalAnswered: it was answered.
            ApprovalExpired: its time is over.
            RunNotInterrupted: its run does not wait any more.
        """
        match self.status:
            case ApprovalStatus.APPROVED | ApprovalStatus.DENIED:
                raise ApprovalAnswered(approval=self.approval_id, status=self.status, by=self.answered_by)
            case ApprovalStatus.EXPIRED:
                raise ApprovalExpired(approval=self.approval_id, tool=self.terms.tool)
        if self.run_status is not RunStatus.INTERRUPTED:
            raise RunNotInterrupted(run=self.run_id, status=self.run_status)
