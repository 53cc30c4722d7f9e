"""The tools of the agent, and what has to be true before one of them has an effect.

The model proposes. Code decides: by the customer's own words, by billing's preview, and by the customer's answer to a
proposal that is made of records.
"""

import re
from typing import Any

from google.protobuf.message import Message
from graphmesh.billing.v1 import (
    BillingService,
    GetInvoiceRequest,
    Invoice,
    PreviewRefundRequest,
    PreviewRefundResponse,
    RefundRequest,
)
from graphmesh.ticketing.v1 import CreateTicketRequest
from graphmesh_contracts import Rpc, format_money, parse_amount
from graphmesh_nodes import ApprovalRule, call, proposal_of, run_customer, tools
from graphmesh_nodes.errors import RuleViolated
from graphmesh_nodes.guardrails.confirmation import Proposal
from graphmesh_nodes.guardrails.intent import intent_of
from graphmesh_nodes.guardrails.languages import language_of
from langchain_core.messages import HumanMessage, ToolMessage

from tool_agent.checks import is_answered_refund, problem_of
from tool_agent.policy import policy
from tool_agent.rpcs import EFFECTS, READS

NOT_FOR_CUSTOMERS = (
    *("policy_exception", "expected_refunded"),
    *("assignee", "queue", "priority", "topic", "tags", "requester", "internal"),
)
"""Fields with which staff decide."""

WRITTEN = frozenset({"subject", "description", "text", "cause"})
"""Fields with a text of the model."""
MAX_REQUEST_MESSAGES = 5
"""Messages of the customer in which a request for money is open."""
AMOUNT = re.compile(r"[0-9]+(?:[.,][0-9]+)*")


def words_of(state: Any) -> str:
    """Return what the customer has written last."""
    return next((str(one.text) for one in reversed(state["messages"]) if isinstance(one, HumanMessage)), "")


def money_request_of(messages: list[Any]) -> str:
    """Return the customer's words from the last request for money on; empty where there is none that is still open.

    It is closed by a later denial, and by a proposal that the customer has answered.
    """
    said: list[str] = []
    for message in reversed(messages):
        if isinstance(message, ToolMessage) and is_answered_refund(message):
            return ""
        if isinstance(message, HumanMessage):
            said.insert(0, str(message.text))
            intent = intent_of(said[0])
            if intent.wants_money:
                return "\n".join(said)
            if intent.negated or len(said) == MAX_REQUEST_MESSAGES:
                return ""
    return ""


async def propose(rpc: Rpc[Any, Any], state: Any, request: Any) -> Proposal:
    """Make the proposal of an effect. Raises RuleViolated where nothing may be proposed."""
    _require_request(words_of(state))
    _require_checked_texts(request, state["messages"])
    if isinstance(request, RefundRequest):
        return await _refund(state["messages"], request)
    if isinstance(request, CreateTicketRequest):
        question = (await policy()).replies_in(language_of(words_of(state))).ticket
        return Proposal("ticket", question.format(subject=request.subject), _texts(request, "subject", "description"))
    return proposal_of(rpc, state, request)


def _require_request(words: str) -> None:
    """Raises RuleViolated unless the customer asks for something, or reports it."""
    if intent_of(words).act in ("asks_about", "thanks"):
        raise RuleViolated("the customer has not asked to have anything done", rule="not_asked_for")


def _require_checked_texts(request: Message, messages: list[Any]) -> None:
    """Raises RuleViolated where a text that the model has written breaks a rule."""
    for field, value in request.ListFields():
        if isinstance(value, str) and field.name in WRITTEN and (problem := problem_of(value, messages)):
            raise RuleViolated(f"{field.name} {problem}", rule="text.refused")


def _texts(request: Message, *names: str) -> dict[str, str]:
    return {name: getattr(request, name) for name in names}


async def _refund(messages: list[Any], request: RefundRequest) -> Proposal:
    """Propose a refund that the customer has asked for, as the invoice and billing's preview state it."""
    words = money_request_of(messages)
    _require_asked_for(words, request)
    asked = PreviewRefundRequest(charge_id=request.charge_id, amount=request.amount, lines=request.lines)
    preview = await call(BillingService.PreviewRefund, asked)
    if not preview.allowed:
        raise RuleViolated("; ".join(broken.message for broken in preview.broken), rule="refund.denied")
    found = await call(BillingService.GetInvoice, GetInvoiceRequest(invoice_id=preview.charge.invoice_id))
    lines, amount = _lines(found.invoice, preview), money(request)
    content = {
        "amount": amount,
        "invoice": found.invoice.invoice_id,
        "charge": request.charge_id,
        "lines": lines,
        "cause": request.cause,
    }
    question = (await policy()).replies_in(language_of(words)).refund
    names = ", ".join(line["description"] for line in lines)
    return Proposal("refund", question.format(amount=amount, invoice=found.invoice.invoice_id, lines=names), content)


def _require_asked_for(words: str, request: RefundRequest) -> None:
    """Raises RuleViolated unless the customer asks for money in their own words, and states this amount."""
    if not words:
        raise RuleViolated("the customer has not asked for a refund", rule="refund.not_asked_for")
    currency = request.amount.currency_code
    stated = {parse_amount(number.replace(",", "."), currency) for number in AMOUNT.findall(words)}
    if request.amount.amount_minor not in stated:
        raise RuleViolated(f"the customer has not stated the amount {money(request)}", rule="refund.amount_not_stated")


def money(request: RefundRequest) -> str:
    return format_money(request.amount.currency_code, request.amount.amount_minor)


def _lines(invoice: Invoice, preview: PreviewRefundResponse) -> list[dict[str, str]]:
    descriptions = {line.line_id: line.description for line in invoice.lines}
    return [
        {
            "description": descriptions.get(line.line_id, line.line_id),
            "amount": format_money(line.amount.currency_code, line.amount.amount_minor),
        }
        for line in preview.lines
    ]


APPROVAL = ApprovalRule(
    question=lambda state, request: f"Refund {money(request)} of {request.charge_id}? The customer has confirmed it.",
    scopes=("approvals.refund",),
)
TOOLS = tools(
    *READS,
    *EFFECTS,
    bound={"customer_id": run_customer, "author": run_customer},
    hidden=NOT_FOR_CUSTOMERS,
    approvals={BillingService.Refund: APPROVAL},
    confirm=propose,
)
