"""The nodes of the support agent: each returns its update of the state.

Nodes that call a tool are made by `remote` and define the fallback for a tool that is down. Nodes that decide are
ordinary functions.
"""

from datetime import UTC, datetime

from graphmesh.billing.v1 import (
    BillingService,
    ListInvoicesRequest,
    ListInvoicesResponse,
    PreviewRefundResponse,
    RefundRequest,
    RefundResponse,
    RefundRuleEffect,
)
from graphmesh.crm.v1 import (
    CrmService,
    GetCustomerRequest,
    GetCustomerResponse,
    ListRecordsRequest,
    ListRecordsResponse,
)
from graphmesh.retrieval.v1 import RetrievalService, SearchResponse
from graphmesh.ticketing.v1 import CreateTicketResponse, TicketingService
from graphmesh_contracts import format_money
from graphmesh_nodes import ApprovalRule, GraphmeshChatModel, Update, degrade, remote
from graphmesh_nodes.errors import ApprovalDenied, ApprovalRequired, GraphmeshError, NotFound, RuleViolated
from langchain_core.messages import HumanMessage, SystemMessage
from langgraph.constants import TAG_NOSTREAM
from langgraph.types import Overwrite

from support import convert, policy, prompts, relevance, summary, untrusted, validation
from support.state import Account, Invoice, Passage, Reason, RefundClaim, State, Terms

NO_ACCOUNT = "Our customer records could not be reached, so this was worked on without regard to your account."
NO_BILLING = "Our billing system could not be reached."
NO_KNOWLEDGE = "Our knowledge articles could not be reached."
NO_MODEL = "The language model could not be reached, or its answer could not be used."
NO_TICKET = "No ticket could be opened: the ticket system could not be reached."
TICKET_UNCERTAIN = "The ticket system did not confirm that a ticket was opened."

MAX_INVOICES = 100
"""Invoices of a customer that are read, newest first."""
KEPT_INVOICES = 5
MAX_ORDERS = 5
MIN_RELATIVE_RELEVANCE = 0.9
"""Passages below this share of the best one's relevance are dropped, since they distract the model."""

MODEL = GraphmeshChatModel()
CLASSIFIER = (
    GraphmeshChatModel(disable_streaming=True)
    .with_structured_output(dict(prompts.CLASSIFICATION))
    .with_config(tags=[TAG_NOSTREAM])
)
"""Its answer is for the graph alone, so it is not streamed to the run's watchers."""


def receive(state: State) -> Update:
    """Reset the state: a thread keeps the findings of its earlier runs, which do not apply to this request."""
    message = untrusted.readable(state["message"])
    return {
        "customer_id": state["customer_id"].strip(),
        "message": message,
        "received": datetime.now(UTC).isoformat(),
        "prompts": dict(prompts.VERSIONS),
        "reason": None if untrusted.has_words(message) else "unreadable",
        **_EMPTY_FINDINGS,
        "notes": Overwrite([]),
        "checks": Overwrite({}),
    }


_EMPTY_FINDINGS: Update = {
    "answer": "",
    "outcome": "escalated",
    "category": "other",
    "cause": "none",
    "confidence": 0.0,
    "ticket_id": None,
    "refund_id": None,
    "sources": [],
    "account": None,
    "orders": None,
    "invoices": None,
    "passages": None,
    "claim": None,
    "terms": None,
}


def needs_person(reason: Reason, *notes: str) -> Update:
    """Update the state so that a person takes over."""
    return {"reason": reason, "notes": list(notes)}


async def classify(state: State) -> Update:
    """Classify the message. The model sees nothing but the message."""
    prompt = [SystemMessage(prompts.CLASSIFY), HumanMessage(untrusted.question(state["message"]))]
    try:
        found = await CLASSIFIER.ainvoke(prompt)
    except GraphmeshError:
        return needs_person("model_down", NO_MODEL)
    return {"category": found["intent"], "cause": found["cause"], "confidence": found["confidence"]}


def _account_found(_: State, response: GetCustomerResponse) -> Update:
    return {"account": convert.account(response.customer)}


customer = remote(
    CrmService.GetCustomer,
    request=lambda state: GetCustomerRequest(customer_id=state["customer_id"]),
    update=_account_found,
    fallback=degrade(lambda _, __: {"notes": [NO_ACCOUNT]}),
    refusals={NotFound: degrade(lambda _, __: {"account": Account(known=False, tier="")})},
)


def _orders_found(_: State, response: ListRecordsResponse) -> Update:
    return {"orders": [convert.order(record) for record in response.records]}


