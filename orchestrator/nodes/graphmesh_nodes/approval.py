"""Approvals of calls: a node parks its run until an approver has answered."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from google.protobuf.message import Message
from graphmesh_chassis.calls import fingerprint
from graphmesh_contracts import MethodPolicy, Rpc
from langgraph.types import interrupt

from graphmesh_nodes.approval_terms import MAX_TTL, ApprovalAnswer, ApprovalStatus, ApprovalTerms
from graphmesh_nodes.errors import ApprovalDenied, ApprovalExpired, ApprovalMismatch
from graphmesh_nodes.json_values import to_json

DEFAULT_TTL = timedelta(days=1)


@dataclass(frozen=True)
class ApprovalRequest:
    """A request for the approval of one call."""

    question: str = ""
    """The reason why the graph requests it, for the approver."""
    scopes: Sequence[str] = ()
    """The scopes that the approver needs; where empty, `approvals.` and the first part of the tool's name:
    `approvals.billing`."""
    ttl: timedelta = DEFAULT_TTL
    """The time to answer, after which the approval expires: a denial."""
    four_eyes: bool = False
    """Whether the approver has to be another one than the caller that created the run."""


@dataclass(frozen=True)
class ApprovalRule:
    """A node's rule of which calls need an approval.

    It adds to the RPC's policy: a method with APPROVAL_REQUIRED needs an approval in any case. `question` and `when`
    get the state and the request, and have to return the same in every repeat of the node.
    """

    question: Callable[[Any, Any], str] = lambda state, request: ""
    scopes: Sequence[str] = ()
    """As those of `ApprovalRequest`."""
    ttl: timedelta = DEFAULT_TTL
    when: Callable[[Any, Any], bool] = lambda state, request: True
    four_eyes: bool = False
    """As that of `ApprovalRequest`."""

    def request_for(self, state: Any, request: Any) -> ApprovalRequest | None:
        """Return the approval request of this call; None where the rule needs none."""
        if not self.when(state, request):
            return None
        return ApprovalRequest(self.question(state, request), self.scopes, self.ttl, self.four_eyes)


def require_approval(
    rpc: Rpc[Any, Any], policy: MethodPolicy, request: Message, approval: ApprovalRequest | None, thread_id: str
) -> ApprovalAnswer | None:
    """Return the approval of this call on this thread; None where it needs none. The run parks here until it is
    answered.

    Raises:
        ApprovalDenied: an approver has denied it; or, as ApprovalExpired, none has answered in time.
        ApprovalMismatch: the answer is to another call. The service checks it too.
    """
    if not policy.needs_approval and approval is None:
        return None
    terms = _terms(rpc, policy, request, approval)
    answer = _answer(terms, thread_id)
    if answer is None or answer.digest != terms.digest:
        raise ApprovalMismatch(approval=answer.approval_id if answer else "", tool=rpc.tool)
    if answer.status is ApprovalStatus.EXPIRED:
        raise ApprovalExpired(approval=answer.approval_id, tool=rpc.tool)
    if answer.status is not ApprovalStatus.APPROVED:
        raise ApprovalDenied(approval=answer.approval_id, tool=rpc.tool, by=answer.by, comment=answer.comment)
    return answer


def _answer(terms: ApprovalTerms, thread_id: str) -> ApprovalAnswer | None:
    """Return the answer of this thread; None where it is the answer to another question.

    A fork inherits the answers of its original, which approve one call each. So the fork interrupts once more, and gets
    both answers in the same order whenever the node is repeated.
    """
    while True:
        answer = ApprovalAnswer.from_resume(interrupt(terms.to_interrupt()))
        if answer is None or answer.thread_id == thread_id:
            return answer


def _terms(
    rpc: Rpc[Any, Any], policy: MethodPolicy, request: Message, approval: ApprovalRequest | None
) -> ApprovalTerms:
    ttls = [approval.ttl.total_seconds()] if approval else []
    return ApprovalTerms(
        tool=rpc.tool,
        arguments=to_json(request),
        digest=fingerprint(rpc.path, request).hex(),
        question=approval.question if approval else "",
        scopes=_scopes(rpc, policy, approval),
        ttl=min([MAX_TTL, *ttls] + [policy.approval_ttl] * policy.needs_approval),
        four_eyes=approval is not None and approval.four_eyes,
    )


def _scopes(rpc: Rpc[Any, Any], policy: MethodPolicy, approval: ApprovalRequest | None) -> list[str]:
    """Return the scopes of the policy and of the request, together."""
    scopes = set(approval.scopes) if approval else set()
    if policy.needs_approval or not scopes:
        scopes |= policy.approvers or {f"approvals.{rpc.tool.partition('.')[0]}"}
    return sorted(scopes)
