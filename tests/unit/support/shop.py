"""Twins of the services of a small shop, for a customer with a few invoices and orders."""

from datetime import UTC, datetime, timedelta

from graphmesh.billing import v1 as billing
from graphmesh.common.v1 import Money
from graphmesh.crm import v1 as crm
from graphmesh.retrieval import v1 as retrieval
from graphmesh.ticketing import v1 as ticketing
from graphmesh_nodes.errors import NotFound, RuleViolated
from graphmesh_nodes.testing import GraphHarness

SERVICES = (crm.CrmService, billing.BillingService, retrieval.RetrievalService, ticketing.TicketingService)
INK, NOTEBOOK, SHIPPING = ("Rowan Red ink, 50 ml", 18_90), ("Fallow 90 notebook A5", 26_10), ("Shipping", 7_90)
ARTICLE = "Clean the nib of the pen every four to six weeks with cold water."


def eur(amount: int) -> Money:
    return Money(currency_code="EUR", amount_minor=amount)


def invoice(invoice_id: str, *lines: tuple[str, int], quantity: int = 1) -> billing.Invoice:
    """A paid invoice, charged once."""
    made = billing.Invoice(
        invoice_id=invoice_id,
        customer_id="cu_1",
        total=eur(sum(price * quantity for _, price in lines)),
        status=billing.InvoiceStatus.INVOICE_STATUS_PAID,
        charge_ids=[f"ch_{invoice_id}"],
        lines=[
            billing.InvoiceLine(
                line_id=str(number),
                description=name,
                quantity=quantity,
                unit_price=eur(price),
                amount=eur(price * quantity),
                refunded=eur(0),
            )
            for number, (name, price) in enumerate(lines, 1)
        ],
    )
    made.issue_time.FromDatetime(datetime.now(UTC) - timedelta(days=8))
    return made


class Shop:
    """The customer cu_1 has one delivered order of an ink and a notebook, unless a test changes that."""

    def __init__(self) -> None:
        self.invoices = [invoice("INV-1", INK, NOTEBOOK)]
        self.order_status = {"INV-1": "delivered"}
        self.locale = ""
        self.score = 1.0
        """Share of any question that the article covers."""
        self.refunded = 0
        """Of every charge, in minor units."""
        self.needs_approval_above = 40_00

    def GetCustomer(self, request: crm.GetCustomerRequest) -> crm.GetCustomerResponse:
        if request.customer_id != "cu_1":
            raise NotFound(resource="customer", id=request.customer_id)
        return crm.GetCustomerResponse(customer=crm.Customer(customer_id="cu_1", locale=self.locale))

    def ListRecords(self, request: crm.ListRecordsRequest) -> crm.ListRecordsResponse:
        records = [
            crm.Record(
                record_id=invoice_id.replace("INV", "TT"),
                customer_id="cu_1",
                title="Rowan Red ink",
                status=status,
                attributes={"invoice_id": invoice_id},
            )
            for invoice_id, status in self.order_status.items()
        ]
        return crm.ListRecordsResponse(records=records)

    def ListInvoices(self, request: billing.ListInvoicesRequest) -> billing.ListInvoicesResponse:
        return billing.ListInvoicesResponse(invoices=self.invoices)

    def PreviewRefund(self, request: billing.PreviewRefundRequest) -> billing.PreviewRefundResponse:
        charge = billing.Charge(charge_id=request.charge_id, amount=eur(100_00), refunded=eur(self.refunded))
        needs_approval = self.refunded + request.amount.amount_minor > self.needs_approval_above
        return billing.PreviewRefundResponse(
            allowed=True, needs_approval=needs_approval, charge=charge, refundable=eur(100_00 - self.refunded)
        )

    def Refund(self, request: billing.RefundRequest) -> billing.RefundResponse:
        if request.expected_refunded.amount_minor != self.refunded:
            raise RuleViolated(rule="refunded_differs")
        return billing.RefundResponse(refund=billing.Refund(refund_id="re_1"), refundable=eur(0))

    def GetCharge(self, request: billing.GetChargeRequest) -> billing.GetChargeResponse:
        refund = billing.Refund(refund_id="re_0", amount=eur(18_90))
        refund.create_time.FromDatetime(datetime(2026, 11, 20, tzinfo=UTC))
        return billing.GetChargeResponse(charge=billing.Charge(charge_id=request.charge_id), refunds=[refund])

    def Search(self, request: retrieval.SearchRequest) -> retrieval.SearchResponse:
        passage = retrieval.Passage(
            document_id="cleaning.md",
            title="How to clean the nib of a pen",
            text=ARTICLE,
            score=self.score,
            trust=retrieval.Trust.TRUST_UNTRUSTED,
        )
        return retrieval.SearchResponse(passages=[passage])

    def CreateTicket(self, request: ticketing.CreateTicketRequest) -> ticketing.CreateTicketResponse:
        return ticketing.CreateTicketResponse(ticket=ticketing.Ticket(ticket_id="T-1"))


def serve(harness: GraphHarness, shop: Shop) -> None:
    for service in SERVICES:
        harness.serve_all(service, shop)
