"""Conversion between messages and values of approvals."""

from datetime import UTC, datetime

import structlog
from graphmesh.orchestrator import v1 as pb
from graphmesh_nodes.approval_terms import ApprovalStatus

from graphmesh_orchestrator.interrupts.approval import Approval
from graphmesh_orchestrator.runs.convert import UNSHOWABLE, fill
from graphmesh_orchestrator.runs.events import NOT_SHOWN

log = structlog.get_logger("graphmesh.interrupts")

STATUSES = {status: pb.ApprovalStatus.Value(f"APPROVAL_STATUS_{status.name}") for status in ApprovalStatus}
DECISIONS = {
    pb.Decision.DECISION_APPROVE: ApprovalStatus.APPROVED,
    pb.Decision.DECISION_DENY: ApprovalStatus.DENIED,
}


def filter_status(request: pb.ListApprovalsRequest) -> ApprovalStatus | None:
    """Return the status of a filter; None for any."""
    return next((status for status, number in STATUSES.items() if number == request.status), None)


def approval_message(approval: Approval) -> pb.Approval:
    """Return the message of an approval. It never fails: what cannot be shown is absent, and named in `not_shown`."""
    try:
        return _approval_message(approval)
    except UNSHOWABLE as error:
        log.warning("approval not shown", approval=approval.approval_id, exc_info=error)
        return pb.Approval(approval_id=approval.approval_id, run_id=approval.run_id, not_shown=NOT_SHOWN)


def _approval_message(approval: Approval) -> pb.Approval:
    message = pb.Approval(
        approval_id=approval.approval_id,
        run_id=approval.run_id,
        thread_id=approval.thread_id,
        graph=approval.graph,
        node=approval.node,
        checkpoint_id=approval.checkpoint_id,
        tool=approval.terms.tool,
        digest=approval.terms.digest,
        question=approval.terms.question,
        scopes=approval.terms.scopes,
        requester=approval.requester,
        four_eyes=approval.terms.four_eyes,
        status=STATUSES[approval.status],
        answered_by=approval.answered_by,
        comment=approval.comment,
    )
    message.not_shown = fill(message.arguments, approval.terms.arguments, "arguments")
    message.create_time.FromDatetime(approval.created)
    message.expire_time.FromDatetime(datetime.fromtimestamp(approval.expires, UTC))
    if approval.answered is not None:
        message.answer_time.FromDatetime(approval.answered)
    return message
