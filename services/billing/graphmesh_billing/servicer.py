"""BillingService: decode, use case, encode."""

from datetime import datetime
from itertools import accumulate
from typing import Any, Final

from graphmesh.billing import v1 as pb
from graphmesh_chassis import metadata
from graphmesh_chassis.calls import current_call
from graphmesh_chassis.pages import PAGE_BYTES, decode_position, page_of, page_size
from graphmesh_chassis.store import Store

from graphmesh_billing import convert, convert_refunds, payments, refunds
from graphmesh_billing.lanes import Lanes
from graphmesh_billing.ledger import Ledger

EXCEPTION_SCOPES: Final = frozenset({"billing.refund_exception"})
"""The scopes of a refund against the policy."""
MAX_CACHED_CUSTOMERS: Final = 10_000
"""The number of charges whose customers a process caches."""
UNKNOWN: Final = ""
"""The customer of charges that do not exist."""


class BillingServicer(pb.BillingServiceServicer):
    def __init__(self, store: Store[Ledger]) -> None:
        self._store = store
        self._lanes = Lanes()
        self._customers: dict[tuple[str, str], str] = {}

    async def CreateInvoice(self, request: pb.CreateInvoiceRequest, context: Any) -> pb.CreateInvoiceResponse:
        async with self._store.effect() as effect:
            invoice = await payments.issue_invoice(
                effect.port,
                request.invoice_id,
                request.customer_id,
                convert.lines(request),
                convert.issue_time(request),
                tax_included=request.tax_included,
            )
            return effect.respond(pb.CreateInvoiceResponse(invoice=convert.invoice_message(invoice)))

    async def GetInvoice(self, request: pb.GetInvoiceRequest, context: Any) -> pb.GetInvoiceResponse:
        async with self._store.read() as ledger:
            invoice = await ledger.invoice(request.invoice_id)
            notes = await ledger.credit_notes(request.invoice_id)
        return pb.GetInvoiceResponse(
            invoice=convert.invoice_message(invoice), credit_notes=[convert.credit_note_message(note) for note in notes]
        )

    async def ListInvoices(self, request: pb.ListInvoicesRequest, context: Any) -> pb.ListInvoicesResponse:
        size = page_size(request.page_size)
        before = decode_position(request.page_token, datetime, str)
        async with self._store.read() as ledger:
            found = await ledger.invoices(request.customer_id, before, size + 1)
        page = page_of(
            found,
            size,
            convert.invoice_message,
            lambda invoice: (invoice.issued, invoice.invoice_id),
            max_bytes=PAGE_BYTES,
        )
        return pb.ListInvoicesResponse(invoices=page.messages, next_page_token=page.next_token)

    async def Charge(self, request: pb.ChargeRequest, context: Any) -> pb.ChargeResponse:
        async with self._lanes.enter(f"invoice/{request.invoice_id}"), self._store.effect() as effect:
            invoice, charge = await payments.charge(effect.port, request.invoice_id, convert.money(request.amount))
            return effect.respond(
                pb.ChargeResponse(
                    charge=convert.charge_message(charge), outstanding=convert.money_message(invoice.outstanding)
                )
            )

    async def Refund(self, request: pb.RefundRequest, context: Any) -> pb.RefundResponse:
        call = current_call()
        if request.policy_exception:
            call.caller.require(EXCEPTION_SCOPES)
        wanted = convert_refunds.refund_request(request, call.header(metadata.APPROVAL))
        lane = await self._lane_of(call.caller.tenant, request.charge_id)
        async with self._lanes.enter(lane), self._store.effect() as effect:
            with convert_refunds.refusals(request):
                charge, refund = await refunds.refund(effect.port, wanted)
            return effect.respond(
                pb.RefundResponse(
                    refund=convert.refund_message(refund), refundable=convert.money_message(charge.refundable)
                )
            )

    async def _lane_of(self, tenant: str, charge_id: str) -> str:
        """The lane of a charge's customer, who never changes and is cached: a call that waits costs no query."""
        customer = self._customers.get((tenant, charge_id), UNKNOWN)
        if customer == UNKNOWN:
            async with self._store.read() as ledger:
                customer = await refunds.customer_of(ledger, charge_id)
            if customer != UNKNOWN:
                if len(self._customers) >= MAX_CACHED_CUSTOMERS:
                    self._customers.clear()
                self._customers[tenant, charge_id] = customer
        return f"customer/{customer}"

    async def PreviewRefund(self, request: pb.PreviewRefundRequest, context: Any) -> pb.PreviewRefundResponse:
        async with self._store.read() as ledger:
            decision = await refunds.preview(ledger, convert_refunds.preview_request(request))
        return convert_refunds.preview_message(decision)

    async def GetRefundPolicy(self, request: pb.GetRefundPolicyRequest, context: Any) -> pb.GetRefundPolicyResponse:
        async with self._store.read() as ledger:
            policy = await ledger.refund_policy()
        return pb.GetRefundPolicyResponse(policy=convert_refunds.policy_message(policy))

    async def SetRefundPolicy(self, request: pb.SetRefundPolicyRequest, context: Any) -> pb.SetRefundPolicyResponse:
        rules = convert_refunds.rules(request.policy)
        expected = request.expected_version if request.HasField("expected_version") else None
        async with self._store.effect() as effect:
            policy = await refunds.set_policy(effect.port, rules, expected)
            return effect.respond(pb.SetRefundPolicyResponse(policy=convert_refunds.policy_message(policy)))

    async def CreateCreditNote(self, request: pb.CreateCreditNoteRequest, context: Any) -> pb.CreateCreditNoteResponse:
        async with self._lanes.enter(f"invoice/{request.invoice_id}"), self._store.effect() as effect:
            lines = convert.line_requests(request.lines)
            invoice, note = await payments.credit(effect.port, request.invoice_id, lines, request.cause)
            return effect.respond(
                pb.CreateCreditNoteResponse(
                    credit_note=convert.credit_note_message(note),
                    outstanding=convert.money_message(invoice.outstanding),
                )
            )

    async def RecordChargeback(self, request: pb.RecordChargebackRequest, context: Any) -> pb.RecordChargebackResponse:
        lane = await self._lane_of(current_call().caller.tenant, request.charge_id)
        async with self._lanes.enter(lane), self._store.effect() as effect:
            invoice, charge = await payments.charge_back(effect.port, request.charge_id, convert.money(request.amount))
            return effect.respond(
                pb.RecordChargebackResponse(
                    charge=convert.charge_message(charge), outstanding=convert.money_message(invoice.outstanding)
                )
            )

    async def GetStatement(self, request: pb.GetStatementRequest, context: Any) -> pb.GetStatementResponse:
        size = page_size(request.page_size)
        after = decode_position(request.page_token, datetime, int)
        period = convert.period(request)
        async with self._store.read() as ledger:
            owed = await ledger.owed(period, after)
            found = await ledger.statement(period, after, size + 1)
        changes = (one.entry.kind.sign * one.entry.amount.minor for one in found)
        balances = list(accumulate(changes, initial=owed.before_page))[1:]
        page = page_of(
            zip(found, balances, strict=True),
            size,
            lambda one: convert.statement_entry_message(*one),
            lambda one: (one[0].entry.created, one[0].entry_id),
        )
        return pb.GetStatementResponse(
            entries=page.messages,
            opening_balance_minor=convert.sum_of_amounts(owed.opening),
            closing_balance_minor=convert.sum_of_amounts(owed.closing),
            next_page_token=page.next_token,
        )

    async def GetCharge(self, request: pb.GetChargeRequest, context: Any) -> pb.GetChargeResponse:
        async with self._store.read() as ledger:
            charge = await ledger.charge(request.charge_id)
            made = await ledger.refunds(request.charge_id)
        return pb.GetChargeResponse(
            charge=convert.charge_message(charge), refunds=[convert.refund_message(refund) for refund in made]
        )

    async def GetTrialBalance(self, request: pb.GetTrialBalanceRequest, context: Any) -> pb.GetTrialBalanceResponse:
        async with self._store.read() as ledger:
            balances = await ledger.balances()
        return pb.GetTrialBalanceResponse(accounts=[convert.balance_message(balance) for balance in balances])
