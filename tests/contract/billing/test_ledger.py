"""The in-memory ledger and the SQL ledger behave alike, on SQLite and PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from graphmesh_billing import payments, refunds
from graphmesh_billing.__main__ import MIGRATIONS
from graphmesh_billing.domain import Balance, Charge, Invoice, Kind, Line, LineRequest, Refund
from graphmesh_billing.ledger import Ledger, MemoryLedger, Owed, Period
from graphmesh_billing.ledger_sql import SqlLedger
from graphmesh_billing.refund_policy import (
    DEFAULT_POLICY,
    Calendar,
    Consequence,
    Limit,
    Rule,
    Scope,
    Status,
    Subject,
    Used,
)
from graphmesh_billing.refunds import RefundRefused, RefundRequest
from graphmesh_billing.tables import metadata
from graphmesh_chassis.errors import AlreadyExists, NotFound, RuleViolated, VersionMismatch
from graphmesh_contracts.money import Money

from tests.contract.ports import OpenPort, Port
from tests.contract.schema import declared, migrated

LEDGER = Port[Ledger](MemoryLedger, SqlLedger, MIGRATIONS)
NOW = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
LINES = (
    Line("ink, 50 ml", 2, Money("EUR", 1250), tax_name="VAT", tax_rate=190_000),
    Line("nib · medium", 1, Money("EUR", 4000)),
)
TOTAL = Money("EUR", 6500)


@pytest_asyncio.fixture
async def open_ledger(store_url: str) -> AsyncIterator[OpenPort[Ledger]]:
    async with LEDGER.over(store_url) as open_ledger:
        yield open_ledger


def euros(minor: int) -> Money:
    return Money("EUR", minor)


async def issue(open_ledger: OpenPort[Ledger], invoice_id: str = "in_1", tenant: str = "acme", age: int = 0) -> Invoice:
    async with open_ledger(tenant) as ledger:
        issued = NOW - timedelta(days=age)
        return await payments.issue_invoice(ledger, invoice_id, "cu_1", LINES, issued, tax_included=True)


async def sell(open_ledger: OpenPort[Ledger], invoice_id: str = "in_1", customer_id: str = "cu_1") -> Charge:
    """Issue an invoice of two lines over 65 EUR, and charge it."""
    async with open_ledger() as ledger:
        await payments.issue_invoice(ledger, invoice_id, customer_id, LINES, None, tax_included=True)
        _, charge = await payments.charge(ledger, invoice_id, TOTAL)
        return charge


async def set_rules(open_ledger: OpenPort[Ledger], *rules: Rule) -> None:
    async with open_ledger() as ledger:
        await refunds.set_policy(ledger, rules, None)


async def refund(
    open_ledger: OpenPort[Ledger], charge_id: str, *lines: LineRequest, amount: int = 0, approval_id: str = ""
) -> Refund:
    """Refund lines, or an amount of the first line."""
    wanted = lines or (LineRequest("1", 0, euros(amount)),)
    total = euros(amount or sum((line.amount or euros(0)).minor for line in wanted))
    request = RefundRequest(charge_id, total, "broken", wanted, approval_id=approval_id)
    async with open_ledger() as ledger:
        return (await refunds.refund(ledger, request))[1]


async def test_reads_an_issued_invoice(open_ledger: OpenPort[Ledger]) -> None:
    """Keeps the order of lines, all text, and times to the microsecond."""
    issued = await issue(open_ledger)
    async with open_ledger() as ledger:
        assert await ledger.invoice("in_1") == issued
    assert [(line.line_id, line.description, line.amount, line.tax) for line in issued.lines] == [
        ("1", "ink, 50 ml", 2500, 399),
        ("2", "nib · medium", 4000, 0),
    ]
    assert (issued.total, issued.outstanding, issued.issued) == (TOTAL, TOTAL, NOW)


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
    """An invoice lists its charges and what is left of its lines, a charge its refunds, oldest first."""
    await set_rules(open_ledger)
    await issue(open_ledger)
    async with open_ledger() as ledger:
        _, one = await payments.charge(ledger, "in_1", euros(4000))
        _, two = await payments.charge(ledger, "in_1", euros(500))
    first = await refund(open_ledger, one.charge_id, LineRequest("1", 1), amount=1250)
    second = await refund(open_ledger, one.charge_id, amount=100, approval_id="apr_1")
    assert [(line.quantity, line.amount, line.tax) for line in first.lines] == [(1, 1250, 200)]
    assert (second.approval_id, second.policy_version) == ("apr_1", 1)
    async with open_ledger() as ledger:
        invoice = await ledger.invoice("in_1")
        assert (invoice.outstanding, invoice.charge_ids) == (euros(2000), (one.charge_id, two.charge_id))
        assert [(line.refunded, line.returned) for line in invoice.lines] == [(1350, 1), (0, 0)]
        charge = await ledger.charge(one.charge_id)
        assert (charge.amount, charge.refunded, charge.created) == (euros(4000), euros(1350), one.created)
        assert await ledger.refunds(one.charge_id) == [first, second]
        assert await ledger.refunds(two.charge_id) == []


async def test_names_the_missing_resource(open_ledger: OpenPort[Ledger]) -> None:
    async with open_ledger() as ledger:
        with pytest.raises(NotFound, match="invoice in_9"):
            await ledger.invoice("in_9")
    with pytest.raises(NotFound, match="charge ch_9"):
        await refund(open_ledger, "ch_9", amount=1)


async def test_trial_balance_adds_up(open_ledger: OpenPort[Ledger]) -> None:
    """One row for each account and currency, in order; debits equal credits."""
    await set_rules(open_ledger)
    await issue(open_ledger)
    async with open_ledger() as ledger:
        _, charge = await payments.charge(ledger, "in_1", euros(3000))
        await payments.credit(ledger, "in_1", [LineRequest("2", 0, euros(500))], "late")
        await payments.charge_back(ledger, charge.charge_id, euros(200))
        await payments.issue_invoice(ledger, "in_2", "cu_1", (Line("pen", 1, Money("JPY", 9000)),), NOW)
    await refund(open_ledger, charge.charge_id, LineRequest("1", 2), amount=2500)
    async with open_ledger() as ledger:
        assert await ledger.balances() == [
            Balance("cash", "EUR", 3000, 2700),
            Balance("credits", "EUR", 500, 0),
            Balance("receivable", "EUR", 6700, 3500),
            Balance("receivable", "JPY", 9000, 0),
            Balance("refunds", "EUR", 2101, 0),
            Balance("revenue", "EUR", 0, 6101),
            Balance("revenue", "JPY", 0, 9000),
            Balance("tax", "EUR", 399, 399),
        ]
        [note] = await ledger.credit_notes("in_1")
        assert (note.amount, [(line.line_id, line.amount) for line in note.lines]) == (euros(500), [("2", 500)])


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
    charge = await sell(open_ledger, "in_2", "cu_2")
    async with open_ledger() as ledger:
        [theirs] = await ledger.invoices("cu_2", None, 10)
        assert (theirs.invoice_id, theirs.charge_ids) == ("in_2", (charge.charge_id,))
        assert await ledger.invoices("cu_3", None, 10) == []


async def test_isolates_tenants(open_ledger: OpenPort[Ledger]) -> None:
    """An id of one tenant is unknown to another, and free for it to use. Policies and usage are apart too."""
    await set_rules(open_ledger)
    charge = await sell(open_ledger)
    made = await refund(open_ledger, charge.charge_id, amount=5, approval_id="apr_1")
    async with open_ledger("blue") as ledger:
        with pytest.raises(NotFound):
            await ledger.invoice("in_1")
        with pytest.raises(NotFound):
            await ledger.charge(charge.charge_id)
        assert await ledger.invoices("cu_1", None, 10) == []
        assert await ledger.refunds(charge.charge_id) == []
        assert await ledger.balances() == []
        assert await ledger.refund_policy() == DEFAULT_POLICY
        assert await ledger.used(Subject(Scope.CUSTOMER, "cu_1", 0), "in_1", "EUR", None) == Used(0, 0)
        assert not await ledger.is_approval_used(made.approval_id)
        assert await ledger.statement(Period("cu_1", "EUR"), None, 10) == []
        assert await ledger.owed(Period("cu_1", "EUR"), None) == Owed(0, 0, 0)
    await issue(open_ledger, tenant="blue")
    async with open_ledger("blue") as ledger:
        assert (await ledger.invoice("in_1")).charge_ids == ()
        assert [invoice.charge_ids for invoice in await ledger.invoices("cu_1", None, 10)] == [()]


async def test_counts_what_is_used(open_ledger: OpenPort[Ledger]) -> None:
    """By line, charge and customer, since a time, and in one currency."""
    await set_rules(open_ledger)
    one, two = await sell(open_ledger, "in_1"), await sell(open_ledger, "in_2")
    await sell(open_ledger, "in_3", "cu_2")
    first = await refund(open_ledger, one.charge_id, LineRequest("1", 1), LineRequest("2", 0, euros(7)), amount=1257)
    await refund(open_ledger, one.charge_id, amount=3)
    await refund(open_ledger, two.charge_id, amount=5)
    async with open_ledger() as ledger:

        async def used(scope: Scope, subject: str, since: datetime | None = None, currency: str = "EUR") -> Used:
            return await ledger.used(Subject(scope, subject, 0), "in_1", currency, since)

        assert await used(Scope.LINE, "1") == Used(2, 1253)
        assert await used(Scope.LINE, "2") == Used(1, 7)
        assert await used(Scope.CHARGE, one.charge_id) == Used(2, 1260)
        assert await used(Scope.CUSTOMER, "cu_1") == Used(3, 1265)
        assert await used(Scope.CUSTOMER, "cu_1", currency="JPY") == Used(3, 0)
        assert await used(Scope.CUSTOMER, "cu_2") == Used(0, 0)
        assert await used(Scope.REFUND, "") == Used(0, 0)
        assert await used(Scope.CHARGE, one.charge_id, first.created) == Used(1, 3)
        assert await used(Scope.CHARGE, one.charge_id, first.created - timedelta(microseconds=1)) == Used(2, 1260)


async def test_policy_is_stored_as_it_is(open_ledger: OpenPort[Ledger]) -> None:
    rules = (
        Rule("paid", Consequence.DENY, statuses=(Status.PAID,)),
        Rule("in_time", Consequence.DENY, max_age=timedelta(days=30)),
        Rule(
            "month",
            Consequence.REQUIRE_APPROVAL,
            Limit(Scope.CUSTOMER, 3, (euros(5), Money("JPY", 6)), None, Calendar.MONTH, "Europe/Berlin"),
        ),
        Rule("line", Consequence.DENY, Limit(Scope.LINE, 0, (), timedelta(microseconds=1))),
    )
    async with open_ledger() as ledger:
        assert await ledger.refund_policy() == DEFAULT_POLICY
        assert (await refunds.set_policy(ledger, rules, 0)).version == 1
    async with open_ledger() as ledger:
        stored = await ledger.refund_policy()
        assert (stored.rules, stored.version) == (rules, 1)
        with pytest.raises(VersionMismatch, match="expected version 0, found 1"):
            await refunds.set_policy(ledger, (), 0)
        assert (await refunds.set_policy(ledger, (), None)).version == 2
        assert (await ledger.refund_policy()).rules == ()


async def test_statement_has_balances(open_ledger: OpenPort[Ledger]) -> None:
    """Its periods begin with their start and end before their end; pages continue the balance."""
    await set_rules(open_ledger)
    await issue(open_ledger, "in_1", age=2)
    await issue(open_ledger, "in_2", age=1)
    async with open_ledger() as ledger:
        _, charge = await payments.charge(ledger, "in_1", euros(6500))
    await refund(open_ledger, charge.charge_id, amount=5)
    async with open_ledger() as ledger:
        await payments.charge_back(ledger, charge.charge_id, euros(1000))
        await payments.credit(ledger, "in_2", [LineRequest("2", 1)], "late")
        whole = await ledger.statement(Period("cu_1", "EUR"), None, 10)
        kinds = [one.entry.kind for one in whole]
        assert kinds == [Kind.INVOICE, Kind.INVOICE, Kind.CHARGE, Kind.REFUND, Kind.CHARGEBACK, Kind.CREDIT_NOTE]
        assert [one.entry.reference for one in whole[:3]] == ["in_1", "in_2", charge.charge_id]
        assert await ledger.owed(Period("cu_1", "EUR"), None) == Owed(0, 0, 3500)
        start, end = NOW - timedelta(days=1), whole[2].entry.created
        period = Period("cu_1", "EUR", start, end)
        assert [one.entry.reference for one in await ledger.statement(period, None, 10)] == ["in_2"]
        assert await ledger.owed(period, None) == Owed(6500, 6500, 13000)
        position = (whole[1].entry.created, whole[1].entry_id)
        assert await ledger.statement(Period("cu_1", "EUR"), position, 2) == whole[2:4]
        assert await ledger.owed(Period("cu_1", "EUR"), position) == Owed(0, 13000, 3500)
        assert await ledger.statement(Period("cu_1", "JPY"), None, 10) == []


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


LIMIT_40 = Limit(Scope.CUSTOMER, max_amounts=(Money("EUR", 4000),), period=timedelta(days=30))


@pytest.mark.parametrize(
    ("rules", "lines", "made"),
    [
        ((), [LineRequest("2", 1)] * 8, 1),
        ((), [LineRequest("1", 1)] * 8, 2),
        ((Rule("once", Consequence.DENY, Limit(Scope.LINE, 1)),), [LineRequest("1", 0, euros(5))] * 8, 1),
        ((Rule("twice", Consequence.DENY, Limit(Scope.CHARGE, 2)),), [LineRequest("1", 0, euros(5))] * 8, 2),
        ((Rule("sum", Consequence.REQUIRE_APPROVAL, LIMIT_40),), [LineRequest("2", 0, euros(1000))] * 8, 4),
    ],
    ids=["one item", "two items", "line", "charge", "customer"],
)
async def test_concurrent_refunds_keep_every_rule(
    open_ledger: OpenPort[Ledger], rules: tuple[Rule, ...], lines: list[LineRequest], made: int
) -> None:
    """Parallel requests exceed the policy as little as one: PostgreSQL needs the locks for it."""
    await set_rules(open_ledger, *rules)
    charge = await sell(open_ledger)
    amounts = {"1": 1250, "2": 4000}

    async def attempt(line: LineRequest) -> bool:
        try:
            amount = line.amount.minor if line.amount else amounts[line.line_id]
            await refund(open_ledger, charge.charge_id, line, amount=amount)
        except RefundRefused:
            return False
        return True

    assert sum(await asyncio.gather(*(attempt(line) for line in lines))) == made


async def test_concurrent_refunds_of_a_customer_keep_the_limit(open_ledger: OpenPort[Ledger]) -> None:
    """Of several charges: no row is common to them, so the customer is locked."""
    await set_rules(open_ledger, Rule("sum", Consequence.REQUIRE_APPROVAL, LIMIT_40))
    charges = [await sell(open_ledger, f"in_{number}") for number in range(6)]

    async def attempt(charge: Charge) -> bool:
        try:
            await refund(open_ledger, charge.charge_id, LineRequest("1", 1), amount=1250)
        except RefundRefused as refused:
            return not refused.decision.needs_approval
        return True

    assert sum(await asyncio.gather(*(attempt(charge) for charge in charges))) == 3


async def test_an_approval_is_used_once(open_ledger: OpenPort[Ledger]) -> None:
    """Also by refunds of two charges at the same time."""
    charges = [await sell(open_ledger, f"in_{number}") for number in range(2)]

    async def attempt(charge: Charge) -> str:
        try:
            await refund(open_ledger, charge.charge_id, LineRequest("1", 1), amount=1250, approval_id="apr_1")
        except RefundRefused as refused:
            return refused.decision.broken[0].rule
        return ""

    assert sorted(await asyncio.gather(*(attempt(charge) for charge in charges))) == ["", "approval_used"]


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
async def test_a_policy_is_replaced_after_the_refunds_under_it(open_ledger: OpenPort[Ledger]) -> None:
    """No refund that commits later was checked against the policy before."""
    await set_rules(open_ledger)
    charge, other = await sell(open_ledger), await sell(open_ledger, "in_2")
    never = Rule("never", Consequence.DENY, Limit(Scope.REFUND, max_count=0))
    request = RefundRequest(charge.charge_id, euros(5), "broken", (LineRequest("1", 0, euros(5)),))
    async with open_ledger() as ledger:
        await refunds.refund(ledger, request)
        await refund(open_ledger, other.charge_id, amount=5)  # refunds do not wait for each other
        async with open_ledger("blue") as blue:
            await refunds.set_policy(blue, (never,), None)  # nor tenants
        replacing = asyncio.create_task(set_rules(open_ledger, never))
        await asyncio.wait((replacing,), timeout=0.2)
        assert not replacing.done()
    await replacing
    with pytest.raises(RefundRefused):
        await refund(open_ledger, charge.charge_id, amount=5)


@pytest.mark.parametrize("store_url", ["sqlite", "postgresql"], indirect=True)
async def test_migrations_create_the_declared_tables(store_url: str) -> None:
    assert await migrated(metadata, store_url, MIGRATIONS) == declared(metadata)
