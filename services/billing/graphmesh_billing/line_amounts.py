"""What a request refunds or credits of the lines of an invoice. Nothing is paid twice for the same item."""

from collections.abc import Sequence

from graphmesh_contracts.money import Money, allocate

from graphmesh_billing.domain import Invoice, Line, LineAmount, LineRequest, RuleBroken, require_currency


def refund_lines(
    invoice: Invoice, requests: Sequence[LineRequest], amount: Money, refundable: Money
) -> tuple[LineAmount, ...]:
    """Return the lines of a refund over `amount`, of which the charge has `refundable` left.

    Raises:
        RuleBroken: the amounts do not add up, are more than is left of a line, or it is not clear what is refunded.
    """
    lines = requested_lines(invoice, requests) if requests else _implied_lines(invoice, amount, refundable)
    if (total := sum(line.amount for line in lines)) != amount.minor:
        found = Money(amount.currency, total)
        raise RuleBroken("lines_differ_from_amount", f"the lines add up to {found}, the refund is over {amount}")
    return lines


def requested_lines(invoice: Invoice, requests: Sequence[LineRequest]) -> tuple[LineAmount, ...]:
    """Return the amounts that `requests` name.

    Raises:
        RuleBroken: the invoice has no such line, or less is left of it.
    """
    lines = {line.line_id: line for line in invoice.lines}
    return tuple(_requested(invoice, lines.get(request.line_id), request) for request in requests)


def _requested(invoice: Invoice, line: Line | None, request: LineRequest) -> LineAmount:
    if line is None:
        message = f"invoice {invoice.invoice_id} has no line {request.line_id}"
        raise RuleBroken("unknown_line", message, request.line_id)
    if request.amount is not None:
        require_currency(request.amount, invoice.total.currency)
    elif not request.quantity:
        return _rest_of(line)
    if request.quantity > line.quantity - line.returned:
        message = f"{line.quantity - line.returned} of {line.quantity} items are left of line {line.line_id}"
        raise RuleBroken("quantity_exceeds_line", f"{message}, the request is for {request.quantity}", line.line_id)
    price = line.price_of(request.quantity)
    amount = price if request.amount is None else request.amount.minor
    if request.quantity and amount > price:
        stated, allowed = (Money(invoice.total.currency, minor) for minor in (amount, price))
        message = f"{request.quantity} items of line {line.line_id} cost {allowed}, the request is for {stated}"
        raise RuleBroken("amount_exceeds_items", message, line.line_id)
    return _part(invoice, line, request.quantity, amount)


def _rest_of(line: Line) -> LineAmount:
    if not line.left:
        raise RuleBroken("nothing_left", f"nothing is left of line {line.line_id}", line.line_id)
    return LineAmount(line.line_id, line.quantity - line.returned, line.left, line.tax_of(line.left))


def _part(invoice: Invoice, line: Line, quantity: int, amount: int) -> LineAmount:
    if amount > line.left:
        left, stated = (Money(invoice.total.currency, minor) for minor in (line.left, amount))
        message = f"{left} is left of line {line.line_id}, the request is for {stated}"
        raise RuleBroken("amount_exceeds_line", message, line.line_id)
    return LineAmount(line.line_id, quantity, amount, line.tax_of(amount))


def _implied_lines(invoice: Invoice, amount: Money, refundable: Money) -> tuple[LineAmount, ...]:
    """Return the lines of a refund that names none.

    Raises:
        RuleBroken: the invoice has several lines, and the amount is only a part of what is left of the charge.
    """
    if len(invoice.lines) == 1:
        [line] = invoice.lines
        remaining = line.quantity - line.returned
        return (_part(invoice, line, remaining if amount.minor == line.left else 0, amount.minor),)
    if amount != refundable:
        message = f"invoice {invoice.invoice_id} has {len(invoice.lines)} lines: state which of them are refunded"
        raise RuleBroken("lines_required", message)
    left = [line.left for line in invoice.lines]
    if amount.minor > sum(left):
        found = Money(amount.currency, sum(left))
        raise RuleBroken("amount_exceeds_lines", f"{found} is left of the lines, the refund is over {amount}")
    whole = amount.minor == sum(left)
    return tuple(
        _part(invoice, line, line.quantity - line.returned if whole else 0, part)
        for line, part in zip(invoice.lines, allocate(amount.minor, left), strict=True)
        if part
    )
