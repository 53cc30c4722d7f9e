"""The sample shop is consistent: every row is valid, and the files agree with each other."""

import json
from pathlib import Path
from typing import TypeVar

import protovalidate
import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from graphmesh.billing.v1 import ChargeRequest, CreateInvoiceRequest, SetRefundPolicyRequest
from graphmesh.crm.v1 import AddRecordRequest, CreateCustomerRequest

SAMPLE = Path(__file__).parents[3] / "deploy" / "sample"
ARTICLES = sorted((SAMPLE / "articles").glob("*.md"))

MessageT = TypeVar("MessageT", bound=Message)


def rows(name: str, kind: type[MessageT]) -> list[MessageT]:
    lines = (SAMPLE / name).read_text(encoding="utf-8").splitlines()
    return [json_format.Parse(line, kind()) for line in lines]


CUSTOMERS = rows("customers.jsonl", CreateCustomerRequest)
INVOICES = {invoice.invoice_id: invoice for invoice in rows("invoices.jsonl", CreateInvoiceRequest)}
CHARGES = {charge.invoice_id: charge.amount.amount_minor for charge in rows("charges.jsonl", ChargeRequest)}
ORDERS = rows("orders.jsonl", AddRecordRequest)
REQUESTS = [json.loads(line) for line in (SAMPLE / "requests.jsonl").read_text(encoding="utf-8").splitlines()]


def total(invoice: CreateInvoiceRequest) -> int:
    return sum(line.quantity * line.unit_price.amount_minor for line in invoice.lines)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("customers.jsonl", CreateCustomerRequest),
        ("invoices.jsonl", CreateInvoiceRequest),
        ("charges.jsonl", ChargeRequest),
        ("orders.jsonl", AddRecordRequest),
        ("refund_policy.jsonl", SetRefundPolicyRequest),
    ],
)
def test_rows_are_valid_requests(name: str, kind: type[Message]) -> None:
    for row in rows(name, kind):
        protovalidate.validate(row)


def test_invoices_have_known_customers() -> None:
    known = [customer.customer_id for customer in CUSTOMERS]
    assert len(known) == len(set(known))
    assert {invoice.customer_id for invoice in INVOICES.values()} <= set(known)


def test_orders_match_their_invoices() -> None:
    """In customer, time, total and payment."""
    assert len({order.record_id for order in ORDERS}) == len(ORDERS) == len(INVOICES)
    for order in ORDERS:
        invoice = INVOICES[order.attributes["invoice_id"]]
        assert (order.customer_id, order.occur_time) == (invoice.customer_id, invoice.issue_time)
        assert order.attributes["total"] == f"{total(invoice) / 100:.2f} EUR"
        assert (order.attributes["payment"] == "paid") == (invoice.invoice_id in CHARGES)


def test_charges_match_the_totals_of_invoices() -> None:
    assert {invoice_id: total(INVOICES[invoice_id]) for invoice_id in CHARGES} == CHARGES


def test_refund_request_can_be_granted() -> None:
    """It names a paid invoice of the requesting customer, and the amount of one of its lines."""
    inputs = [request["input"] for request in REQUESTS if "customer_id" in request["input"]]
    assert {one["customer_id"] for one in inputs} <= {customer.customer_id for customer in CUSTOMERS}
    [refund] = [one for one in inputs if "refund" in one["message"]]
    invoice = INVOICES["INV-2038"]
    assert invoice.invoice_id in refund["message"]
    assert invoice.invoice_id in CHARGES
    assert invoice.customer_id == refund["customer_id"]
    assert "18.90 EUR" in refund["message"]
    assert 1890 in [line.unit_price.amount_minor for line in invoice.lines]


@pytest.mark.parametrize("article", ARTICLES, ids=lambda path: path.stem)
def test_article_is_one_titled_page(article: Path) -> None:
    title, blank, *body = article.read_text(encoding="utf-8").splitlines()
    assert title.startswith("# ")
    assert not blank
    assert 80 <= len(" ".join(body).split()) <= 200


def test_titles_of_articles_are_unique() -> None:
    titles = [article.read_text(encoding="utf-8").partition("\n")[0] for article in ARTICLES]
    assert len(titles) == len(set(titles)) >= 40
