"""Converts between billing's protobuf messages and its domain types. The domain imports no protobuf."""

from datetime import datetime

from graphmesh.billing import v1 as pb
from graphmesh.common.v1 import Money as MoneyMessage
from graphmesh_chassis.timestamps import from_timestamp, to_timestamp

from graphmesh_billing.domain import Balance, Charge, Invoice, Line, Money, Refund


def money(message: MoneyMessage) -> Money:
    return Money(message.currency_code, message.amount_minor)


def lines(request: pb.CreateInvoiceRequest) -> tuple[Line, ...]:
    return tuple(Line(line.description, line.quantity, money(line.unit_price)) for line in request.lines)


def issue_time(request: pb.CreateInvoiceRequest) -> datetime | None:
    return from_timestamp(request.issue_time) if request.HasField("issue_time") else None


def money_message(amount: Money) -> MoneyMessage:
    return MoneyMessage(currency_code=amount.currency, amount_minor=amount.minor)


def invoice_message(invoice: Invoice) -> pb.Invoice:
    return pb.Invoice(
        invoice_id=invoice.invoice_id,
        customer_id=invoice.customer_id,
        lines=[_line_message(line) for line in invoice.lines],
        total=money_message(invoice.total),
        outstanding=money_message(invoice.outstanding),
        status=pb.InvoiceStatus.INVOICE_STATUS_PAID if invoice.paid else pb.InvoiceStatus.INVOICE_STATUS_OPEN,
        issue_time=to_timestamp(invoice.issued),
        charge_ids=invoice.charge_ids,
    )


def charge_message(charge: Charge) -> pb.Charge:
    return pb.Charge(
        charge_id=charge.charge_id,
        invoice_id=charge.invoice_id,
        amount=money_message(charge.amount),
        refunded=money_message(charge.refunded),
        create_time=to_timestamp(charge.created),
    )


def refund_message(refund: Refund) -> pb.Refund:
    return pb.Refund(
        refund_id=refund.refund_id,
        charge_id=refund.charge_id,
        amount=money_message(refund.amount),
        cause=refund.cause,
        create_time=to_timestamp(refund.created),
    )


def balance_message(balance: Balance) -> pb.AccountBalance:
    return pb.AccountBalance(
        account=balance.account,
        currency_code=balance.currency,
        debit_minor=balance.debit,
        credit_minor=balance.credit,
    )


def _line_message(line: Line) -> pb.InvoiceLine:
    return pb.InvoiceLine(
        description=line.description, quantity=line.quantity, unit_price=money_message(line.unit_price)
    )
