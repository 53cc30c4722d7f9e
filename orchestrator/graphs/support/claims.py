"""Finds the refund that a message claims in the customer's records. It never guesses: what is ambiguous is asked.

Everything here depends on the customer's own messages, the records of billing and CRM, and the policy. No function gets
retrieved text or a model's text, except for items that a model has quoted from the message, which are checked there.
"""

import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from support.amounts import amounts_in
from support.policy import SupportPolicy
from support.state import Awaited, Cause, Claim, ClaimedLine, Invoice, Line, Option, Order, Reason
from support.wording import has_phrase, plain_words, sentences

_CLAUSE = re.compile(r"[.!?;,](?=\s|$)|[\n。！？；，、]")
_IDENTIFIER = re.compile(r"[A-Za-z]{1,10}[-_/.# ]?\d[\w-]{0,40}")
_PART = re.compile(r"[^\W\d_]+|\d+")
_JOINS, _DECIMALS = frozenset("-_"), frozenset(".,")
MAX_GAP_CHARACTERS = 2
"""Between the parts of an id, as in `inv # 2038`."""
MIN_WORD_CHARACTERS = 3


@dataclass(frozen=True)
class Request:
    """What the customer claims, and where it is to be found."""

    message: str
    """All messages that belong to the claim."""
    latest: str
    """The last of them: an invoice that it names counts before the others."""
    cause: Cause
    quotes: Sequence[str] = ()
    is_about_claim: Callable[[str], bool] = lambda clause: False
    """Whether a clause of the message is about what is wrong or wanted, so that "the notebook is fine" is not."""
    choice: Option | None = None
    """The option that the customer has chosen of those listed before."""


@dataclass(frozen=True)
class Finding:
    """A claim that the records support; else a question with its options, a reply, or a reason for a person."""

    claim: Claim | None = None
    asks: Awaited | None = None
    reply: str = ""
    """The name of the text for the customer."""
    options: Sequence[Option] = ()
    reason: Reason | None = None
    order: Order | None = None
    invoice: Invoice | None = field(default=None)


def find_claim(
    request: Request, invoices: Sequence[Invoice], orders: Sequence[Order], policy: SupportPolicy
) -> Finding:
    """Find what is claimed: the invoice, then the cause, the state of its order, and the lines."""
    found = _invoice_of(request, invoices, orders)
    if isinstance(found, Finding):
        return found
    if request.cause == "none":
        return Finding(asks="cause", reply="which_cause", invoice=found)
    if request.cause == "charged_twice":
        return Finding(reason="charged_twice")
    order = next((order for order in orders if order["invoice_id"] == found["invoice_id"]), None)
    if order is None:
        return Finding(reason="order_unknown")
    if order["status"] not in policy.refunds.order_states.get(request.cause, ()):
        return Finding(asks="hand_over", reply="order_not_ready", order=order, invoice=found)
    if not found["paid"] or len(found["charge_ids"]) != 1:
        return Finding(reason="refund_not_automatic")
    return _with_lines(request, found, order, policy)


def _with_lines(request: Request, invoice: Invoice, order: Order, policy: SupportPolicy) -> Finding:
    left = [line for line in map(_left, invoice["lines"]) if line["quantity"] and line["amount"]]
    if not left:
        return Finding(reply="already_refunded", invoice=invoice)
    lines = _lines_of(request, invoice, left, policy)
    if not lines:
        return Finding(asks="line", reply="which_line", options=_line_options(invoice, left, policy), invoice=invoice)
    claim = Claim(
        invoice_id=invoice["invoice_id"],
        charge_id=invoice["charge_ids"][0],
        order_id=order["order_id"],
        lines=lines,
        currency=invoice["currency"],
        amount=sum(line["amount"] for line in lines),
        cause=request.cause,
    )
    return Finding(claim=claim, invoice=invoice)


