"""The nodes: each takes the state and returns what it adds to it.

Those that call a tool are made by `remote` and say what is done when the tool is down (D5). Those between decide, and
are ordinary functions.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from graphmesh.billing.v1 import (
    BillingService,
    GetChargeRequest,
    GetChargeResponse,
    ListInvoicesRequest,
    ListInvoicesResponse,
    RefundRequest,
    RefundResponse,
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
from graphmesh_chassis.errors import GraphmeshError, NotFound, RuleViolated
from graphmesh_nodes.approval import Approval
from graphmesh_nodes.chat_model import GraphmeshChatModel
from graphmesh_nodes.errors import ApprovalDenied
from graphmesh_nodes.remote import degrade, remote
from langchain_core.messages import HumanMessage, SystemMessage
from langgraph.constants import TAG_NOSTREAM
from langgraph.types import Overwrite

from support import convert, policy, prompts, relevance, summary, untrusted, validation
from support.state import Account, Claim, Invoice, Passage, Reason, State

Update = Mapping[str, Any]

NO_ACCOUNT = "Our customer records could not be reached, so this was worked on without regard to your account."
NO_BILLING = "Our billing system could not be reached."
NO_KNOWLEDGE = "Our knowledge articles could not be reached."
NO_MODEL = "The language model could not be reached, or its answer could not be used."
NO_TICKET = "No ticket could be opened: the ticket system could not be reached."
TICKET_UNCERTAIN = "The ticket system did not confirm that a ticket was opened."

INVOICES = 100
"""How many of a customer's invoices are looked at, the newest first."""
INVOICES_KEPT = 5
ORDERS = 5
RELEVANT = 0.9
"""Passages that are less relevant than this share of the best one only distract."""

MODEL = GraphmeshChatModel()
CLASSIFIER = (
    GraphmeshChatModel(disable_streaming=True)
    .with_structured_output(dict(prompts.CLASSIFICATION))
    .with_config(tags=[TAG_NOSTREAM])
)
"""Its answer is for the graph, not for whoever watches the run."""


def receive(state: State) -> Update:
    """Begin afresh: a thread keeps what an earlier run of it has found, and none of that is true of this request."""
    message = untrusted.readable(state["message"])
    return {
        "customer_id": state["customer_id"].strip(),
        "message": message,
        "received": datetime.now(UTC).isoformat(),
        "prompts": dict(prompts.VERSIONS),
        "reason": None if untrusted.says_something(message) else "unreadable",
        **_NOTHING_YET,
        "notes": Overwrite([]),
        "checks": Overwrite({}),
    }


_NOTHING_YET: Update = {
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
}


def to_person(reason: Reason, *notes: str) -> Update:
    """A person has to take over."""
    return {"reason": reason, "notes": list(notes)}


async def classify(state: State) -> Update:
    """What the customer wants. The model is shown their words alone."""
    asked = [SystemMessage(prompts.CLASSIFY), HumanMessage(untrusted.question(state["message"]))]
    try:
        found = await CLASSIFIER.ainvoke(asked)
    except GraphmeshError:
        return to_person("model_down", NO_MODEL)
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
    request=lambda state: ListRecordsRequest(customer_id=state["customer_id"], kind="order", page_size=ORDERS),
    update=_orders_found,
    fallback=degrade(lambda _, __: {"notes": [NO_ACCOUNT]}),
    refusals={NotFound: degrade(lambda _, __: {"orders": []})},
)


def _invoices_found(state: State, response: ListInvoicesResponse) -> Update:
    """The newest, and those that the message names: the state stays small."""
    found = [convert.invoice(invoice) for invoice in response.invoices]
    named = policy.named(state["message"], found)
    return {"invoices": [invoice for place, invoice in enumerate(found) if place < INVOICES_KEPT or invoice in named]}


invoices = remote(
    BillingService.ListInvoices,
    request=lambda state: ListInvoicesRequest(customer_id=state["customer_id"], page_size=INVOICES),
    update=_invoices_found,
    fallback=degrade(lambda _, __: {"notes": [NO_BILLING]}),
)


def _passages_found(state: State, response: SearchResponse) -> Update:
    passages = [convert.passage(passage, state["message"]) for passage in response.passages]
    least = RELEVANT * relevance.best(passages)
    return {"passages": [passage for passage in passages if passage["relevance"] >= least > 0]}


knowledge = remote(
    RetrievalService.Search,
    request=convert.search_request,
    update=_passages_found,
    fallback=degrade(lambda _, __: {"notes": [NO_KNOWLEDGE]}),
)


def assess(state: State) -> Update:
    """Whether the agent goes on by itself: with a refund where a claim is set, else with an answer."""
    if reason := state["reason"] or _person_needed(state):
        return to_person(reason)
    return _assess_claim(state) if policy.is_claim(state) else _assess_knowledge(state)


def _person_needed(state: State) -> Reason | None:
    if state["account"] is not None and not state["account"]["known"]:
        return "unknown_customer"
    if state["category"] == "complaint" or policy.wants_person(state["message"]):
        return "person_wanted"
    return None


