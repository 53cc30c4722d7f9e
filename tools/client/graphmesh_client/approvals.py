"""Approvals: an approver approves or denies one call of a tool."""

from graphmesh.orchestrator.v1 import (
    Approval,
    ApprovalService,
    ApprovalStatus,
    Decision,
    GetApprovalRequest,
    ListApprovalsRequest,
    RespondApprovalRequest,
)

from graphmesh_client.calls import Calls


class Approvals:
    """The approvals of the client's tenant."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def get(self, approval_id: str) -> Approval:
        request = GetApprovalRequest(approval_id=approval_id)
        return (await self._calls.call(ApprovalService.GetApproval, request)).approval

    async def find(
        self,
        *,
        status: ApprovalStatus.ValueType = ApprovalStatus.APPROVAL_STATUS_PENDING,
        run_id: str = "",
        approval_id_prefix: str = "",
        limit: int = 50,
    ) -> list[Approval]:
        """Return the oldest approvals of a status, by default the pending ones."""
        request = ListApprovalsRequest(status=status, run_id=run_id, approval_id_prefix=approval_id_prefix)
        return await self._calls.collect(ApprovalService.ListApprovals, request, lambda page: page.approvals, limit)

    async def respond(self, approval_id: str, *, approve: bool, comment: str = "") -> Approval:
        """Approve or deny, once. The call is not retried where its response is lost: `get` the approval then."""
        decision = Decision.DECISION_APPROVE if approve else Decision.DECISION_DENY
        request = RespondApprovalRequest(approval_id=approval_id, decision=decision, comment=comment)
        return (await self._calls.call_once(ApprovalService.RespondApproval, request)).approval
