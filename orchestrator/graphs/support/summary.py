"""Describes a run to the model, and to the person who takes over."""

from collections.abc import Mapping

from graphmesh_contracts import format_money

from support.state import Account, Invoice, Order, Reason, State

REASON_TEXTS: Mapping[Reason, str] = {
    "unreadable": "there are no words in the message",
    "unknown_customer": "the CRM does not know the customer",
    "person_wanted": "a complaint, a legal matter, or the wish to speak to a person",
    "refund_not_automatic": "the refund is not one that may be granted automatically",
    "billing_down": "billing could not be reached; no refund was made",
    "refund_uncertain": "billing did not confirm the refund; look whether it was made before making one",
    "refund_denied": "nobody has agreed to the refund; it was not made",
    "knowledge_down": "retrieval could not be reached",
    "model_down": "the model could not be reached",
    "unsure": "the articles do not cover the question, or the drafted answer failed its checks",
}
"""The reasons for the person who takes over."""
MAX_SHOWN_INVOICES = 5
MAX_MESSAGE_CHARACTERS = 7_000


def subject(state: State) -> str:
    return f"{state['category'].capitalize()}: {REASON_TEXTS[state['reason'] or 'unsure']}"[:200]


def description(state: State) -> str:
    """Describe the request for the person who takes over: message, reason, checks, account, invoices, articles."""
    parts = [
        f"Customer {state['customer_id']} wrote:\n\n{state['message'][:MAX_MESSAGE_CHARACTERS]}",
        f"Handed over because: {REASON_TEXTS[state['reason'] or 'unsure']}.",
        _checks("Failed checks", state["checks"], passed=False),
        _checks("Passed checks", state["checks"], passed=True),
        f"Known of the customer:\n{customer_facts(state['account'], state['orders'])}",
        _invoices(state["invoices"]),
        _list("Articles found", [passage["document_id"] for passage in state["passages"] or []]),
        _list("Notes", state["notes"]),
    ]
    return "\n\n".join(part for part in parts if part)


def customer_facts(account: Account | None, orders: list[Order] | None) -> str:
    """Describe account and orders without personal data."""
    tier = "Nothing: the records could not be read." if account is None else f"Tier: {account['tier'] or 'unknown'}."
    lines = [f"Order {order['order_id']}: {order['title']}, {order['status']}." for order in orders or []]
    return "\n".join([tier, *lines])


def _invoices(invoices: list[Invoice] | None) -> str:
    if invoices is None:
        return "Invoices: could not be read."
    return _list("Invoices", [_invoice(invoice) for invoice in invoices[:MAX_SHOWN_INVOICES]])


def _invoice(invoice: Invoice) -> str:
    total, status = format_money(invoice["currency"], invoice["total"]), "paid" if invoice["paid"] else "open"
    return f"{invoice['invoice_id']} of {invoice['issued'][:10]}, {total}, {status}"


def _checks(title: str, checks: dict[str, bool], *, passed: bool) -> str:
    return _list(title, [name for name, result in checks.items() if result is passed])


def _list(title: str, entries: list[str]) -> str:
    return "\n".join([f"{title}:", *(f"- {entry}" for entry in dict.fromkeys(entries))]) if entries else ""
