"""ApprovalService: decode, use case, encode."""

from datetime import datetime
from typing import Any

from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.calls import current_call
from graphmesh_chassis.large_values import convert_aside, is_large, read_places
from graphmesh_chassis.pages import PAGE_BYTES, Page, decode_position, page_size
from graphmesh_chassis.telemetry import names
from graphmesh_chassis.telemetry.metrics import counter

from graphmesh_orchestrator.budgets.tenant_budgets import TenantBudgets
from graphmesh_orchestrator.interrupts import convert
from graphmesh_orchestrator.interrupts.approval import Approval
from graphmesh_orchestrator.interrupts.approvals import Approvals
from graphmesh_orchestrator.notifications.notifier import Notifier

ANSWERED = counter(
    "graphmesh.approvals.answered", "{approval}", "Approvals that a person has answered", (names.TOOL, names.END)
)
BATCH_APPROVALS = 8
"""Approvals that a listing reads at a time: the request of each may have megabytes."""


class ApprovalServicer(pb.ApprovalServiceServicer):
    def __init__(self, approvals: Approvals, notifier: Notifier, budgets: TenantBudgets) -> None:
        self._approvals, self._notifier, self._budgets = approvals, notifier, budgets

    async def ListApprovals(self, request: pb.ListApprovalsRequest, context: Any) -> pb.ListApprovalsResponse:
        size, tenant = page_size(request.page_size), current_call().caller.tenant
        after = decode_position(request.page_token, datetime, str)
        status, page = convert.filter_status(request), Page[pb.Approval](size, PAGE_BYTES)
        batch = min(size + 1, BATCH_APPROVALS)
        is_full = False
        async with read_places("approvals"):
            while not is_full:
                found = await self._approvals.find(
                    tenant, status, request.run_id, after, batch, request.approval_id_prefix
                )
                for approval in found:
                    after = (approval.created, approval.approval_id)
                    if is_full := not page.add(await _message_of(approval), after):
                        break
                if len(found) < batch:
                    break
        return pb.ListApprovalsResponse(approvals=page.messages, next_page_token=page.next_token)

    async def GetApproval(self, request: pb.GetApprovalRequest, context: Any) -> pb.GetApprovalResponse:
        async with read_places("approvals"):
            approval = await self._approvals.get(current_call().caller.tenant, request.approval_id)
            return pb.GetApprovalResponse(approval=await _message_of(approval))

    async def RespondApproval(self, request: pb.RespondApprovalRequest, context: Any) -> pb.RespondApprovalResponse:
        caller, status = current_call().caller, convert.DECISIONS[request.decision]
        await self._budgets.require(caller.tenant)
        approval = await self._approvals.answer(caller, request.approval_id, status, request.comment)
        ANSWERED.add(1, {names.TOOL: approval.terms.tool, names.END: approval.status.value})
        self._notifier.to_claim(approval.run_id)
        return pb.RespondApprovalResponse(approval=await _message_of(approval))


async def _message_of(approval: Approval) -> pb.Approval:
    return await convert_aside(is_large(approval.terms.arguments), convert.approval_message, approval)
