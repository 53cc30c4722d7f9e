"""Billing as a plain synchronous gRPC client calls it: a generated stub, a real channel, the running service.

The pattern for any service: `grpc_settings`, `grpc_servable` and `grpc_stub_cls` below are all that the fixtures of
`graphmesh_chassis.testing` need to serve it. Module scope: one server for all tests, so each test makes its own data.
"""

from contextlib import AbstractAsyncContextManager
from uuid import uuid4

import pytest
from graphmesh.billing import v1 as pb
from graphmesh.billing.v1.billing_pb2_grpc import BillingServiceStub
from graphmesh.common.v1 import Money
from graphmesh_billing.__main__ import build
from graphmesh_billing.settings import Settings
from graphmesh_chassis.errors import IdempotencyKeyRequired, InvalidRequest, NotFound, RuleViolated
from graphmesh_chassis.serve import Servable
from graphmesh_chassis.settings import SecretUrl
from graphmesh_chassis.testing.plain_client import TIMEOUT, fails_with, key


@pytest.fixture(scope="module")
def grpc_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(database_url=SecretUrl(f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('billing')}/billing.db"))


@pytest.fixture(scope="module")
def grpc_servable(grpc_settings: Settings) -> AbstractAsyncContextManager[Servable]:
    return build(grpc_settings)


@pytest.fixture(scope="module")
def grpc_stub_cls() -> type[BillingServiceStub]:
    return BillingServiceStub


@pytest.fixture
def invoice(grpc_stub: BillingServiceStub) -> pb.Invoice:
    """An invoice over 20 EUR of a customer of its own."""
    line = pb.InvoiceLine(description="ink", quantity=2, unit_price=Money(currency_code="EUR", amount_minor=1000))
    request = pb.CreateInvoiceRequest(customer_id=f"cu_{uuid4().hex}", lines=[line])
    return grpc_stub.CreateInvoice(request, timeout=TIMEOUT, metadata=key()).invoice


def charge_of(invoice: pb.Invoice, minor: int) -> pb.ChargeRequest:
    amount = Money(currency_code="EUR", amount_minor=minor)
    return pb.ChargeRequest(invoice_id=invoice.invoice_id, amount=amount)


def test_returns_a_stored_invoice(grpc_stub: BillingServiceStub, invoice: pb.Invoice) -> None:
    request = pb.GetInvoiceRequest(invoice_id=invoice.invoice_id)
    assert grpc_stub.GetInvoice(request, timeout=TIMEOUT).invoice == invoice


def test_lists_invoices_in_pages(grpc_stub: BillingServiceStub, invoice: pb.Invoice) -> None:
    line = pb.InvoiceLine(description="pen", quantity=1, unit_price=Money(currency_code="EUR", amount_minor=1))
    another = pb.CreateInvoiceRequest(customer_id=invoice.customer_id, lines=[line])
    second_invoice = grpc_stub.CreateInvoice(another, timeout=TIMEOUT, metadata=key()).invoice
    request = pb.ListInvoicesRequest(customer_id=invoice.customer_id, page_size=1)
    first = grpc_stub.ListInvoices(request, timeout=TIMEOUT)
    request.page_token = first.next_page_token
    second = grpc_stub.ListInvoices(request, timeout=TIMEOUT)
    assert ([*first.invoices, *second.invoices], second.next_page_token) == ([second_invoice, invoice], "")


def test_repeated_key_returns_the_stored_response(grpc_stub: BillingServiceStub, invoice: pb.Invoice) -> None:
    """The repeat charges nothing, and a trailer reports that the response is a stored one."""
    request, once = charge_of(invoice, 700), key()
    first = grpc_stub.Charge(request, timeout=TIMEOUT, metadata=once)
    repeated, call = grpc_stub.Charge.with_call(request, timeout=TIMEOUT, metadata=once)
    assert repeated == first
    assert dict(call.trailing_metadata())["idempotency-replayed"] == "true"
    after = grpc_stub.GetInvoice(pb.GetInvoiceRequest(invoice_id=invoice.invoice_id), timeout=TIMEOUT).invoice
    assert after.outstanding.amount_minor == 1300


def test_refuses_a_charge_above_the_outstanding_amount(grpc_stub: BillingServiceStub, invoice: pb.Invoice) -> None:
    with fails_with(RuleViolated) as info:
        grpc_stub.Charge(charge_of(invoice, 2001), timeout=TIMEOUT, metadata=key())
    assert dict(info.metadata) == {"rule": "charge_exceeds_outstanding"}


def test_refuses_an_effect_without_a_key(grpc_stub: BillingServiceStub, invoice: pb.Invoice) -> None:
    with fails_with(IdempotencyKeyRequired):
        grpc_stub.Charge(charge_of(invoice, 1), timeout=TIMEOUT)


def test_refuses_a_request_that_breaks_its_contract(grpc_stub: BillingServiceStub) -> None:
    with fails_with(InvalidRequest):
        grpc_stub.GetInvoice(pb.GetInvoiceRequest(), timeout=TIMEOUT)


def test_reports_a_missing_invoice(grpc_stub: BillingServiceStub) -> None:
    with fails_with(NotFound):
        grpc_stub.GetInvoice(pb.GetInvoiceRequest(invoice_id="in_missing"), timeout=TIMEOUT)
