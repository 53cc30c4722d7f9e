"""What the model and the person who takes over are told of a run."""

from collections.abc import Mapping

from support.state import Account, Invoice, Order, Reason, State

WHY: Mapping[Reason, str] = {
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
"""The reasons of `state.Reason`, for colleagues."""
SHOWN_INVOICES = 5
LONGEST_MESSAGE = 7_000


def money(amount: int, currency: str) -> str:
    """`18.90 EUR`."""
    return f"{amount // 100}.{amount % 100:02d} {currency}"


def subject(state: State) -> str:
    return f"{state['category'].capitalize()}: {WHY[state['reason'] or 'unsure']}"[:200]


def description(state: State) -> str:
    """The message, why it comes to a person, and what is known: all that is needed to answer it."""
    parts = [
        f"Customer {state['customer_id']} wrote:\n\n{state['message'][:LONGEST_MESSAGE]}",
        f"Handed over because: {WHY[state['reason'] or 'unsure']}.",
        _checks("Failed checks", state["checks"], passed=False),
        _checks("Passed checks", state["checks"], passed=True),
        f"Known of the customer:\n{known(state['account'], state['orders'])}",
        _invoices(state["invoices"]),
        _list("Articles found", [passage["document_id"] for passage in state["passages"] or []]),
        _list("Notes", state["notes"]),
    ]
    return "\n\n".join(part for part in parts if part)


def known(account: Account | None, orders: list[Order] | None) -> str:
    """The account in plain words, without anything that says who it is."""
    standing = (
        "Nothing: the records could not be read." if account is None else f"Tier: {account['tier'] or 'unknown'}."
    )
    lines = [f"Order {order['order_id']}: {order['title']}, {order['status']}." for order in orders or []]
    return "\n".join([standing, *lines])


def _invoices(invoices: list[Invoice] | None) -> str:
    if invoices is None:
        return "Invoices: could not be read."
    return _list("Invoices", [_invoice(invoice) for invoice in invoices[:SHOWN_INVOICES]])


def _invoice(invoice: Invoice) -> str:
    total, standing = money(invoice["total"], invoice["currency"]), "paid" if invoice["paid"] else "open"
    return f"{invoice['invoice_id']} of {invoice['issued'][:10]}, {total}, {standing}"


def _checks(title: str, checks: dict[str, bool], *, passed: bool) -> str:
    return _list(title, [name for name, result in checks.items() if result is passed])


def _list(title: str, entries: list[str]) -> str:
    return "\n".join([f"{title}:", *(f"- {entry}" for entry in dict.fromkeys(entries))]) if entries else ""