def _invoice_of(request: Request, invoices: Sequence[Invoice], orders: Sequence[Order]) -> Invoice | Finding:
    """Return the only invoice that the customer can mean; else a question."""
    if request.choice:
        chosen = request.choice["invoice_id"]
        return next(invoice for invoice in invoices if invoice["invoice_id"] == chosen)
    named = invoices_named(request.latest, invoices, orders) or invoices_named(request.message, invoices, orders)
    if len(named) == 1:
        return named[0]
    candidates = named or [invoice for invoice in invoices if invoice["paid"]]
    if not named and names_unknown(request.latest, invoices, orders):
        return _which_invoice("unknown_invoice", candidates)
    for narrowed in (candidates, _of_amount(request.message, candidates), _of_items(request, candidates)):
        if len(narrowed) == 1:
            return narrowed[0]
    return _which_invoice("which_invoice", candidates)


def _which_invoice(reply: str, candidates: Sequence[Invoice]) -> Finding:
    options = [Option(invoice_id=invoice["invoice_id"], line_id="", quantity=0) for invoice in candidates]
    return Finding(asks="invoice", reply=reply if options else "no_invoice", options=options)


def invoices_named(message: str, invoices: Sequence[Invoice], orders: Sequence[Order]) -> list[Invoice]:
    """Return those of the customer's invoices that the message names, by their own id or that of their order."""
    by_order = {order["invoice_id"] for order in orders if mentions_id(message, order["order_id"])}
    return [
        invoice
        for invoice in invoices
        if invoice["invoice_id"] in by_order or mentions_id(message, invoice["invoice_id"])
    ]


def names_unknown(message: str, invoices: Sequence[Invoice], orders: Sequence[Order]) -> bool:
    """Report whether the message has an id in the form of the customer's own that is none of them."""
    own = [invoice["invoice_id"] for invoice in invoices] + [order["order_id"] for order in orders]
    prefixes = {_prefix(identity) for identity in own} - {""}
    known = {_plain(identity) for identity in own}
    found = [_plain(match) for match in _IDENTIFIER.findall(message)]
    return any(_prefix(identity) in prefixes and identity not in known for identity in found)


def mentions_id(message: str, identity: str) -> bool:
    """Report whether the message contains the id, in any letter case, also `inv 2038` for `INV-2038`."""
    wanted = [part.casefold() for part in _PART.findall(identity)]
    found = list(_PART.finditer(message))
    parts = [match[0].casefold() for match in found]
    starts = (start for start in range(len(parts)) if parts[start : start + len(wanted)] == wanted)
    return bool(wanted) and any(_is_one_id(message, found[start : start + len(wanted)]) for start in starts)


def _is_one_id(message: str, parts: Sequence[re.Match[str]]) -> bool:
    """Report whether parts stand together, and not in a longer id or number."""
    gaps = [message[first.end() : second.start()] for first, second in itertools.pairwise(parts)]
    start, end = parts[0].start(), parts[-1].end()
    before, after = message[max(0, start - 1) : start], message[end : end + 2]
    is_within = before in _JOINS or after[:1] in _JOINS or before.isalnum() or after[:1].isalnum()
    is_decimal = after[:1] in _DECIMALS and after[1:].isdecimal()
    return all(len(gap) <= MAX_GAP_CHARACTERS for gap in gaps) and not is_within and not is_decimal


def _plain(identity: str) -> str:
    return "".join(char for char in identity if char.isalnum()).casefold()


def _prefix(identity: str) -> str:
    return "".join(char for char in _plain(identity) if char.isalpha())


def _of_amount(message: str, invoices: Sequence[Invoice]) -> list[Invoice]:
    """Return the invoices of which an amount of the message is the total, or the price of a line."""
    stated = amounts_in(message)
    return [
        invoice
        for invoice in invoices
        if {amount.minor(invoice["currency"]) for amount in stated}
        & {invoice["total"], *(price for line in invoice["lines"] for price in _prices(line))}
    ]


