"""What the agent may decide by itself. Every number of the shop's policy stands here and nowhere else.

The decisions take the customer's words and billing's own data. No function of this module is given retrieved text (H4).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from support.state import Invoice, State

CURRENCY = "EUR"
REFUND_LIMIT = 50_00
"""Minor units; a person looks at larger refunds."""
CONSENT_LIMIT = 40_00
"""Minor units; a person has to agree before a larger refund is made."""
REFUND_WINDOW = timedelta(days=30)
"""After the invoice was issued."""
ANSWER_WITHIN = "one working day"
"""When a person answers."""

SURE_OF_REFUND = 0.2
"""The least confidence in the category with which money is given back."""

PERSON_WANTED = re.compile(
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
"""Matters that the shop's articles reserve for people, whatever else the message says."""

_NUMBER = r"(\d{1,3}(?:[.,]\d{3}){1,3}(?:[.,]\d{1,2})?|\d{1,9}(?:[.,]\d{1,2})?)"
_AMOUNT = re.compile(
    rf"(?:€|\bEUR\b|\beuros?\b)\s*{_NUMBER}(?![.,]?\d)|(?<![\d.,]){_NUMBER}\s*(?:€|EUR\b|euros?\b)", re.I
)
_OTHER_CURRENCY = re.compile(r"[$£¥]|\b(?:USD|GBP|CHF|JPY|dollars?|pounds?|francs?)\b", re.I)
_INVOICE = re.compile(r"\bINV\W?\d+|\binvoice\s+(?:number\s+|no\.?\s+|nr\.?\s+|is\s+|#\s*)*(?=\S*\d)\S+", re.I)
_CALLED_AN_INVOICE = r"(?:\binvoice(?:\s+(?:number|no\.?|nr\.?|is))*\s+|#)"
_ALL_OF_IT = re.compile(r"\b(?:whole|entire|everything|full|complete|all of)\b", re.I)
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Charge:
    """What was taken for an invoice, and what was given back of it; minor units."""

    amount: int
    refunded: int


def wants_person(message: str) -> bool:
    """Whether the message is about something that only people decide."""
    return PERSON_WANTED.search(message) is not None


def is_claim(state: State) -> bool:
    """Whether the customer asks for a refund of something, and not how refunds work."""
    message = state["message"]
    concrete = bool(_INVOICE.search(message) or amounts(message) or named(message, state["invoices"] or []))
    demanded = state["cause"] != "none" and "?" not in message
    return state["category"] == "refund" and (concrete or demanded)


def named(message: str, invoices: Sequence[Invoice]) -> list[Invoice]:
    """Those of the customer's own invoices that the message names."""
    return [invoice for invoice in invoices if names(message, invoice["invoice_id"])]


def names(message: str, identity: str) -> bool:
    """Whether the message has the id. One without letters could be any number, unless the word before it says more."""
    before = r"(?<![\w-])" if re.search("[A-Za-z]", identity) else _CALLED_AN_INVOICE
    return re.search(rf"{before}{re.escape(identity)}(?![\w-]|[.,]\d)", message, re.IGNORECASE) is not None


def amounts(message: str) -> set[int]:
    """The different amounts of the shop's currency in the message, in minor units."""
    return {_minor(before or after) for before, after in _AMOUNT.findall(message)}


def _minor(number: str) -> int:
    """`1,200`, `1.200,00` and `18.9` alike: one or two digits after the last mark are a fraction."""
    whole, mark, rest = number.replace(",", ".").rpartition(".")
    if mark and len(rest) < 3:
        return int(whole.replace(".", "")) * 100 + int(rest.ljust(2, "0"))
    return int(number.replace(",", "").replace(".", "")) * 100


def claimed(message: str, invoice: Invoice) -> int | None:
    """How much of the invoice the customer claims; None where that is not clear, or is no price on it.

    Said in this order: by an amount, by naming items, by `everything`; an invoice of one line leaves no doubt.
    """
    prices = {invoice["total"], *(line["amount"] for line in invoice["lines"])}
    said = amounts(message)
    if said or _OTHER_CURRENCY.search(message):
        return said.pop() if len(said) == 1 and said <= prices else None
    if items := [line["amount"] for line in invoice["lines"] if _mentions(message, line["description"])]:
        return sum(items)
    return invoice["total"] if len(invoice["lines"]) == 1 or _ALL_OF_IT.search(message) else None


def _mentions(message: str, description: str) -> bool:
    """Whether the message has every word of an item's name, which ends at the first comma."""
    item = set(_WORD.findall(description.partition(",")[0].casefold()))
    return item <= set(_WORD.findall(message.casefold()))


def claim_checks(state: State, invoices: Sequence[Invoice]) -> Mapping[str, bool]:
    """What has to be true of a claim, as far as the invoice tells. `invoices` are those named."""
    invoice = invoices[0] if len(invoices) == 1 else None
    amount = claimed(state["message"], invoice) if invoice else None
    return {
        "refund.sure": state["confidence"] >= SURE_OF_REFUND,
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


def needs_consent(amount: int) -> bool:
    """Whether a person has to agree to a refund that the agent may make otherwise."""
    return amount > CONSENT_LIMIT


def charge_checks(amount: int, charge: Charge) -> Mapping[str, bool]:
    """What has to be true of a claim, as far as the charge tells. A person looks at a second refund of one charge."""
    return {"refund.first": charge.refunded == 0, "refund.covered": amount <= charge.amount - charge.refunded}
