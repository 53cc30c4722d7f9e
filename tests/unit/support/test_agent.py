"""The support agent as a whole, against twins of its services: approvals, failures and crashes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from graphmesh.billing import v1 as billing
from graphmesh.common.v1 import Money
from graphmesh.crm import v1 as crm
from graphmesh.model.v1 import ModelService
from graphmesh.retrieval import v1 as retrieval
from graphmesh.ticketing import v1 as ticketing
from graphmesh_nodes.errors import ApprovalRequired, NotFound, RuleViolated, Unreachable
from graphmesh_nodes.testing import GraphHarness, RunResult
from support import nodes, policy
from support.graph import graph

SMALL = "The bottle of Rowan Red was cracked. Please refund the 18.90 EUR, the invoice is INV-1."
LARGE = "Everything arrived damaged, please refund the whole invoice INV-1, 45.00 EUR."
QUESTION = "How do I clean the nib of my pen?"


def eur(amount: int) -> Money:
    return Money(currency_code="EUR", amount_minor=amount)


class Shop:
    """A shop with one customer, one invoice of 45 EUR and one article."""

    refunded = 0
    """Of the charge, in minor units."""

    def GetCustomer(self, request: crm.GetCustomerRequest) -> crm.GetCustomerResponse:
        if request.customer_id != "cu_1":
            raise NotFound(resource="customer", id=request.customer_id)
        return crm.GetCustomerResponse(customer=crm.Customer(customer_id="cu_1"))

    def ListRecords(self, request: crm.ListRecordsRequest) -> crm.ListRecordsResponse:
        return crm.ListRecordsResponse()

    def ListInvoices(self, request: billing.ListInvoicesRequest) -> billing.ListInvoicesResponse:
        prices = {"Rowan Red ink, 50 ml": 18_90, "Fallow 90 notebook A5": 26_10}
        invoice = billing.Invoice(
            invoice_id="INV-1",
            total=eur(45_00),
            status=billing.InvoiceStatus.INVOICE_STATUS_PAID,
            charge_ids=["ch_1"],
            lines=[
                billing.InvoiceLine(
                    line_id=name[:3], description=name, quantity=1, unit_price=eur(price), amount=eur(price)
                )
                for name, price in prices.items()
            ],
        )
        invoice.issue_time.FromDatetime(datetime.now(UTC) - timedelta(days=8))
        return billing.ListInvoicesResponse(invoices=[invoice])

    def PreviewRefund(self, request: billing.PreviewRefundRequest) -> billing.PreviewRefundResponse:
        charge = billing.Charge(charge_id=request.charge_id, amount=eur(45_00), refunded=eur(self.refunded))
        needs_approval = self.refunded + request.amount.amount_minor > 40_00
        return billing.PreviewRefundResponse(
            allowed=True, needs_approval=needs_approval, charge=charge, refundable=eur(45_00 - self.refunded)
        )

    def Refund(self, request: billing.RefundRequest) -> billing.RefundResponse:
        if request.expected_refunded.amount_minor != self.refunded:
            raise RuleViolated(rule="refunded_differs")
        return billing.RefundResponse(refund=billing.Refund(refund_id="re_1"), refundable=eur(0))

    def Search(self, request: retrieval.SearchRequest) -> retrieval.SearchResponse:
        text = "Clean the nib of the pen every four to six weeks with cold water."
        passage = retrieval.Passage(
            document_id="cleaning.md",
            title="How to clean the nib of a pen",
            text=text,
            trust=retrieval.Trust.TRUST_UNTRUSTED,
        )
        return retrieval.SearchResponse(passages=[passage])

    def CreateTicket(self, request: ticketing.CreateTicketRequest) -> ticketing.CreateTicketResponse:
        return ticketing.CreateTicketResponse(ticket=ticketing.Ticket(ticket_id="T-1"))


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def harness(shop: Shop) -> GraphHarness:
    harness = GraphHarness(graph)
    for service in (crm.CrmService, billing.BillingService, retrieval.RetrievalService, ticketing.TicketingService):
        harness.serve_all(service, shop)
    return harness


async def ask(harness: GraphHarness, message: str, **input: Any) -> RunResult:
    intent, cause = ("question", "none") if message == QUESTION else ("refund", "damaged")
    harness.model_replies({"intent": intent, "cause": cause, "confidence": 0.9})
    if intent == "question":
        harness.model_replies("Clean the nib of the pen every four to six weeks with cold water.")
    return await harness.run({"customer_id": "cu_1", "message": message, **input})


async def test_small_refunds_need_no_approval(harness: GraphHarness) -> None:
    output = (await ask(harness, SMALL)).output
    assert (output["outcome"], output["refund_id"]) == ("refunded", "re_1")
    [refund] = harness.calls(billing.BillingService.Refund)
    assert (refund.request.charge_id, refund.request.amount.amount_minor) == ("ch_1", 18_90)
    assert [(line.line_id, line.quantity) for line in refund.request.lines] == [("Row", 1)]
    assert refund.request.expected_refunded == eur(0)


async def test_large_refunds_wait_for_an_approval(harness: GraphHarness) -> None:
    [approval] = (await ask(harness, LARGE)).approvals
    assert approval.scopes == ["approvals.refund"]
    assert approval.question == "Refund 45.00 EUR of invoice INV-1? The customer reports the item as damaged."
    assert (await harness.approve(approval)).output["outcome"] == "refunded"


async def test_a_changed_charge_is_previewed_again(harness: GraphHarness, shop: Shop) -> None:
    """Another refund between preview and refund: the sum needs an approval now, of exactly the new terms."""

    def changing(request: billing.RefundRequest) -> billing.RefundResponse:
        shop.refunded = shop.refunded or 26_10
        return shop.Refund(request)

    harness.serve(billing.BillingService.Refund, changing)
    [approval] = (await ask(harness, SMALL)).approvals
    assert approval.arguments["expected_refunded"] == {"currency_code": "EUR", "amount_minor": "2610"}
    assert (await harness.approve(approval)).output["outcome"] == "refunded"


@pytest.mark.parametrize("error", [ApprovalRequired(), RuleViolated(rule="refunded_differs")])
async def test_a_charge_that_always_changes_is_escalated(harness: GraphHarness, error: Exception) -> None:
    """Each preview is followed by one refund, a bounded number of times."""

    def refused(request: billing.RefundRequest) -> billing.RefundResponse:
        raise error

    harness.serve(billing.BillingService.Refund, refused)
    assert (await ask(harness, SMALL)).state["reason"] == "refund_not_automatic"
    assert len(harness.calls(billing.BillingService.Refund)) == policy.MAX_PREVIEWS
    assert len({call.effect_key for call in harness.calls(billing.BillingService.Refund)}) == policy.MAX_PREVIEWS


async def test_a_refund_that_billing_denies_is_escalated(harness: GraphHarness, shop: Shop) -> None:
    """The ticket names the rule; no refund is requested."""

    def denied(request: billing.PreviewRefundRequest) -> billing.PreviewRefundResponse:
        effect = billing.RefundRuleEffect.REFUND_RULE_EFFECT_DENY
        response = shop.PreviewRefund(request)
        response.allowed = False
        response.broken.add(rule="in_time", effect=effect)
        return response

    harness.serve(billing.BillingService.PreviewRefund, denied)
    result = await ask(harness, SMALL)
    assert (result.output["outcome"], result.state["reason"]) == ("escalated", "refund_not_automatic")
    assert harness.calls(billing.BillingService.Refund) == []
    [ticket] = harness.calls(ticketing.TicketingService.CreateTicket)
    assert "- refund.in_time" in ticket.request.description


@pytest.mark.parametrize("expires", [False, True])
async def test_denied_refunds_are_escalated(harness: GraphHarness, expires: bool) -> None:
    [approval] = (await ask(harness, LARGE)).approvals
    result = await harness.advance(days=2) if expires else await harness.deny(approval)
    assert (result.output["outcome"], result.state["reason"]) == ("escalated", "refund_denied")
    assert harness.calls(billing.BillingService.Refund) == []


async def test_refunds_once_after_a_crash(harness: GraphHarness) -> None:
    harness.crash_after("refund")
    assert (await ask(harness, SMALL)).output["outcome"] == "refunded"
    assert len(harness.calls(billing.BillingService.Refund)) == 2
    assert len(harness.executed(billing.BillingService.Refund)) == 1


async def test_uncertain_refund_is_not_reported_as_undone(harness: GraphHarness) -> None:
    """Only a request that was certainly not sent is reported as not refunded."""
    harness.fail(billing.BillingService.Refund, Unreachable())
    assert (await ask(harness, SMALL)).state["reason"] == "billing_down"
    harness.heal(billing.BillingService.Refund)
    harness.lose_response(billing.BillingService.Refund)
    assert (await ask(harness, SMALL)).state["reason"] == "refund_uncertain"


async def test_answers_a_question(harness: GraphHarness) -> None:
    result = await ask(harness, QUESTION)
    assert (result.output["outcome"], result.output["sources"]) == ("answered", ["cleaning.md"])
    assert result.text == result.output["answer"]


@pytest.mark.parametrize(
    ("down", "message", "reason"),
    [
        (billing.BillingService, SMALL, "billing_down"),
        (billing.BillingService.PreviewRefund, SMALL, "billing_down"),
        (retrieval.RetrievalService, QUESTION, "knowledge_down"),
        (ModelService, QUESTION, "model_down"),
    ],
)
async def test_a_service_that_is_down_leads_to_a_ticket(
    harness: GraphHarness, down: Any, message: str, reason: str
) -> None:
    harness.fail(down, Unreachable())
    result = await ask(harness, message)
    assert (result.output["outcome"], result.output["ticket_id"]) == ("escalated", "T-1")
    assert result.state["reason"] == reason
    assert harness.executed(billing.BillingService.Refund) == []


async def test_an_answer_without_the_account_mentions_it(harness: GraphHarness) -> None:
    harness.fail(crm.CrmService, Unreachable())
    output = (await ask(harness, QUESTION)).output
    assert (output["outcome"], output["notes"]) == ("answered", [nodes.NO_ACCOUNT])
    assert output["answer"].endswith(nodes.NO_ACCOUNT)


async def test_an_unknown_customer_is_escalated(harness: GraphHarness) -> None:
    result = await ask(harness, SMALL, customer_id="cu_404")
    assert (result.output["outcome"], result.state["reason"]) == ("escalated", "unknown_customer")


@pytest.mark.parametrize("lost", [False, True])
async def test_a_ticket_that_is_not_confirmed_is_noted(harness: GraphHarness, lost: bool) -> None:
    if lost:
        harness.lose_response(ticketing.TicketingService)
    else:
        harness.fail(ticketing.TicketingService, Unreachable())
    output = (await ask(harness, SMALL, customer_id="cu_404")).output
    assert output["ticket_id"] is None
    assert output["notes"][-1] == (nodes.TICKET_UNCERTAIN if lost else nodes.NO_TICKET)
