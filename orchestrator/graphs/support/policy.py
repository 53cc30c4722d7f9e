"""The shop's policy: decisions that the agent makes without a person. What may be refunded is billing's decision.

The decisions depend on the customer's message and on billing's data alone. No function of this module receives
retrieved text, which is untrusted.
"""

import re
from collections.abc import Mapping, Sequence

from graphmesh_contracts import EXPONENTS, exponent, parse_amount

from support.state import ClaimedLine, Invoice, Line, RefundClaim, State

ANSWER_TIME = "one working day"
"""Time in which a person answers."""
MAX_PREVIEWS = 3
"""How often billing is consulted on a claim whose charge changes meanwhile."""

MIN_REFUND_CONFIDENCE = 0.2
"""Minimum confidence in the category for a refund."""

TOPICS: Mapping[str, re.Pattern[str]] = {
    "emergency": re.compile(r"\b(?:injur\w+|hospital)\b", re.I),
    "security": re.compile(
        r"""\b(?:
            fraud\w* | stolen | hacked | unauthori[sz]ed | (?:someone|somebody)\s+else | lost\s+my(?:\s+\w+)?\s+card
            | (?:did\s+not|didn['’]?t|never)\s+(?:make|made|do|authori[sz]ed?|approved?|recogni[sz]ed?)
        )\b""",
        re.IGNORECASE | re.VERBOSE,
    ),
    "privacy": re.compile(r"\b(?:gdpr|data\s+protection\s+(?:authority|protection|agency))\b", re.I),
    "legal": re.compile(
        r"""\b(?:
            lawyers? | attorneys? | solicitors? | legal\s+(?:action|steps|proceedings) | sue | suing | lawsuits?
            | courts? | ombuds\w+ | consumer\s+(?:authority|protection|agency) | police | journalists? | newspapers?
            | chargeback
        )\b""",
        re.IGNORECASE | re.VERBOSE,
    ),
}
"""Topics that the shop's articles reserve for people, the most urgent first."""
PERSON_WANTED = re.compile(
    r"""\b(?:talk|speak|write|forward(?:\s+\w+)?|pass(?:\s+\w+)?)\s+(?:to|with)\s+(?:(?:an?|some|the|your)\s+)?
        (?:real\s+|human\s+|actual\s+)?(?:person|human|agent|someone|somebody|manager|supervisor|people|representative)
        \b""",
    re.IGNORECASE | re.VERBOSE,
)

_NUMBER = r"(\d{1,3}(?:[.,]\d{3}){1,3}(?:[.,]\d{1,3})?|\d{1,9}(?:[.,]\d{1,2})?)"
_UNIT = r"([€$£¥]|\b(?-i:[A-Z]{3})\b|\b(?:eur|euros?|usd|dollars?|gbp|pounds?|jpy|yen|chf|francs?)\b)"
_AMOUNT = re.compile(rf"{_UNIT}\s*{_NUMBER}(?![.,]?\d)|(?<![\d.,]){_NUMBER}\s*{_UNIT}", re.I)
_CURRENCIES: Mapping[str, frozenset[str]] = {
    unit: frozenset(codes.split())
    for units, codes in {
        "€ eur euro euros": "EUR",
        "usd": "USD",
        "$ dollar dollars": "USD AUD CAD NZD HKD SGD",
        "gbp": "GBP",
        "£ pound pounds": "GBP EGP",
        "jpy yen": "JPY",
        "¥": "JPY CNY",
        "chf": "CHF",
        "franc francs": "CHF XAF XOF XPF",
    }.items()
    for unit in units.split()
}
"""The currencies that a unit in a message may stand for. A code of ISO 4217 stands for itself."""
_INVOICE = re.compile(r"\bINV\W?\d+|\binvoice\s+(?:number\s+|no\.?\s+|nr\.?\s+|is\s+|#\s*){0,8}(?=\S*\d)\S", re.I)
_CALLED_AN_INVOICE = r"(?:\binvoice(?:\s+(?:number|no\.?|nr\.?|is))*\s+|#)"
_ALL_OF_IT = re.compile(r"\b(?:whole|entire|everything|full|complete|all of)\b", re.I)
_WORD = re.compile(r"\w+")


def needs_person(message: str) -> bool:
    """Report whether the message is about a topic that only people decide."""
    return bool(topic(message)) or PERSON_WANTED.search(message) is not None


def topic(message: str) -> str:
    """Return the most urgent topic of the message that is reserved for people; empty for none."""
    return next((topic for topic, pattern in TOPICS.items() if pattern.search(message)), "")


def is_claim(state: State) -> bool:
    """Distinguish a request for a refund from a question about refunds."""
    message = state["message"]
    concrete = bool(_INVOICE.search(message) or _stated(message) or invoices_named(message, state["invoices"] or []))
    demanded = state["cause"] != "none" and "?" not in message
    return state["category"] == "refund" and (concrete or demanded)


