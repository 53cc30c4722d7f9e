"""Billing as a caller meets it: a real server with every hook, on SQLite and PostgreSQL (F3)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import grpc
import pytest
import pytest_asyncio
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from graphmesh.billing import v1 as pb
from graphmesh.common.v1 import Money
from graphmesh_billing.__main__ import build
from graphmesh_billing.settings import Settings
from graphmesh_chassis import serve
from graphmesh_chassis.errors import (
    AlreadyExists,
    DatabaseUnavailable,
    IdempotencyKeyReused,
    InvalidRequest,
    NotFound,
    RuleViolated,
    ScopeMissing,
)
from graphmesh_chassis.testing import Served, running
from graphmesh_contracts import Rpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from sqlalchemy.engine import make_url

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)
Billing = pb.BillingService


def euros(minor: int) -> Money:
    return Money(currency_code="EUR", amount_minor=minor)


def invoice(invoice_id: str = "in_1", price: int = 1000, **fields: Any) -> pb.CreateInvoiceRequest:
    line = pb.InvoiceLine(description="ink", quantity=2, unit_price=euros(price))
    return pb.CreateInvoiceRequest(invoice_id=invoice_id, customer_id="cu_1", lines=[line], **fields)


class Till:
    """A caller: a new effect key for each call that does not give one."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self._keys = (f"key-{number}" for number in count())

    async def __call__(
        self, rpc: Rpc[RequestT, ResponseT], request: RequestT, key: str = "", **headers: str
    ) -> ResponseT:
        named = {f"x-graphmesh-{name}": value for name, value in headers.items()}
        named["idempotency-key"] = key or next(self._keys)
        return await self.served.channel.unary(rpc, request, timeout=10, headers=list(named.items()))

    async def charge(self, minor: int, key: str = "", invoice_id: str = "in_1") -> pb.ChargeResponse:
        return await self(Billing.Charge, pb.ChargeRequest(invoice_id=invoice_id, amount=euros(minor)), key)

    async def refund(self, charge_id: str, minor: int) -> pb.RefundResponse:
        request = pb.RefundRequest(charge_id=charge_id, amount=euros(minor), cause="broken")
        return await self(Billing.Refund, request)

    async def balances(self) -> dict[str, tuple[int, int]]:
        found = await self(Billing.GetTrialBalance, pb.GetTrialBalanceRequest())
        return {row.account: (row.debit_minor, row.credit_minor) for row in found.accounts}


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Till]:
    settings = Settings(database_url=url)
    async with build(settings) as servable, running(servable, settings) as served:
        yield Till(served)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite+aiosqlite:///{tmp_path}/billing.db"


@pytest_asyncio.fixture
async def till(url: str) -> AsyncIterator[Till]:
    async with opened(url) as till:
        yield till


async def test_an_invoice_is_paid_and_partly_refunded(till: Till) -> None:
    """From the invoice to the books, in minor units."""
    made = await till(Billing.CreateInvoice, invoice())
    assert (made.invoice.total, made.invoice.status) == (euros(2000), pb.InvoiceStatus.INVOICE_STATUS_OPEN)
    half = await till.charge(500)
    assert half.outstanding == euros(1500)
    await till.charge(1500)
    back = await till.refund(half.charge.charge_id, 200)
    assert back.refundable == euros(300)
    read = await till(Billing.GetInvoice, pb.GetInvoiceRequest(invoice_id="in_1"))
    assert (read.invoice.status, len(read.invoice.charge_ids)) == (pb.InvoiceStatus.INVOICE_STATUS_PAID, 2)
    charge = await till(Billing.GetCharge, pb.GetChargeRequest(charge_id=half.charge.charge_id))
    assert (charge.charge.refunded, [refund.cause for refund in charge.refunds]) == (euros(200), ["broken"])
    assert await till.balances() == {
        "cash": (2000, 200),
        "receivable": (2000, 2000),
        "refunds": (200, 0),
        "revenue": (0, 2000),
    }


async def test_rules_are_named(till: Till) -> None:
    """A caller can tell from the rule what to do about it."""
    await till(Billing.CreateInvoice, invoice())
    with pytest.raises(RuleViolated) as broken:
        await till.charge(2001)
    assert broken.value.data == {"rule": "charge_exceeds_outstanding"}
    charged = await till.charge(2000)
    with pytest.raises(RuleViolated) as broken:
        await till.refund(charged.charge.charge_id, 2001)
    assert broken.value.data == {"rule": "refund_exceeds_charge"}
    with pytest.raises(AlreadyExists):
        await till(Billing.CreateInvoice, invoice())
    with pytest.raises(NotFound):
        await till.charge(1, invoice_id="in_2")


