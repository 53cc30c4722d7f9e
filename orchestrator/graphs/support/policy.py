"""The shop's policy: decisions that the agent makes without a person, and all their limits.

The decisions depend on the customer's message and on billing's data alone. No function of this module receives
retrieved text, which is untrusted.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from support.state import Invoice, State

CURRENCY = "EUR"
REFUND_LIMIT = 50_00
"""Minor units; a person decides on larger refunds."""
APPROVAL_LIMIT = 40_00
"""Minor units; larger refunds need an approval."""
REFUND_WINDOW = timedelta(days=30)
"""After the invoice was issued."""
ANSWER_TIME = "one working day"
"""Time in which a person answers."""

MIN_REFUND_CONFIDENCE = 0.2
"""Minimum confidence in the category for a refund."""

ESCALATION_TOPICS = re.compile(
    r"""\b(?:
        lawyers? | attorneys? | solicitors? | legal\s+(?:action|steps|proceedings) | sue | suing | lawsuits? | courts?
        | ombuds\w+ | (?:consumer|data\s+protection)\s+(?:authority|protection|agency) | police | journalists?
        | newspapers? | injur\w+ | hospital | gdpr | chargeback
        | fraud\w* | stolen | hacked | unauthori[sz]ed | (?:someone|somebody)\s+else | lost\s+my(?:\s+\w+)?\s+card
        | (?:did\s+not|didn['’]?t|never)\s+(?:make|made|do|authori[sz]ed?|approved?|recogni[sz]ed?)
        | (?:talk|speak|write|forward(?:\s+\w+)?|pass(?:\s+\w+)?)\s+(?:to|with)\s+(?:(?:an?|some|the|your)\s+)?
          (?:real\s+|human\s+|actual\s+)?(?:person|human|agent|someone|somebody|manager|supervisor|people|representative)
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)
"""Topics that the shop's articles reserve for people."""

_NUMBER = r"(\d{1,3}(?:[.,]\d{3}){1,3}(?:[.,]\d{1,2})?|\d{1,9}(?:[.,]\d{1,2})?)"
_AMOUNT = re.compile(
    rf"(?:€|\bEUR\b|\beuros?\b)\s*{_NUMBER}(?![.,]?\d)|(?<![\d.,]){_NUMBER}\s*(?:€|EUR\b|euros?\b)", re.I
)
_OTHER_CURRENCY = re.compile(r"[$£¥]|\b(?:USD|GBP|CHF|JPY|dollars?|pounds?|francs?)\b", re.I)
_INVOICE = re.compile(r"\bINV\W?\d+|\binvoice\s+(?:number\s+|no\.?\s+|nr\.?\s+|is\s+|#\s*){0,8}(?=\S*\d)\S", re.I)
_CALLED_AN_INVOICE = r"(?:\binvoice(?:\s+(?:number|no\.?|nr\.?|is))*\s+|#)"
_ALL_OF_IT = re.compile(r"\b(?:whole|entire|everything|full|complete|all of)\b", re.I)
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Charge:
    """Charged and refunded amounts of an invoice, in minor units."""

    amount: int
    refunded: int


def needs_person(message: str) -> bool:
    """Report whether the message is about a topic that only people decide."""
    return ESCALATION_TOPICS.search(message) is not None


def is_claim(state: State) -> bool:
    """Distinguish a request for a refund from a question about refunds."""
    message = state["message"]
    concrete = bool(_INVOICE.search(message) or amounts(message) or invoices_named(message, state["invoices"] or []))
    demanded = state["cause"] != "none" and "?" not in message
    return state["category"] == "refund" and (concrete or demanded)


def invoices_named(message: str, invoices: Sequence[Invoice]) -> list[Invoice]:
    """Return those of the customer's invoices that the message names."""
    return [invoice for invoice in invoices if mentions_id(message, invoice["invoice_id"])]


def mentions_id(message: str, identity: str) -> bool:
    """Report whether the message contains the id; one without letters counts only after "invoice" or "#"."""
    before = r"(?<![\w-])" if re.search("[A-Za-z]", identity) else _CALLED_AN_INVOICE
    return re.search(rf"{before}{re.escape(identity)}(?![\w-]|[.,]\d)", message, re.IGNORECASE) is not None


def amounts(message: str) -> set[int]:
    """Return the distinct amounts in the shop's currency in the message, in minor units."""
    return {_minor_units(before or after) for before, after in _AMOUNT.findall(message)}


def _minor_units(number: str) -> int:
    """Parse `1,200`, `1.200,00` and `18.9` alike: one or two digits after the last separator are a fraction."""
    whole, separator, rest = number.replace(",", ".").rpartition(".")
    if separator and len(rest) < 3:
        return int(whole.replace(".", "")) * 100 + int(rest.ljust(2, "0"))
    return int(number.replace(",", "").replace(".", "")) * 100


def claimed_amount(message: str, invoice: Invoice) -> int | None:
    """Return the claimed amount in minor units; None if it is ambiguous, or not a price on the invoice.

    In the order of precedence: an amount, names of items, a word like "everything", an invoice of only one line.
    """
    prices = {invoice["total"], *(line["amount"] for line in invoice["lines"])}
    stated = amounts(message)
    if stated or _OTHER_CURRENCY.search(message):
        return stated.pop() if len(stated) == 1 and stated <= prices else None
    if items := [line["amount"] for line in invoice["lines"] if _mentions(message, line["description"])]:
        return sum(items)
    return invoice["total"] if len(invoice["lines"]) == 1 or _ALL_OF_IT.search(message) else None


def _mentions(message: str, description: str) -> bool:
    """Report whether the message contains every word of an item's name, the description up to the first comma."""
    item = set(_WORD.findall(description.partition(",")[0].casefold()))
    return item <= set(_WORD.findall(message.casefold()))


def claim_checks(state: State, invoices: Sequence[Invoice]) -> Mapping[str, bool]:
    """Check a claim against the `invoices` that the message names; all checks must pass for a refund."""
    invoice = invoices[0] if len(invoices) == 1 else None
    amount = claimed_amount(state["message"], invoice) if invoice else None
    return {
        "refund.sure": state["confidence"] >= MIN_REFUND_CONFIDENCE,
        "refund.one_own_invoice": invoice is not None,
        "refund.cause": state["cause"] != "none",
        "refund.paid_by_one_charge": invoice is not None and invoice["paid"] and len(invoice["charge_ids"]) == 1,
        "refund.in_time": invoice is not None and _in_time(invoice, state["received"]),
        "refund.amount_is_clear": amount is not None,
        "refund.small_enough": amount is not None and invoice is not None and _small(amount, invoice["currency"]),
    }


def _in_time(invoice: Invoice, received: str) -> bool:
    return datetime.fromisoformat(received) - datetime.fromisoformat(invoice["issued"]) <= REFUND_WINDOW


def _small(amount: int, currency: str) -> bool:
    return 0 < amount <= REFUND_LIMIT and currency == CURRENCY


def needs_approval(amount: int) -> bool:
    """Report whether a refund within the agent's limit needs an approval."""
    return amount > APPROVAL_LIMIT


def charge_checks(amount: int, charge: Charge) -> Mapping[str, bool]:
    """Check a claim against its charge. A second refund of one charge needs a person."""
    return {"refund.first": charge.refunded == 0, "refund.covered": amount <= charge.amount - charge.refunded}