def _prices(line: Line) -> set[int]:
    return {line["amount"], line["amount"] // line["quantity"]}


def _of_items(request: Request, invoices: Sequence[Invoice]) -> list[Invoice]:
    return [invoice for invoice in invoices if _mentioned(request, invoice["lines"], ())]


def _left(line: Line) -> Line:
    """Return what has not been returned of a line."""
    left = {"quantity": line["quantity"] - line["returned"], "amount": line["amount"] - line["refunded"]}
    return Line(**{**line, **left})  # type: ignore[typeddict-item]


def _lines_of(request: Request, invoice: Invoice, left: Sequence[Line], policy: SupportPolicy) -> list[ClaimedLine]:
    """Return the items that are claimed; none where that is ambiguous, or an amount is not a price on the invoice."""
    extra = frozenset(policy.refunds.extra_lines)
    if request.choice and request.choice["line_id"]:
        quantity, line_id = request.choice["quantity"], request.choice["line_id"]
        return [_part(line, quantity) for line in left if line["line_id"] == line_id and quantity <= line["quantity"]]
    wants_all = has_phrase(request.message, policy.wording.everything)
    named = [] if wants_all else _mentioned(request, left, extra)
    if stated := _stated(request, invoice):
        return _lines_of_price(stated, named or left)
    if named:
        return _whole(named)
    if wants_all:
        return [_part(line, line["quantity"]) for line in left]
    return _whole([line for line in left if line["description"] not in extra] or left)


def _whole(lines: Sequence[Line]) -> list[ClaimedLine]:
    """Return the only line, if it has a single item: of several it is not clear how many are meant."""
    [first, *others] = lines
    return [] if others or first["quantity"] > 1 else [_part(first, 1)]


def _stated(request: Request, invoice: Invoice) -> set[int]:
    """Return the amounts that are claimed, in minor units; 0 stands for one that is in no way a price here."""
    stated = next((found for text in _narrowing(request) if (found := amounts_in(text))), [])
    prices = {price for line in invoice["lines"] for price in _prices(line)} | {invoice["total"]}
    values = {(amount.minor(invoice["currency"]), bool(amount.currencies)) for amount in stated}
    return {value or 0 for value, has_unit in values if has_unit or value in prices}


def _lines_of_price(stated: set[int], lines: Sequence[Line]) -> list[ClaimedLine]:
    """Return the items that cost the amount together; none where it is no price of them, or of several."""
    if len(stated) > 1:
        return []
    [price] = stated
    if sum(line["amount"] for line in lines) == price:
        return [_part(line, line["quantity"]) for line in lines]
    found = [part for line in lines for part in _parts(line) if part["amount"] == price]
    return found if len(found) == 1 else []


def _parts(line: Line) -> Iterable[ClaimedLine]:
    """Yield one item, and all items of a line."""
    return [_part(line, quantity) for quantity in sorted({1, line["quantity"]})]


def _part(line: Line, quantity: int) -> ClaimedLine:
    amount = line["amount"] * quantity // line["quantity"]
    return ClaimedLine(line_id=line["line_id"], description=line["description"], quantity=quantity, amount=amount)


def _line_options(invoice: Invoice, left: Sequence[Line], policy: SupportPolicy) -> list[Option]:
    goods = [line for line in left if line["description"] not in policy.refunds.extra_lines] or left
    return [
        Option(invoice_id=invoice["invoice_id"], line_id=line["line_id"], quantity=part["quantity"])
        for line in goods
        for part in _parts(line)
    ]


def _narrowing(request: Request) -> list[str]:
    """Return the parts of the message that are about the claim: quotes, or clauses, else sentences, else all of it."""
    clauses = list(request.quotes) or _about_claim(request, _CLAUSE.split(request.message))
    whole = _about_claim(request, sentences(request.message))
    return [". ".join(parts) for parts in (clauses, whole, [request.message]) if parts]


def _about_claim(request: Request, parts: Sequence[str]) -> list[str]:
    return [part for part in parts if part.strip() and request.is_about_claim(part)]


def _mentioned(request: Request, lines: Sequence[Line], extra: Iterable[str]) -> list[Line]:
    """Return the lines that the claim names, by words of their names that no other line has.

    The narrowest part of the message that is about the claim counts; what is not about it only where nothing is.
    """
    *about, message = _narrowing(request)
    for text in about or [message]:
        found = set(plain_words(text))
        if named := [line for line in lines if found & _distinctive(line, lines)]:
            return [line for line in named if line["description"] not in extra] or named
    return []


def _distinctive(line: Line, lines: Sequence[Line]) -> set[str]:
    others = {word for other in lines if other is not line for word in _name(other)}
    return {word for word in _name(line) if len(word) >= MIN_WORD_CHARACTERS and word not in others}


def _name(line: Line) -> list[str]:
    """Return the words of an item's name: its description up to the first comma."""
    return plain_words(line["description"].partition(",")[0])
