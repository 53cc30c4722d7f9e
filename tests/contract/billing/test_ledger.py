"""The in-memory ledger and the SQL ledger behave alike, on SQLite and PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from graphmesh_billing import payments
from graphmesh_billing.__main__ import MIGRATIONS
from graphmesh_billing.domain import Balance, Line, Money
from graphmesh_billing.ledger import Ledger, MemoryLedger
from graphmesh_billing.ledger_sql import SqlLedger, metadata
from graphmesh_chassis.errors import AlreadyExists, NotFound, RuleViolated

from tests.contract.ports import OpenPort, Port
from tests.contract.schema import declared, migrated

LEDGER = Port[Ledger](MemoryLedger, SqlLedger, MIGRATIONS)
NOW = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
LINES = (Line("ink, 50 ml", 2, Money("EUR", 1250)), Line("nib · medium", 1, Money("EUR", 4000)))
TOTAL = Money("EUR", 6500)


@pytest_asyncio.fixture
async def open_ledger(store_url: str) -> AsyncIterator[OpenPort[Ledger]]:
    async with LEDGER.over(store_url) as open_ledger:
        yield open_ledger


def euros(minor: int) -> Money:
    return Money("EUR", minor)


async def issue(open_ledger: OpenPort[Ledger], invoice_id: str = "in_1", tenant: str = "acme", age: int = 0) -> None:
    async with open_ledger(tenant) as ledger:
        await payments.issue_invoice(ledger, invoice_id, "cu_1", LINES, NOW - timedelta(days=age))


async def test_reads_an_issued_invoice(open_ledger: OpenPort[Ledger]) -> None:
    """Keeps the order of lines, all text, and times to the microsecond."""
    async with open_ledger() as ledger:
        issued = await payments.issue_invoice(ledger, "in_1", "cu_1", LINES, NOW)
    async with open_ledger() as ledger:
        assert await ledger.invoice("in_1") == issued
    assert (issued.lines, issued.total, issued.outstanding, issued.issued) == (LINES, TOTAL, TOTAL, NOW)


async def test_refuses_a_duplicate_invoice_id(open_ledger: OpenPort[Ledger]) -> None:
    """The first invoice stays as it is."""
    await issue(open_ledger)
    with pytest.raises(AlreadyExists, match="in_1"):
        await issue(open_ledger, age=1)
    async with open_ledger() as ledger:
        assert (await ledger.invoice("in_1")).issued == NOW


async def test_generates_missing_ids(open_ledger: OpenPort[Ledger]) -> None:
    async with open_ledger() as ledger:
        first = await payments.issue_invoice(ledger, "", "cu_1", LINES, None)
        second = await payments.issue_invoice(ledger, "", "cu_1", LINES, None)
    assert first.invoice_id != second.invoice_id


async def test_records_charges_and_refunds(open_ledger: OpenPort[Ledger]) -> None:
    """An invoice lists its charges and its outstanding amount, a charge its refunds, oldest first."""
    await issue(open_ledger)
    async with open_ledger() as ledger:
        _, one = await payments.charge(ledger, "in_1", euros(1000))
        _, two = await payments.charge(ledger, "in_1", euros(500))
        _, first = await payments.refund(ledger, one.charge_id, euros(300), "broken")
        _, second = await payments.refund(ledger, one.charge_id, euros(100), "late")
    async with open_ledger() as ledger:
        invoice = await ledger.invoice("in_1")
        assert (invoice.outstanding, invoice.charge_ids) == (euros(5000), (one.charge_id, two.charge_id))
        charge = await ledger.charge(one.charge_id)
        assert (charge.amount, charge.refunded, charge.created) == (euros(1000), euros(400), one.created)
        assert await ledger.refunds(one.charge_id) == [first, second]
        assert await ledger.refunds(two.charge_id) == []


async def test_names_the_missing_resource(open_ledger: OpenPort[Ledger]) -> None:
    async with open_ledger() as ledger:
        with pytest.raises(NotFound, match="invoice in_9"):
            await ledger.invoice("in_9")
        with pytest.raises(NotFound, match="charge ch_9"):
            await payments.refund(ledger, "ch_9", euros(1), "broken")


async def test_trial_balance_adds_up(open_ledger: OpenPort[Ledger]) -> None:
    """One row for each account and currency, in order; debits equal credits."""
    await issue(open_ledger)
    async with open_ledger() as ledger:
        _, charge = await payments.charge(ledger, "in_1", euros(1000))
        await payments.refund(ledger, charge.charge_id, euros(250), "broken")
        await payments.issue_invoice(ledger, "in_2", "cu_1", (Line("pen", 1, Money("JPY", 9000)),), NOW)
        assert await ledger.balances() == [
            Balance("cash", "EUR", 1000, 250),
            Balance("receivable", "EUR", 6500, 1000),
            Balance("receivable", "JPY", 9000, 0),
            Balance("refunds", "EUR", 250, 0),
            Balance("revenue", "EUR", 0, 6500),
            Balance("revenue", "JPY", 0, 9000),
        ]


async def test_pages_list_each_invoice_once(open_ledger: OpenPort[Ledger]) -> None:
    """Newest first; the id breaks ties of the issue time."""
    for number in range(6):
        await issue(open_ledger, f"in_{number}", age=number // 2)
    async with open_ledger() as ledger:
        seen: list[str] = []
        before = None
        while page := await ledger.invoices("cu_1", before, 2):
            seen += [invoice.invoice_id for invoice in page]
            before = (page[-1].issued, page[-1].invoice_id)
    assert seen == ["in_1", "in_0", "in_3", "in_2", "in_5", "in_4"]


async def test_lists_invoices_of_one_customer(open_ledger: OpenPort[Ledger]) -> None:
    """Each invoice has its own charges."""
    await issue(open_ledger)
    async with open_ledger() as ledger:
        await payments.issue_invoice(ledger, "in_2", "cu_2", LINES, NOW)
        _, charge = await payments.charge(ledger, "in_2", euros(1))
        [theirs] = await ledger.invoices("cu_2", None, 10)
        assert (theirs.invoice_id, theirs.charge_ids) == ("in_2", (charge.charge_id,))
        assert await ledger.invoices("cu_3", None, 10) == []


async def test_isolates_tenants(open_ledger: OpenPort[Ledger]) -> None:
    """An id of one tenant is unknown to another, and free for it to use."""
    await issue(open_ledger, tenant="acme")
    async with open_ledger("acme") as ledger:
        _, charge = await payments.charge(ledger, "in_1", euros(1))
    async with open_ledger("blue") as ledger:
        with pytest.raises(NotFound):
            await ledger.invoice("in_1")
        with pytest.raises(NotFound):
            await ledger.charge(charge.charge_id)
        assert await ledger.invoices("cu_1", None, 10) == []
        assert await ledger.refunds(charge.charge_id) == []
        assert await ledger.balances() == []
    await issue(open_ledger, tenant="blue")
    async with open_ledger("blue") as ledger:
        assert (await ledger.invoice("in_1")).outstanding == TOTAL


async def test_concurrent_charges_never_exceed_the_invoice(open_ledger: OpenPort[Ledger]) -> None:
    """Twenty callers charge a tenth each, and ten succeed. PostgreSQL needs the row lock for it."""
    await issue(open_ledger)

    async def tenth() -> bool:
        try:
            async with open_ledger() as ledger:
                await payments.charge(ledger, "in_1", euros(650))
        except RuleViolated:
            return False
        return True

    assert sum(await asyncio.gather(*(tenth() for _ in range(20)))) == 10
    async with open_ledger() as ledger:
        assert (await ledger.invoice("in_1")).paid


async def test_concurrent_refunds_never_exceed_the_charge(open_ledger: OpenPort[Ledger]) -> None:
    await issue(open_ledger)
    async with open_ledger() as ledger:
        _, charge = await payments.charge(ledger, "in_1", euros(100))

    async def quarter() -> bool:
        try:
            async with open_ledger() as ledger:
                await payments.refund(ledger, charge.charge_id, euros(25), "broken")
        except RuleViolated:
            return False
        return True

    assert sum(await asyncio.gather(*(quarter() for _ in range(10)))) == 4


@pytest.mark.parametrize("store_url", ["sqlite", "postgresql"], indirect=True)
async def test_migrations_create_the_declared_tables(store_url: str) -> None:
    assert await migrated(metadata, store_url, MIGRATIONS) == declared(metadata)