orders = remote(
    CrmService.ListRecords,
    request=lambda state: ListRecordsRequest(customer_id=state["customer_id"], kind="order", page_size=MAX_ORDERS),
    update=_orders_found,
    fallback=degrade(lambda _, __: {"notes": [NO_ACCOUNT]}),
    refusals={NotFound: degrade(lambda _, __: {"orders": []})},
)


def _invoices_found(state: State, response: ListInvoicesResponse) -> Update:
    """Keep the newest invoices and those that the message names, so that the state stays small."""
    found = [convert.invoice(invoice) for invoice in response.invoices]
    named = policy.invoices_named(state["message"], found)
    return {"invoices": [invoice for index, invoice in enumerate(found) if index < KEPT_INVOICES or invoice in named]}


invoices = remote(
    BillingService.ListInvoices,
    request=lambda state: ListInvoicesRequest(customer_id=state["customer_id"], page_size=MAX_INVOICES),
    update=_invoices_found,
    fallback=degrade(lambda _, __: {"notes": [NO_BILLING]}),
)


def _passages_found(state: State, response: SearchResponse) -> Update:
    passages = [convert.passage(passage, state["message"]) for passage in response.passages]
    least = MIN_RELATIVE_RELEVANCE * relevance.best(passages)
    return {"passages": [passage for passage in passages if passage["relevance"] >= least > 0]}


knowledge = remote(
    RetrievalService.Search,
    request=convert.search_request,
    update=_passages_found,
    fallback=degrade(lambda _, __: {"notes": [NO_KNOWLEDGE]}),
)


def assess(state: State) -> Update:
    """Decide between a person, a refund (if a claim is set) and an answer."""
    if reason := state["reason"] or _escalation_reason(state):
        return needs_person(reason)
    return _assess_claim(state) if policy.is_claim(state) else _assess_knowledge(state)


def _escalation_reason(state: State) -> Reason | None:
    if state["account"] is not None and not state["account"]["known"]:
        return "unknown_customer"
    if state["category"] == "complaint" or policy.needs_person(state["message"]):
        return "person_wanted"
    return None


def _assess_claim(state: State) -> Update:
    if state["invoices"] is None:
        return needs_person("billing_down")
    named = policy.invoices_named(state["message"], state["invoices"])
    checks = policy.claim_checks(state, named)
    if not all(checks.values()):
        return {"checks": dict(checks), **needs_person("refund_not_automatic")}
    return {"checks": dict(checks), "claim": _claim(state, named[0])}


def _claim(state: State, invoice: Invoice) -> RefundClaim:
    return RefundClaim(
        invoice_id=invoice["invoice_id"],
        charge_id=invoice["charge_ids"][0],
        lines=policy.claimed_lines(state["message"], invoice) or [],
        currency=invoice["currency"],
        cause=state["cause"],
    )


def _assess_knowledge(state: State) -> Update:
    passages = _order_status_passages(state) or state["passages"]
    if passages is None:
        return needs_person("knowledge_down")
    covered = validation.is_covered(state["message"], passages)
    return {"passages": passages, "checks": {"answer.known": covered}, "reason": None if covered else "unsure"}


def _order_status_passages(state: State) -> list[Passage]:
    """Return passages of the orders that the message names, if the question is about their status alone."""
    if state["cause"] != "none":
        return []
    question = relevance.words(relevance.question_of(state["message"]))
    named = [order for order in state["orders"] or [] if policy.mentions_id(state["message"], order["order_id"])]
    passages = [convert.order_passage(order) for order in named]
    return [passage for passage in passages if relevance.share(question, passage["text"]) == 1]


def _required_claim(state: State) -> RefundClaim:
    if state["claim"] is None:
        raise ValueError("the state has no claim")
    return state["claim"]


def _required_terms(state: State) -> Terms:
    if state["terms"] is None:
        raise ValueError("the state has no terms")
    return state["terms"]


def _previewed(state: State, response: PreviewRefundResponse) -> Update:
    """Keep what billing said: the checks that failed by their rules, and the terms of the refund."""
    denied = [broken for broken in response.broken if broken.effect == RefundRuleEffect.REFUND_RULE_EFFECT_DENY]
    attempt = state["terms"]["attempt"] + 1 if state["terms"] else 1
    terms = Terms(
        refunded=response.charge.refunded.amount_minor, needs_approval=response.needs_approval, attempt=attempt
    )
    checks = {"refund.allowed": response.allowed, **{f"refund.{broken.rule}": False for broken in denied}}
    return {"checks": checks, "terms": terms, "reason": None if response.allowed else "refund_not_automatic"}


