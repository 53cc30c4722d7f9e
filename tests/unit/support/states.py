"""Sample states of the support agent."""

from typing import Any, cast

from support.state import Invoice, Line, Passage, State

RECEIVED = "2026-11-20T12:00:00+00:00"
INK = "Hi, the bottle of Rowan Red was cracked. Please refund the 18.90 EUR, the invoice is INV-1."


def line(line_id: str, description: str, amount: int, quantity: int = 1) -> Line:
    return Line(line_id=line_id, description=description, quantity=quantity, amount=amount)


def invoice(invoice_id: str = "INV-1", **changes: Any) -> Invoice:
    """An invoice of 33.40 EUR, paid eight days ago."""
    default = Invoice(
        invoice_id=invoice_id,
        currency="EUR",
        total=33_40,
        paid=True,
        issued="2026-11-12T12:00:00+00:00",
        charge_ids=["ch_1"],
        lines=[
            line("1", "Rowan Red ink, 50 ml", 18_90),
            line("2", "Fallow 90 notebook A5", 14_50),
        ],
    )
    return cast(Invoice, {**default, **changes})


def passage(
    text: str, title: str = "Cleaning a nib", document_id: str = "cleaning.md", relevance: float = 1.0
) -> Passage:
    return Passage(document_id=document_id, title=title, text=text, relevance=relevance)


def state(message: str = INK, **changes: Any) -> State:
    """A state just before `assess`: a claim that may be granted."""
    known = {
        "customer_id": "cu_1",
        "message": message,
        "received": RECEIVED,
        "prompts": {},
        "answer": "",
        "outcome": "escalated",
        "category": "refund",
        "cause": "damaged",
        "confidence": 0.6,
        "ticket_id": None,
        "refund_id": None,
        "sources": [],
        "notes": [],
        "account": {"known": True, "tier": "standard"},
        "orders": [],
        "invoices": [invoice()],
        "passages": [],
        "claim": None,
        "terms": None,
        "checks": {},
        "reason": None,
    }
    return cast(State, {**known, **changes})
