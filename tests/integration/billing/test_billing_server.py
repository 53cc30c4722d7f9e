"""Billing over a real channel: a server with every hook, on SQLite and PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp
from graphmesh.billing import v1 as pb
from graphmesh.common.v1 import Money
from graphmesh_billing.__main__ import build
from graphmesh_billing.settings import Settings
from graphmesh_chaos.tcp_proxy import LOOPBACK, tcp_proxy
from graphmesh_chassis.errors import (
    AlreadyExists,
    DatabaseUnavailable,
    IdempotencyKeyReused,
    InvalidRequest,
    NotFound,
    RuleViolated,
    ScopeMissing,
)
from graphmesh_chassis.settings import SecretUrl
from graphmesh_chassis.testing import Served, running
from graphmesh_contracts import Overrides
from grpc_health.v1 import health_pb2, health_pb2_grpc
from sqlalchemy.engine import make_url

from tests.integration.service_client import ServiceClient

Billing = pb.BillingService


def euros(minor: int) -> Money:
    return Money(currency_code="EUR", amount_minor=minor)


def invoice(invoice_id: str = "in_1", price: int = 1000, **fields: Any) -> pb.CreateInvoiceRequest:
    line = pb.InvoiceLine(description="ink", quantity=2, unit_price=euros(price))
    return pb.CreateInvoiceRequest(invoice_id=invoice_id, customer_id="cu_1", lines=[line], **fields)


class BillingClient(ServiceClient):
    def __init__(self, served: Served) -> None:
        super().__init__(served.channel)
        self.served = served

    async def charge(self, minor: int, key: str | None = None, invoice_id: str = "in_1") -> pb.ChargeResponse:
        return await self(Billing.Charge, pb.ChargeRequest(invoice_id=invoice_id, amount=euros(minor)), key)

    async def refund(self, charge_id: str, minor: int, key: str | None = None, **fields: Any) -> pb.RefundResponse:
        request = pb.RefundRequest(charge_id=charge_id, amount=euros(minor), cause="broken", **fields)
        return await self(Billing.Refund, request, key)

    async def set_rules(self, *rules: pb.RefundRule) -> pb.RefundPolicy:
        request = pb.SetRefundPolicyRequest(policy=pb.RefundPolicy(rules=rules))
        return (await self(Billing.SetRefundPolicy, request)).policy

    async def sold(self, invoice_id: str = "in_1", **fields: Any) -> str:
        """Issue an invoice over two bottles of 10 EUR, and charge it. Returns the id of the charge."""
        await self(Billing.CreateInvoice, invoice(invoice_id, **fields))
        return (await self.charge(2000, invoice_id=invoice_id)).charge.charge_id

    async def balances(self) -> dict[str, tuple[int, int]]:
        found = await self(Billing.GetTrialBalance, pb.GetTrialBalanceRequest())
        return {row.account: (row.debit_minor, row.credit_minor) for row in found.accounts}


@asynccontextmanager
async def serving(database_url: str, policy: Overrides | None = None, **fields: Any) -> AsyncIterator[BillingClient]:
    """Serve billing while the body runs. `fields` replace fields of its Servable."""
    settings = Settings(database_url=SecretUrl(database_url), policy=policy or Overrides())
    async with build(settings) as servable, running(replace(servable, **fields), settings) as served:
        yield BillingClient(served)


@pytest_asyncio.fixture
async def billing(database_url: str) -> AsyncIterator[BillingClient]:
    async with serving(database_url) as billing:
        yield billing


async def test_charges_and_refunds_an_invoice(billing: BillingClient) -> None:
    """The trial balance shows each step, in minor units."""
    await billing.set_rules()
    created = await billing(Billing.CreateInvoice, invoice())
    assert (created.invoice.total, created.invoice.status) == (euros(2000), pb.InvoiceStatus.INVOICE_STATUS_OPEN)
    half = await billing.charge(500)
    assert half.outstanding == euros(1500)
    await billing.charge(1500)
    refunded = await billing.refund(half.charge.charge_id, 200)
    assert refunded.refundable == euros(300)
    read = await billing(Billing.GetInvoice, pb.GetInvoiceRequest(invoice_id="in_1"))
    assert (read.invoice.status, len(read.invoice.charge_ids)) == (pb.InvoiceStatus.INVOICE_STATUS_PAID, 2)
    charge = await billing(Billing.GetCharge, pb.GetChargeRequest(charge_id=half.charge.charge_id))
    assert (charge.charge.refunded, [refund.cause for refund in charge.refunds]) == (euros(200), ["broken"])
    assert await billing.balances() == {
        "cash": (2000, 200),
        "receivable": (2000, 2000),
        "refunds": (200, 0),
        "revenue": (0, 2000),
    }


async def test_names_the_broken_rule(billing: BillingClient) -> None:
    await billing(Billing.CreateInvoice, invoice())
    with pytest.raises(RuleViolated) as broken:
        await billing.charge(2001)
    assert broken.value.data == {"rule": "charge_exceeds_outstanding"}
    charged = await billing.charge(2000)
    await billing.set_rules()
    with pytest.raises(RuleViolated) as broken:
        await billing.refund(charged.charge.charge_id, 2001)
    assert broken.value.data == {"rule": "refund_exceeds_charge"}
    with pytest.raises(AlreadyExists):
        await billing(Billing.CreateInvoice, invoice())
    with pytest.raises(NotFound):
        await billing.charge(1, invoice_id="in_2")


async def test_charges_once_for_a_thousand_repeats(billing: BillingClient) -> None:
    """One posting, and a thousand equal responses. The same key with another amount is refused."""
    await billing(Billing.CreateInvoice, invoice())
    responses = await asyncio.gather(*(billing.charge(700, "once") for _ in range(1000)))
    assert len({response.SerializeToString(deterministic=True) for response in responses}) == 1
    with pytest.raises(IdempotencyKeyReused):
        await billing.charge(701, "once")
    assert (await billing.balances())["cash"] == (700, 0)


async def test_concurrent_charges_never_exceed_the_invoice(database_url: str) -> None:
    """Forty clients charge a twentieth each under keys of their own, and twenty succeed."""
    patient = Overrides(methods={"Charge": {"timeout": "60s"}})  # forty transactions, one after the other
    async with serving(database_url, patient) as billing:
        await billing(Billing.CreateInvoice, invoice())
        outcomes = await asyncio.gather(*(billing.charge(100) for _ in range(40)), return_exceptions=True)
        assert sum(isinstance(outcome, pb.ChargeResponse) for outcome in outcomes) == 20
        assert sum(isinstance(outcome, RuleViolated) for outcome in outcomes) == 20
        assert (await billing.balances())["receivable"] == (2000, 2000)


async def test_pages_list_each_invoice_once(billing: BillingClient) -> None:
    """Newest first, including the latest time that a Timestamp holds. The last page has no token."""
    last = Timestamp(seconds=253402300798, nanos=999_999_000)
    await billing(Billing.CreateInvoice, invoice("in_last", issue_time=last))
    for number in range(6):
        await billing(Billing.CreateInvoice, invoice(f"in_{number}", issue_time=Timestamp(seconds=1000 + number)))
    seen, token = [], ""
    while True:
        request = pb.ListInvoicesRequest(customer_id="cu_1", page_size=3, page_token=token)
        page = await billing(Billing.ListInvoices, request)
        seen += [found.invoice_id for found in page.invoices]
        if not (token := page.next_page_token):
            break
    assert seen == ["in_last", "in_5", "in_4", "in_3", "in_2", "in_1", "in_0"]


async def test_refuses_a_forged_page_token(billing: BillingClient) -> None:
    with pytest.raises(InvalidRequest, match="page_token"):
        await billing(Billing.ListInvoices, pb.ListInvoicesRequest(customer_id="cu_1", page_token="bm9wZQ=="))


async def test_isolates_tenants(billing: BillingClient) -> None:
    """An id of one tenant is unknown to another, and free for it to use."""
    await billing(Billing.CreateInvoice, invoice(), tenant="acme")
    with pytest.raises(NotFound):
        await billing(Billing.GetInvoice, pb.GetInvoiceRequest(invoice_id="in_1"), tenant="blue")
    await billing(Billing.CreateInvoice, invoice(price=5), tenant="blue")


async def test_requires_the_scope_of_each_effect(billing: BillingClient) -> None:
    """The scope to charge does not allow refunds."""
    await billing(Billing.CreateInvoice, invoice(), scopes="billing.write")
    charge = pb.ChargeRequest(invoice_id="in_1", amount=euros(1))
    charged = await billing(Billing.Charge, charge, scopes="billing.charge")
    refund = pb.RefundRequest(charge_id=charged.charge.charge_id, amount=euros(1), cause="broken")
    with pytest.raises(ScopeMissing, match=r"billing\.refund"):
        await billing(Billing.Refund, refund, scopes="billing.charge billing.read")


async def wait_for_health(billing: BillingClient, status: str) -> None:
    async with grpc.aio.insecure_channel(billing.served.address) as channel, asyncio.timeout(60):
        stub: Any = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service=Billing.NAME)
        while True:
            response = await stub.Check(request, timeout=60)
            if health_pb2.HealthCheckResponse.ServingStatus.Name(response.status) == status:
                return
            await asyncio.sleep(0.05)


async def test_recovers_from_a_lost_database(postgres_url: str) -> None:
    """DATABASE_UNAVAILABLE and NOT_SERVING during the outage; afterwards no charge is lost or doubled."""
    url = make_url(postgres_url)
    async with (
        tcp_proxy(LOOPBACK, url.port or 0) as proxy,
        serving(url.set(port=proxy.port).render_as_string(hide_password=False), ping_seconds=0.05) as billing,
    ):
        await billing(Billing.CreateInvoice, invoice())
        await billing.charge(500, "k")
        proxy.refuse()
        with pytest.raises(DatabaseUnavailable) as lost:
            await billing.charge(500, "k2")
        assert (lost.value.code, lost.value.retryable) == (grpc.StatusCode.UNAVAILABLE, True)
        await wait_for_health(billing, "NOT_SERVING")
        proxy.heal()
        await wait_for_health(billing, "SERVING")
        await billing.charge(500, "k2")
        await billing.charge(500, "k")
        assert (await billing.balances())["cash"] == (1000, 0)