preview = remote(
    BillingService.PreviewRefund,
    request=lambda state: convert.preview_request(_required_claim(state)),
    update=_previewed,
    fallback=degrade(lambda _, __: needs_person("billing_down", NO_BILLING)),
)


def _refund_made(_: State, response: RefundResponse) -> Update:
    return {"refund_id": response.refund.refund_id}


def _refund_failed(_: State, error: GraphmeshError) -> Update:
    reason: Reason = "refund_uncertain" if error.may_have_happened else "billing_down"
    return needs_person(reason, NO_BILLING)


def _approval_question(state: State, _: RefundRequest) -> str:
    claim = _required_claim(state)
    amount = format_money(claim["currency"], policy.total(claim))
    refunded = _required_terms(state)["refunded"]
    before = f" {format_money(claim['currency'], refunded)} were refunded before." if refunded else ""
    return (
        f"Refund {amount} of invoice {claim['invoice_id']}? The customer reports the item as {claim['cause']}.{before}"
    )


def _refund_refused(state: State, error: GraphmeshError) -> Update:
    """Consult billing again where the charge has changed since the preview, a bounded number of times."""
    changed = isinstance(error, ApprovalRequired) or error.data.get("rule") == "refunded_differs"
    if changed and _required_terms(state)["attempt"] < policy.MAX_PREVIEWS:
        return {}
    return needs_person("refund_not_automatic")


refund = remote(
    BillingService.Refund,
    request=lambda state: convert.refund_request(_required_claim(state), _required_terms(state)),
    update=_refund_made,
    fallback=degrade(_refund_failed),
    refusals={
        RuleViolated: degrade(_refund_refused),
        ApprovalRequired: degrade(_refund_refused),
        ApprovalDenied: degrade(lambda _, __: needs_person("refund_denied")),
    },
    approval=ApprovalRule(
        question=_approval_question,
        scopes=("approvals.refund",),
        when=lambda state, _: _required_terms(state)["needs_approval"],
    ),
)


def confirm(state: State) -> Update:
    """Write the confirmation of the refund from a template, without a model."""
    claim = _required_claim(state)
    amount = format_money(claim["currency"], policy.total(claim))
    answer = prompts.refunded(amount, claim["invoice_id"], claim["cause"])
    return {"answer": answer, "checks": dict(validation.check_refund(answer, amount, claim["invoice_id"]))}


async def draft(state: State) -> Update:
    """Let the model answer from the passages alone."""
    system = prompts.draft(summary.customer_facts(state["account"], state["orders"]))
    question = untrusted.question(state["message"], state["passages"] or ())
    try:
        written = await MODEL.ainvoke([SystemMessage(system), HumanMessage(question)])
    except GraphmeshError:
        return needs_person("model_down", NO_MODEL)
    return {"answer": str(written.text).strip()}


def validate(state: State) -> Update:
    """Check the drafted answer for policy, tone, completeness and sources, and compute its confidence."""
    answer, passages = state["answer"], state["passages"] or []
    checks = validation.check_answer(state["message"], answer, passages)
    return {
        "checks": dict(checks),
        "confidence": validation.confidence(state["message"], answer, passages),
        "reason": None if all(checks.values()) else "unsure",
    }


def finish(state: State) -> Update:
    """Complete the answer with its outcome, its sources, and a note if the account could not be read."""
    outcome = "refunded" if state["refund_id"] else "answered"
    sources = [] if state["refund_id"] else validation.sources(state["answer"], state["passages"] or [])
    notes = [note for note in state["notes"] if note == NO_ACCOUNT]
    return {"answer": "\n\n".join([state["answer"], *notes]), "outcome": outcome, "sources": sources}


def _handed_over(state: State, response: CreateTicketResponse) -> Update:
    answer = prompts.handed_over(state["reason"] or "unsure", policy.ANSWER_TIME)
    return {"answer": answer, "outcome": "escalated", "ticket_id": response.ticket.ticket_id}


def _not_handed_over(state: State, error: GraphmeshError) -> Update:
    answer = prompts.not_handed_over(state["reason"] or "unsure")
    note = TICKET_UNCERTAIN if error.may_have_happened else NO_TICKET
    return {"answer": answer, "outcome": "escalated", "notes": [note]}


hand_over = remote(
    TicketingService.CreateTicket,
    request=convert.ticket_request,
    update=_handed_over,
    fallback=degrade(_not_handed_over),
)
