"""Describes a run to the model, and to the person who takes over."""

from collections.abc import Mapping

from graphmesh_contracts import format_money
from graphmesh_nodes.guardrails.untrusted import delimited
from langchain_core.messages import HumanMessage

from support.policy import policy_of
from support.state import Account, Claim, Invoice, Order, Reason, State

REASON_TEXTS: Mapping[Reason, str] = {
    "emergency": "an emergency",
    "unknown_customer": "the CRM does not know the customer",
    "person_wanted": "a complaint, or the wish to speak to a person",
    "language": "the policy has no answers in the language of the message",
    "request": "the customer requests something that the agent cannot do, or has accepted to be handed over",
    "refund_not_automatic": "the refund is not one that may be granted automatically; no refund was made",
    "order_unknown": "the CRM has no order of the invoice; no refund was made",
    "charged_twice": "the customer reports a double charge; compare the payments",
    "records_down": "the order records could not be reached; no refund was made",
    "billing_down": "billing could not be reached; no refund was made",
    "refund_uncertain": "billing did not confirm the refund; check whether it was made before making one",
    "refund_denied": "an approver has denied the refund, or none has answered; it was not made",
    "knowledge_down": "retrieval could not be reached",
    "model_down": "the model could not be reached",
    "unsure": "no answer passed all checks",
    "too_many_turns": "the conversation has taken many turns without a result",
}
"""The reasons for the person who takes over."""
MAX_MESSAGE_CHARACTERS = 5_000
MAX_HISTORY_CHARACTERS = 2_500
MAX_EARLIER_CHARACTERS = 1_000
"""Of each earlier message, in a prompt."""


def subject(state: State) -> str:
    topic = f" ({state['emergency']})" if state["emergency"] else ""
    return f"{state['category'].replace('_', ' ').capitalize()}{topic}: {REASON_TEXTS[_reason(state)]}"[:200]


def description(state: State) -> str:
    """Describe the request: message, reason, conversation, checks, claim, account, invoices, articles."""
    parts = [
        f"Customer {state['customer_id']} wrote:\n\n{state['message'][:MAX_MESSAGE_CHARACTERS]}",
        f"Handed over because: {REASON_TEXTS[_reason(state)]}.",
        _conversation(state),
        _claim(state["claim"]),
        _checks("Failed checks", state["checks"], passed=False),
        _checks("Passed checks", state["checks"], passed=True),
        f"Known of the customer:\n{customer_facts(state['account'], state['orders'])}",
        _invoices(state["invoices"]),
        _list("Articles found", [passage["document_id"] for passage in state["passages"] or []]),
        _list("Notes", state["notes"]),
    ]
    return "\n\n".join(part for part in parts if part)


def conversation(state: State) -> list[HumanMessage]:
    """Return the messages before the last one for a prompt: as data, in one message, each bounded in length."""
    limit = policy_of(state).history
    earlier = state["messages"][:-1][-limit:] if limit else []
    lines = [f"{message.type}: {str(message.text)[:MAX_EARLIER_CHARACTERS]}" for message in earlier]
    return [HumanMessage(delimited("conversation", "\n".join(lines)))] if lines else []


def customer_facts(account: Account | None, orders: list[Order] | None) -> str:
    """Describe account and orders without personal data."""
    tier = "Nothing: the records were not read." if account is None else f"Tier: {account['tier'] or 'unknown'}."
    lines = [f"Order {order['order_id']}: {order['title']}, {order['status']}." for order in (orders or [])[:5]]
    return "\n".join([tier, *lines])


def _reason(state: State) -> Reason:
    return state["reason"] or "unsure"


def _conversation(state: State) -> str:
    """Return the messages before the last one, the newest where there is not room for all."""
    earlier = [f"{message.type}: {message.text}" for message in state["messages"][:-1]]
    return "Before that:\n" + "\n".join(earlier)[-MAX_HISTORY_CHARACTERS:] if earlier else ""


def _claim(claim: Claim | None) -> str:
    if claim is None:
        return ""
    lines = [f"{line['quantity']} × {line['description']}" for line in claim["lines"]]
    amount = format_money(claim["currency"], claim["amount"])
    return _list(f"Claimed: {amount} of {claim['invoice_id']}, {claim['cause'].replace('_', ' ')}", lines)


def _invoices(invoices: list[Invoice] | None) -> str:
    if invoices is None:
        return "Invoices: were not read."
    return _list("Invoices", [_invoice(invoice) for invoice in invoices[:5]])


def _invoice(invoice: Invoice) -> str:
    total, status = format_money(invoice["currency"], invoice["total"]), "paid" if invoice["paid"] else "open"
    return f"{invoice['invoice_id']} of {invoice['issued'][:10]}, {total}, {status}"


def _checks(title: str, checks: dict[str, bool], *, passed: bool) -> str:
    return _list(title, [name for name, result in checks.items() if result is passed])


def _list(title: str, entries: list[str]) -> str:
    return "\n".join([f"{title}:", *(f"- {entry}" for entry in dict.fromkeys(entries))]) if entries else ""
