"""Every ledger behaves alike: in memory, on SQLite, on PostgreSQL (C5, F3)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import pytest
import pytest_asyncio
from graphmesh_billing import payments
from graphmesh_billing.__main__ import MIGRATIONS
from graphmesh_billing.domain import Balance, Line, Money
from graphmesh_billing.ledger import Ledger, MemoryLedger
from graphmesh_billing.ledger_sql import SqlLedger
from graphmesh_chassis.database import Database, open_database
from graphmesh_chassis.errors import AlreadyExists, NotFound, RuleViolated

NOW = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
LINES = (Line("ink, 50 ml", 2, Money("EUR", 1250)), Line("nib · medium", 1, Money("EUR", 4000)))
TOTAL = Money("EUR", 6500)


class Opened(Protocol):
    """Opens the ledger of a tenant, in a transaction of its own."""

    def __call__(self, tenant: str = "acme") -> AbstractAsyncContextManager[Ledger]: ...


def in_memory() -> Opened:
    tenants: dict[str, MemoryLedger] = {}

    @asynccontextmanager
    async def opened(tenant: str = "acme") -> AsyncIterator[Ledger]:
        yield tenants.setdefault(tenant, MemoryLedger())

    return opened


def in_database(database: Database) -> Opened:
    @asynccontextmanager
    async def opened(tenant: str = "acme") -> AsyncIterator[Ledger]:
        async with database.transaction() as connection:
            yield SqlLedger(connection, tenant)

    return opened


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Empty for memory."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite+aiosqlite:///{tmp_path}/billing.db" if request.param == "sqlite" else ""


@pytest_asyncio.fixture
async def opened(url: str) -> AsyncIterator[Opened]:
    if not url:
        yield in_memory()
        return
    async with open_database(url, MIGRATIONS) as database:
        yield in_database(database)


def euros(minor: int) -> Money:
    return Money("EUR", minor)


async def issued(opened: Opened, invoice_id: str = "in_1", tenant: str = "acme", age: int = 0) -> None:
    async with opened(tenant) as ledger:
        await payments.issue_invoice(ledger, invoice_id, "cu_1", LINES, NOW - timedelta(days=age))


async def test_what_is_issued_is_read_again(opened: Opened) -> None:
    """Lines in their order, texts and times to the microsecond."""
    async with opened() as ledger:
        made = await payments.issue_invoice(ledger, "in_1", "cu_1", LINES, NOW)
    async with opened() as ledger:
        assert await ledger.invoice("in_1") == made
    assert (made.lines, made.total, made.outstanding, made.issued) == (LINES, TOTAL, TOTAL, NOW)


async def test_an_id_is_given_once(opened: Opened) -> None:
    """A second invoice of the same id is refused, and the first stays."""
    await issued(opened)
    with pytest.raises(AlreadyExists, match="in_1"):
        await issued(opened, age=1)
    async with opened() as ledger:
        assert (await ledger.invoice("in_1")).issued == NOW


async def test_ids_are_made_where_none_is_given(opened: Opened) -> None:
    async with opened() as ledger:
        first = await payments.issue_invoice(ledger, "", "cu_1", LINES, None)
        second = await payments.issue_invoice(ledger, "", "cu_1", LINES, None)
    assert first.invoice_id != second.invoice_id


async def test_charges_and_refunds_leave_their_marks(opened: Opened) -> None:
    """The invoice knows its charges and what it owes, the charge its refunds in their order."""
    await issued(opened)
    async with opened() as ledger:
        _, one = await payments.charge(ledger, "in_1", euros(1000))
        _, two = await payments.charge(ledger, "in_1", euros(500))
        _, first = await payments.refund(ledger, one.charge_id, euros(300), "broken")
        _, second = await payments.refund(ledger, one.charge_id, euros(100), "late")
    async with opened() as ledger:
        invoice = await ledger.invoice("in_1")
        assert (invoice.outstanding, invoice.charge_ids) == (euros(5000), (one.charge_id, two.charge_id))
        charge = await ledger.charge(one.charge_id)
        assert (charge.amount, charge.refunded, charge.created) == (euros(1000), euros(400), one.created)
        assert await ledger.refunds(one.charge_id) == [first, second]
        assert await ledger.refunds(two.charge_id) == []


async def test_what_is_not_there_is_named(opened: Opened) -> None:
    async with opened() as ledger:
        with pytest.raises(NotFound, match="invoice in_9"):
            await ledger.invoice("in_9")
        with pytest.raises(NotFound, match="charge ch_9"):
            await payments.refund(ledger, "ch_9", euros(1), "broken")


async def test_the_trial_balance_adds_up(opened: Opened) -> None:
    """By account and currency, in order; debits equal credits."""
    await issued(opened)
    async with opened() as ledger:
        _, made = await payments.charge(ledger, "in_1", euros(1000))
        await payments.refund(ledger, made.charge_id, euros(250), "broken")
        await payments.issue_invoice(ledger, "in_2", "cu_1", (Line("pen", 1, Money("JPY", 9000)),), NOW)
        assert await ledger.balances() == [
            Balance("cash", "EUR", 1000, 250),
            Balance("receivable", "EUR", 6500, 1000),
            Balance("receivable", "JPY", 9000, 0),
            Balance("refunds", "EUR", 250, 0),
            Balance("revenue", "EUR", 0, 6500),
            Balance("revenue", "JPY", 0, 9000),
        ]


async def test_pages_follow_each_other(opened: Opened) -> None:
    """Newest first; equal times are told apart by id; no row twice and none left out."""
    for number in range(6):
        await issued(opened, f"in_{number}", age=number // 2)
    async with opened() as ledger:
        seen: list[str] = []
        before = None
        while page := await ledger.invoices("cu_1", before, 2):
            seen += [invoice.invoice_id for invoice in page]
            before = (page[-1].issued, page[-1].invoice_id)
    assert seen == ["in_1", "in_0", "in_3", "in_2", "in_5", "in_4"]


async def test_a_customers_list_is_the_customers(opened: Opened) -> None:
    """Of nobody else, and with the charges of each invoice."""
    await issued(opened)
    async with opened() as ledger:
        await payments.issue_invoice(ledger, "in_2", "cu_2", LINES, NOW)
        _, made = await payments.charge(ledger, "in_2", euros(1))
        [theirs] = await ledger.invoices("cu_2", None, 10)
        assert (theirs.invoice_id, theirs.charge_ids) == ("in_2", (made.charge_id,))
        assert await ledger.invoices("cu_3", None, 10) == []


async def test_tenants_see_their_own_only(opened: Opened) -> None:
    """The same ids are other things for another tenant (A1)."""
    await issued(opened, tenant="acme")
    async with opened("acme") as ledger:
        _, made = await payments.charge(ledger, "in_1", euros(1))
    async with opened("blue") as ledger:
        with pytest.raises(NotFound):
            await ledger.invoice("in_1")
        with pytest.raises(NotFound):
            await ledger.charge(made.charge_id)
        assert await ledger.invoices("cu_1", None, 10) == []
        assert await ledger.refunds(made.charge_id) == []
        assert await ledger.balances() == []
    await issued(opened, tenant="blue")
    async with opened("blue") as ledger:
        assert (await ledger.invoice("in_1")).outstanding == TOTAL


async def test_charges_at_once_never_exceed_the_invoice(opened: Opened) -> None:
    """Twenty callers want a tenth each: ten get it. On PostgreSQL this is the row lock's doing."""
    await issued(opened)

    async def tenth() -> bool:
        try:
            async with opened() as ledger:
                await payments.charge(ledger, "in_1", euros(650))
        except RuleViolated:
            return False
        return True

    assert sum(await asyncio.gather(*(tenth() for _ in range(20)))) == 10
    async with opened() as ledger:
        assert (await ledger.invoice("in_1")).paid


async def test_refunds_at_once_never_exceed_the_charge(opened: Opened) -> None:
    await issued(opened)
    async with opened() as ledger:
        _, made = await payments.charge(ledger, "in_1", euros(100))

    async def quarter() -> bool:
        try:
            async with opened() as ledger:
                await payments.refund(ledger, made.charge_id, euros(25), "broken")
        except RuleViolated:
            return False
        return True

    assert sum(await asyncio.gather(*(quarter() for _ in range(10)))) == 4