def _assess_claim(state: State) -> Update:
    if state["invoices"] is None:
        return to_person("billing_down")
    named = policy.named(state["message"], state["invoices"])
    checks = policy.claim_checks(state, named)
    if not all(checks.values()):
        return {"checks": dict(checks), **to_person("refund_not_automatic")}
    return {"checks": dict(checks), "claim": _claim(state, named[0])}


def _claim(state: State, invoice: Invoice) -> Claim:
    return Claim(
        invoice_id=invoice["invoice_id"],
        charge_id=invoice["charge_ids"][0],
        amount=policy.claimed(state["message"], invoice) or 0,
        currency=invoice["currency"],
        cause=state["cause"],
    )


def _assess_knowledge(state: State) -> Update:
    passages = _orders_asked_for(state) or state["passages"]
    if passages is None:
        return to_person("knowledge_down")
    known = validation.known(state["message"], passages)
    return {"passages": passages, "checks": {"answer.known": known}, "reason": None if known else "unsure"}


def _orders_asked_for(state: State) -> list[Passage]:
    """The orders that the customer names, where nothing is asked but how they stand."""
    if state["cause"] != "none":
        return []
    asked = relevance.words(relevance.question(state["message"]))
    named = [order for order in state["orders"] or [] if policy.names(state["message"], order["order_id"])]
    passages = [convert.order_passage(order) for order in named]
    return [passage for passage in passages if relevance.share(asked, passage["text"]) == 1]


def _claimed(state: State) -> Claim:
    if state["claim"] is None:
        raise ValueError("only a claim leads here")
    return state["claim"]


def _charge_found(state: State, response: GetChargeResponse) -> Update:
    checks = policy.charge_checks(_claimed(state)["amount"], convert.charge(response.charge))
    return {"checks": dict(checks), "reason": None if all(checks.values()) else "refund_not_automatic"}


charge = remote(
    BillingService.GetCharge,
    request=lambda state: GetChargeRequest(charge_id=_claimed(state)["charge_id"]),
    update=_charge_found,
    fallback=degrade(lambda _, __: to_person("billing_down", NO_BILLING)),
)


def _refund_made(_: State, response: RefundResponse) -> Update:
    return {"refund_id": response.refund.refund_id}


def _refund_failed(_: State, error: GraphmeshError) -> Update:
    reason: Reason = "refund_uncertain" if error.may_have_happened else "billing_down"
    return to_person(reason, NO_BILLING)


def _consent_question(state: State, _: RefundRequest) -> str:
    claim = _claimed(state)
    amount = summary.money(claim["amount"], claim["currency"])
    return f"Refund {amount} of invoice {claim['invoice_id']}? The customer reports the item as {claim['cause']}."


refund = remote(
    BillingService.Refund,
    request=lambda state: convert.refund_request(_claimed(state)),
    update=_refund_made,
    fallback=degrade(_refund_failed),
    refusals={
        RuleViolated: degrade(lambda _, __: to_person("refund_not_automatic")),
        ApprovalDenied: degrade(lambda _, __: to_person("refund_denied")),
    },
    approval=Approval(
        question=_consent_question,
        scopes=("approvals.refund",),
        when=lambda _, request: policy.needs_consent(request.amount.amount_minor),
    ),
)


def confirm(state: State) -> Update:
    """Say what was refunded, in words that no model chose."""
    claim = _claimed(state)
    amount = summary.money(claim["amount"], claim["currency"])
    answer = prompts.refunded(amount, claim["invoice_id"], claim["cause"])
    return {"answer": answer, "checks": dict(validation.of_refund(answer, amount, claim["invoice_id"]))}


async def draft(state: State) -> Update:
    """Let the model answer from the passages, and from nothing else."""
    system = prompts.draft(summary.known(state["account"], state["orders"]))
    question = untrusted.question(state["message"], state["passages"] or ())
    try:
        written = await MODEL.ainvoke([SystemMessage(system), HumanMessage(question)])
    except GraphmeshError:
        return to_person("model_down", NO_MODEL)
    return {"answer": str(written.text).strip()}


def validate(state: State) -> Update:
    """Check the drafted answer: policy, tone, completeness, sources, confidence."""
    answer, passages = state["answer"], state["passages"] or []
    checks = validation.of_answer(state["message"], answer, passages)
    return {
        "checks": dict(checks),
        "confidence": validation.confidence(state["message"], answer, passages),
        "reason": None if all(checks.values()) else "unsure",
    }


def finish(state: State) -> Update:
    """Hand the answer out, with what it was made without."""
    outcome = "refunded" if state["refund_id"] else "answered"
    sources = [] if state["refund_id"] else validation.sources(state["answer"], state["passages"] or [])
    told = [note for note in state["notes"] if note == NO_ACCOUNT]
    return {"answer": "\n\n".join([state["answer"], *told]), "outcome": outcome, "sources": sources}


def _handed_over(state: State, response: CreateTicketResponse) -> Update:
    answer = prompts.handed_over(state["reason"] or "unsure", policy.ANSWER_WITHIN)
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