async def test_the_same_charge_a_thousand_times_is_one(till: Till) -> None:
    """One ledger entry and a thousand equal answers; the same key for another amount is refused (E2)."""
    await till(Billing.CreateInvoice, invoice())
    answers = await asyncio.gather(*(till.charge(700, "once") for _ in range(1000)))
    assert len({answer.SerializeToString(deterministic=True) for answer in answers}) == 1
    with pytest.raises(IdempotencyKeyReused):
        await till.charge(701, "once")
    assert (await till.balances())["cash"] == (700, 0)


async def test_many_charges_at_once_never_exceed_the_invoice(till: Till) -> None:
    """Forty callers with keys of their own want a twentieth each."""
    await till(Billing.CreateInvoice, invoice())
    outcomes = await asyncio.gather(*(till.charge(100) for _ in range(40)), return_exceptions=True)
    assert sum(isinstance(outcome, pb.ChargeResponse) for outcome in outcomes) == 20
    assert sum(isinstance(outcome, RuleViolated) for outcome in outcomes) == 20
    assert (await till.balances())["receivable"] == (2000, 2000)


async def test_pages_end(till: Till) -> None:
    """Newest first, each once, also up to the end of time; a page says whether there is a next one."""
    last = Timestamp(seconds=253402300798, nanos=999_999_000)
    await till(Billing.CreateInvoice, invoice("in_last", issue_time=last))
    for number in range(6):
        await till(Billing.CreateInvoice, invoice(f"in_{number}", issue_time=Timestamp(seconds=1000 + number)))
    seen, token = [], ""
    while True:
        request = pb.ListInvoicesRequest(customer_id="cu_1", page_size=3, page_token=token)
        page = await till(Billing.ListInvoices, request)
        seen += [found.invoice_id for found in page.invoices]
        if not (token := page.next_page_token):
            break
    assert seen == ["in_last", "in_5", "in_4", "in_3", "in_2", "in_1", "in_0"]


async def test_a_token_of_nobodys_is_refused(till: Till) -> None:
    with pytest.raises(InvalidRequest, match="page_token"):
        await till(Billing.ListInvoices, pb.ListInvoicesRequest(customer_id="cu_1", page_token="bm9wZQ=="))


async def test_tenants_are_apart(till: Till) -> None:
    """Another tenant's ids are unknown, and may be used again (A1)."""
    await till(Billing.CreateInvoice, invoice(), tenant="acme")
    with pytest.raises(NotFound):
        await till(Billing.GetInvoice, pb.GetInvoiceRequest(invoice_id="in_1"), tenant="blue")
    await till(Billing.CreateInvoice, invoice(price=5), tenant="blue")


async def test_each_effect_has_its_scope(till: Till) -> None:
    """Whoever may charge may not refund."""
    await till(Billing.CreateInvoice, invoice(), scopes="billing.write")
    charge = pb.ChargeRequest(invoice_id="in_1", amount=euros(1))
    made = await till(Billing.Charge, charge, scopes="billing.charge")
    refund = pb.RefundRequest(charge_id=made.charge.charge_id, amount=euros(1), cause="broken")
    with pytest.raises(ScopeMissing, match=r"billing\.refund"):
        await till(Billing.Refund, refund, scopes="billing.charge billing.read")


class Cable:
    """A TCP line to a database that can be cut and mended."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None
        self.port = 0

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._pass_on, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        assert self._server
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._to)
        self._writers += [writer, back]
        await asyncio.gather(_copy(reader, back), _copy(there, writer), return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def becomes(till: Till, status: str) -> None:
    async with grpc.aio.insecure_channel(till.served.address) as channel, asyncio.timeout(10):
        stub: Any = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service=Billing.NAME)
        while True:
            answer = await stub.Check(request, timeout=2)
            if health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status) == status:
                return
            await asyncio.sleep(0.05)


async def test_a_lost_database_is_said_and_found_again(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """DATABASE_UNAVAILABLE and NOT_SERVING while it is away; afterwards everything goes on, and nothing is lost."""
    monkeypatch.setattr(serve, "PING_SECONDS", 0.05)
    url = make_url(postgres_url)
    cable = Cable(url.port or 0)
    await cable.mend()
    async with opened(url.set(port=cable.port).render_as_string(hide_password=False)) as till:
        await till(Billing.CreateInvoice, invoice())
        await till.charge(500, "k")
        await cable.cut()
        with pytest.raises(DatabaseUnavailable) as lost:
            await till.charge(500, "k2")
        assert (lost.value.code, lost.value.retryable) == (grpc.StatusCode.UNAVAILABLE, True)
        await becomes(till, "NOT_SERVING")
        await cable.mend()
        await becomes(till, "SERVING")
        await till.charge(500, "k2")
        await till.charge(500, "k")
        assert (await till.balances())["cash"] == (1000, 0)
    await cable.cut()
