"""The nodes of a refund: billing's preview, the customer's confirmation, the refund, and what is reported of it."""

from datetime import timedelta

from graphmesh.billing.v1 import (
    BillingService,
    GetChargeRequest,
    PreviewRefundResponse,
    RefundRuleEffect,
)
from graphmesh.billing.v1 import Refund as RefundMade
from graphmesh_contracts import format_money
from graphmesh_nodes import ApprovalRequest, Update, call, degrade, remote
from graphmesh_nodes.errors import ApprovalDenied, ApprovalRequired, GraphmeshError, RuleViolated
from graphmesh_nodes.guardrails.confirmation import Accepted, Declined, Message, Proposal, confirm
from langchain_core.messages import AIMessage

from support import convert, texts
from support.outcomes import needs_person
from support.policy import policy_of
from support.state import Claim, Invoice, Reason, State, Terms

MAX_PREVIEWS = 3
"""How often billing is consulted on a claim whose charge changes meanwhile."""


def _claim(state: State) -> Claim:
    if state["claim"] is None:
        raise ValueError("the state has no claim")
    return state["claim"]


def _terms(state: State) -> Terms:
    if state["terms"] is None:
        raise ValueError("the state has no terms")
    return state["terms"]


def _previewed(state: State, response: PreviewRefundResponse) -> Update:
    """Keep billing's answer: the checks that failed by their rules, and the terms of the refund."""
    denied = [broken for broken in response.broken if broken.effect == RefundRuleEffect.REFUND_RULE_EFFECT_DENY]
    attempt = state["terms"]["attempt"] + 1 if state["terms"] else 1
    terms = Terms(
        refunded=response.charge.refunded.amount_minor, needs_approval=response.needs_approval, attempt=attempt
    )
    checks = {"refund.allowed": response.allowed, **{f"refund.{broken.rule}": False for broken in denied}}
    return {"checks": checks, "terms": terms, "reason": None if response.allowed else "refund_not_automatic"}


preview = remote(
    BillingService.PreviewRefund,
    request=lambda state: convert.preview_request(_claim(state)),
    update=_previewed,
    fallback=degrade(lambda state, _: needs_person("billing_down", texts.note(state, "billing"))),
)


def proposal_of(state: State) -> Proposal:
    """The proposal of the claim: what it shows is what is refunded, and its id stands for exactly that."""
    claim, policy = _claim(state), policy_of(state)
    question = texts.about_claim(state["language"], "proposal", claim, policy)
    if _terms(state)["needs_approval"]:
        question = f"{question} {texts.reply(state['language'], 'proposal_approval')}"
    content = {key: value for key, value in claim.items() if key != "charge_id"}
    return Proposal("refund", question, {**content, "customer_id": state["customer_id"]})


def propose(state: State) -> Update:
    """Show the refund to the customer, and park until it is accepted or declined, or another message comes instead."""
    proposal = proposal_of(state)
    if state["accepted"] == proposal.id:
        return {}
    shown = [AIMessage(proposal.question)]
    match confirm(proposal):
        case Accepted():
            return {"messages": shown, "accepted": proposal.id}
        case Declined():
            declined = texts.reply(state["language"], "declined")
            return {"messages": shown, "answer": declined, "outcome": "declined", "confidence": 1.0}
        case Message(text):
            return {"messages": shown, "message": text, "claim": None, **_another_turn(state)}


def _another_turn(state: State) -> Update:
    return {} if state["turn"] < policy_of(state).max_turns else needs_person("too_many_turns")


async def refund(state: State) -> Update:
    """Make the refund that the customer has accepted, with an approval where billing's policy requires one."""
    if state["accepted"] != proposal_of(state).id:
        raise ValueError("the refund is not the one that the customer has accepted")
    request = convert.refund_request(_claim(state), _terms(state))
    try:
        response = await call(BillingService.Refund, request, approval=_approval(state))
    except ApprovalDenied:
        return needs_person("refund_denied")
    except (RuleViolated, ApprovalRequired) as error:
        return _refused(state, error)
    except GraphmeshError as error:
        if error.is_refusal:
            raise
        reason: Reason = "refund_uncertain" if error.may_have_happened else "billing_down"
        return needs_person(reason, texts.note(state, "billing"))
    return {"refund_id": response.refund.refund_id}


def _refused(state: State, error: GraphmeshError) -> Update:
    """Consult billing again where the charge has changed since the preview, a bounded number of times."""
    changed = isinstance(error, ApprovalRequired) or error.data.get("rule") == "refunded_differs"
    return {} if changed and _terms(state)["attempt"] < MAX_PREVIEWS else needs_person("refund_not_automatic")


def _approval(state: State) -> ApprovalRequest | None:
    if not _terms(state)["needs_approval"]:
        return None
    policy = policy_of(state).refunds
    return ApprovalRequest(_approval_question(state), policy.approval_scopes, timedelta(hours=policy.approval_hours))


def _approval_question(state: State) -> str:
    """In the language of the staff, as tickets are."""
    claim, refunded = _claim(state), _terms(state)["refunded"]
    amount = format_money(claim["currency"], claim["amount"])
    before = f" {format_money(claim['currency'], refunded)} were refunded before." if refunded else ""
    cause = claim["cause"].replace("_", " ")
    return f"Refund {amount} of invoice {claim['invoice_id']}? The customer reports the item as {cause}.{before}"


def report(state: State) -> Update:
    """Report the refund that billing has confirmed, from a text."""
    claim = _claim(state)
    answer = texts.about_claim(state["language"], "refunded", claim, policy_of(state))
    return {"answer": answer, "outcome": "refunded", "confidence": 1.0, "sources": [claim["invoice_id"]]}


async def refund_status(state: State) -> Update:
    """Answer a question about refunds from the books: those of the customer's newest invoices, with their dates."""
    language, invoices = state["language"], state["invoices"]
    if invoices is None:
        return needs_person("unsure")
    try:
        found = [line for invoice in invoices for line in await _refunds_of(state, invoice)]
    except GraphmeshError:
        return needs_person("unsure", texts.note(state, "billing"))
    intro = [state["answer"]] if state["answer"] else []
    if not found:
        return {"answer": "\n".join([*intro, texts.reply(language, "no_refund")]), "outcome": "answered"}
    sources = list(dict.fromkeys(invoice_id for invoice_id, _ in found))
    answer = "\n".join([*intro, *(line for _, line in found), texts.arrival(language, policy_of(state))])
    return {"answer": answer, "outcome": "answered", "sources": sources}


async def _refunds_of(state: State, invoice: Invoice) -> list[tuple[str, str]]:
    if not any(line["refunded"] for line in invoice["lines"]):
        return []
    charges = [
        await call(BillingService.GetCharge, GetChargeRequest(charge_id=charge_id))
        for charge_id in invoice["charge_ids"]
    ]
    refunds = [refund for charge in charges for refund in charge.refunds]
    return [
        (invoice["invoice_id"], _refund_line(state["language"], invoice["invoice_id"], refund)) for refund in refunds
    ]


def _refund_line(language: str, invoice_id: str, refund: RefundMade) -> str:
    amount = format_money(refund.amount.currency_code, refund.amount.amount_minor)
    date = refund.create_time.ToDatetime().date().isoformat()
    return texts.reply(language, "refund_made", date=date, amount=amount, invoice=invoice_id)
