"""Approvals: a person agrees to one call of a tool, or does not."""

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
        limit: int = 50,
    ) -> list[Approval]:
        """The oldest that nobody has answered, or of another status."""
        request = ListApprovalsRequest(status=status, run_id=run_id)
        return await self._calls.listed(ApprovalService.ListApprovals, request, lambda page: page.approvals, limit)

    async def respond(self, approval_id: str, *, approve: bool, comment: str = "") -> Approval:
        """Approve or deny, once. It is not repeated where the answer is lost: look at the approval then."""
        decision = Decision.DECISION_APPROVE if approve else Decision.DECISION_DENY
        request = RespondApprovalRequest(approval_id=approval_id, decision=decision, comment=comment)
        return (await self._calls.once(ApprovalService.RespondApproval, request)).approval
