"""The consent of a person to a call, as a node asks for it (B8; design invariant 8)."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from google.protobuf.message import Message
from graphmesh_chassis.calls import serialized
from graphmesh_contracts import MethodPolicy, Rpc
from langgraph.types import interrupt

from graphmesh_nodes.approval_terms import ApprovalStatus, Decision, Terms
from graphmesh_nodes.errors import ApprovalDenied, ApprovalExpired, ApprovalMismatch
from graphmesh_nodes.json_values import plain

A_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Ask:
    """A question that a person has to say yes to before a call."""

    question: str = ""
    """Why the graph asks, in its own words."""
    scopes: Sequence[str] = ()
    """What who answers needs; where empty, `approvals.` and the first part of the tool's name: `approvals.billing`."""
    ttl: timedelta = A_DAY
    """How long there is to answer, after which it is denied."""


@dataclass(frozen=True)
class Approval:
    """The rule of a node by which it asks a person.

    It is added to what the RPC's policy says, and takes nothing from it: a method with APPROVAL_REQUIRED asks always.
    `question` and `when` get the state and the request, and have to say the same in every repeat of the node.
    """

    question: Callable[[Any, Any], str] = lambda state, request: ""
    scopes: Sequence[str] = ()
    """As those of `Ask`."""
    ttl: timedelta = A_DAY
    when: Callable[[Any, Any], bool] = lambda state, request: True

    def ask(self, state: Any, request: Any) -> Ask | None:
        """The question of this request; None where the rule lets it pass."""
        return Ask(self.question(state, request), self.scopes, self.ttl) if self.when(state, request) else None


def obtain(
    rpc: Rpc[Any, Any], policy: MethodPolicy, request: Message, ask: Ask | None, thread_id: str
) -> Decision | None:
    """Who has agreed to this call on this thread; None where it needs nobody. The run parks here until somebody has
    answered.

    Raises:
        ApprovalDenied: somebody did not agree; or, as ApprovalExpired, nobody answered in time.
        ApprovalMismatch: what was answered is not this call.
    """
    if not policy.needs_approval and ask is None:
        return None
    terms = _terms(rpc, policy, request, ask)
    decision = _decision(terms, thread_id)
    if decision is None or decision.digest != terms.digest:
        raise ApprovalMismatch(approval=decision.approval_id if decision else "", tool=rpc.tool)
    if decision.status is ApprovalStatus.EXPIRED:
        raise ApprovalExpired(approval=decision.approval_id, tool=rpc.tool)
    if decision.status is not ApprovalStatus.APPROVED:
        raise ApprovalDenied(approval=decision.approval_id, tool=rpc.tool, by=decision.by, comment=decision.comment)
    return decision


def _decision(terms: Terms, thread_id: str) -> Decision | None:
    """What was answered on this thread; None where it is the answer to another question.

    A fork takes along what its node was told before. Whoever agreed did so to one call: the fork asks once more, and
    finds both answers in the same order whenever the node is repeated.
    """
    while True:
        decision = Decision.of(interrupt(terms.asked()))
        if decision is None or decision.thread_id == thread_id:
            return decision


def _terms(rpc: Rpc[Any, Any], policy: MethodPolicy, request: Message, ask: Ask | None) -> Terms:
    bounds = [ask.ttl.total_seconds()] if ask else []
    return Terms(
        tool=rpc.tool,
        arguments=plain(request),
        digest=hashlib.sha256(rpc.tool.encode() + b"\0" + serialized(request)).hexdigest(),
        question=ask.question if ask else "",
        scopes=_approvers(rpc, policy, ask),
        ttl=min(bounds + [policy.approval_ttl] * policy.needs_approval),
    )


def _approvers(rpc: Rpc[Any, Any], policy: MethodPolicy, ask: Ask | None) -> list[str]:
    """The scopes of the policy and of the question, together."""
    scopes = set(ask.scopes) if ask else set()
    if policy.needs_approval or not scopes:
        scopes |= policy.approvers or {f"approvals.{rpc.tool.partition('.')[0]}"}
    return sorted(scopes)