def invoices_named(message: str, invoices: Sequence[Invoice]) -> list[Invoice]:
    """Return those of the customer's invoices that the message names."""
    return [invoice for invoice in invoices if mentions_id(message, invoice["invoice_id"])]


def mentions_id(message: str, identity: str) -> bool:
    """Report whether the message contains the id; one without letters counts only after "invoice" or "#"."""
    before = r"(?<![\w-])" if re.search("[A-Za-z]", identity) else _CALLED_AN_INVOICE
    return re.search(rf"{before}{re.escape(identity)}(?![\w-]|[.,]\d)", message, re.IGNORECASE) is not None


def amounts(message: str, currency: str) -> set[int] | None:
    """Return the distinct amounts in the message, in minor units; None where one is in another currency."""
    found = {_minor_units(number, currency) if currency in units else None for units, number in _stated(message)}
    return None if None in found else {minor for minor in found if minor is not None}


def _stated(message: str) -> list[tuple[frozenset[str], str]]:
    """Return the amounts in the message, each with the currencies that it may be in, and its number."""
    found = [(before or after, first or second) for before, first, second, after in _AMOUNT.findall(message)]
    known = [(_CURRENCIES.get(unit.lower(), frozenset({unit} & EXPONENTS.keys())), number) for unit, number in found]
    return [(currencies, number) for currencies, number in known if currencies]


def _minor_units(number: str, currency: str) -> int | None:
    """Parse `1,200`, `1.200,00` and `18.9` alike; None for a fraction that the currency does not have.

    One or two digits after the last separator are a fraction, three only in a currency with three decimal places.
    """
    whole, separator, rest = number.replace(",", ".").rpartition(".")
    is_fraction = separator and (len(rest) < 3 or exponent(currency) == 3)
    return parse_amount(whole.replace(".", "") + ("." if is_fraction else "") + rest, currency)


def claimed_lines(message: str, invoice: Invoice) -> list[ClaimedLine] | None:
    """Return the items that are claimed; None if it is ambiguous, or an amount is not a price on the invoice.

    In the order of precedence: an amount, names of items, a word like "everything", an invoice of only one line.
    """
    lines = invoice["lines"]
    named = [line for line in lines if _mentions(message, line["description"])]
    stated = amounts(message, invoice["currency"])
    if stated is None or len(stated) > 1:
        return None
    if stated:
        return _lines_of_price(stated.pop(), lines, named)
    if named:
        return [_all_of(line) for line in named]
    return [_all_of(line) for line in lines] if len(lines) == 1 or _ALL_OF_IT.search(message) else None


def _lines_of_price(price: int, lines: Sequence[Line], named: Sequence[Line]) -> list[ClaimedLine] | None:
    """Return the items that cost `price` together; of several possibilities the one that the message names."""
    for group in (lines, named):
        if sum(line["amount"] for line in group) == price:
            return [_all_of(line) for line in group]
    for group in (named, lines):
        found = [_all_of(line) for line in group if line["amount"] == price]
        found += [
            _one_of(line) for line in group if line["quantity"] > 1 and line["amount"] == price * line["quantity"]
        ]
        if found:
            return found if len(found) == 1 else None
    return None


def _all_of(line: Line) -> ClaimedLine:
    return ClaimedLine(line_id=line["line_id"], quantity=line["quantity"], amount=line["amount"])


def _one_of(line: Line) -> ClaimedLine:
    return ClaimedLine(line_id=line["line_id"], quantity=1, amount=line["amount"] // line["quantity"])


def total(claim: RefundClaim) -> int:
    """Return the amount of the claim in minor units."""
    return sum(line["amount"] for line in claim["lines"])


def _mentions(message: str, description: str) -> bool:
    """Report whether the message contains every word of an item's name, the description up to the first comma."""
    item = set(_WORD.findall(description.partition(",")[0].casefold()))
    return item <= set(_WORD.findall(message.casefold()))


def claim_checks(state: State, invoices: Sequence[Invoice]) -> Mapping[str, bool]:
    """Check a claim against the `invoices` that the message names; all checks must pass for a refund.

    How much may be refunded, how often and until when, is checked by billing.
    """
    invoice = invoices[0] if len(invoices) == 1 else None
    lines = claimed_lines(state["message"], invoice) if invoice else None
    return {
        "refund.sure": state["confidence"] >= MIN_REFUND_CONFIDENCE,
        "refund.one_own_invoice": invoice is not None,
        "refund.cause": state["cause"] != "none",
        "refund.paid_by_one_charge": invoice is not None and invoice["paid"] and len(invoice["charge_ids"]) == 1,
        "refund.amount_is_clear": bool(lines) and sum(line["amount"] for line in lines or []) > 0,
    }
