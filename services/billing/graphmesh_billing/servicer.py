"""BillingService: decode, use case, encode."""

from datetime import datetime
from typing import Any

from graphmesh.billing import v1 as pb
from graphmesh_chassis.pages import decode_position, page_of, page_size
from graphmesh_chassis.store import Store

from graphmesh_billing import convert, payments
from graphmesh_billing.ledger import Ledger


class BillingServicer(pb.BillingServiceServicer):
    def __init__(self, store: Store[Ledger]) -> None:
        self._store = store

    async def CreateInvoice(self, request: pb.CreateInvoiceRequest, context: Any) -> pb.CreateInvoiceResponse:
        async with self._store.effect() as effect:
            invoice = await payments.issue_invoice(
                effect.port,
                request.invoice_id,
                request.customer_id,
                convert.lines(request),
                convert.issue_time(request),
            )
            return effect.respond(pb.CreateInvoiceResponse(invoice=convert.invoice_message(invoice)))

    async def GetInvoice(self, request: pb.GetInvoiceRequest, context: Any) -> pb.GetInvoiceResponse:
        async with self._store.read() as ledger:
            invoice = await ledger.invoice(request.invoice_id)
        return pb.GetInvoiceResponse(invoice=convert.invoice_message(invoice))

    async def ListInvoices(self, request: pb.ListInvoicesRequest, context: Any) -> pb.ListInvoicesResponse:
        size = page_size(request.page_size)
        before = decode_position(request.page_token, datetime, str)
        async with self._store.read() as ledger:
            found = await ledger.invoices(request.customer_id, before, size + 1)
        page = page_of(found, size, convert.invoice_message, lambda invoice: (invoice.issued, invoice.invoice_id))
        return pb.ListInvoicesResponse(invoices=page.messages, next_page_token=page.next_token)

    async def Charge(self, request: pb.ChargeRequest, context: Any) -> pb.ChargeResponse:
        async with self._store.effect() as effect:
            invoice, charge = await payments.charge(effect.port, request.invoice_id, convert.money(request.amount))
            return effect.respond(
                pb.ChargeResponse(
                    charge=convert.charge_message(charge), outstanding=convert.money_message(invoice.outstanding)
                )
            )

    async def Refund(self, request: pb.RefundRequest, context: Any) -> pb.RefundResponse:
        async with self._store.effect() as effect:
            charge, refund = await payments.refund(
                effect.port, request.charge_id, convert.money(request.amount), request.cause
            )
            return effect.respond(
                pb.RefundResponse(
                    refund=convert.refund_message(refund), refundable=convert.money_message(charge.refundable)
                )
            )

    async def GetCharge(self, request: pb.GetChargeRequest, context: Any) -> pb.GetChargeResponse:
        async with self._store.read() as ledger:
            charge = await ledger.charge(request.charge_id)
            refunds = await ledger.refunds(request.charge_id)
        return pb.GetChargeResponse(
            charge=convert.charge_message(charge), refunds=[convert.refund_message(refund) for refund in refunds]
        )

    async def GetTrialBalance(self, request: pb.GetTrialBalanceRequest, context: Any) -> pb.GetTrialBalanceResponse:
        async with self._store.read() as ledger:
            balances = await ledger.balances()
        return pb.GetTrialBalanceResponse(accounts=[convert.balance_message(balance) for balance in balances])
