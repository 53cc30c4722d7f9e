"""The in-memory customers and the SQL customers behave alike, on SQLite and PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from graphmesh_chassis.errors import AlreadyExists, NotFound, VersionMismatch
from graphmesh_crm import updates
from graphmesh_crm.__main__ import MIGRATIONS
from graphmesh_crm.customers import Customers, MemoryCustomers
from graphmesh_crm.customers_sql import SqlCustomers, metadata
from graphmesh_crm.domain import Customer, Profile, Record, Tier, apply_update, new_customer

from tests.contract.ports import OpenPort, Port
from tests.contract.schema import declared, migrated

CUSTOMERS = Port[Customers](MemoryCustomers, SqlCustomers, MIGRATIONS)
NOW = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)


@pytest_asyncio.fixture
async def open_customers(store_url: str) -> AsyncIterator[OpenPort[Customers]]:
    async with CUSTOMERS.over(store_url) as open_customers:
        yield open_customers


def profile(name: str, email: str = "", company: str = "") -> Profile:
    return Profile(name, email, "+49 555 01", company, Tier.PLUS, "de-DE", {"city": "Münster", "note": "50% off_now"})


def customer(number: int, name: str = "Mira", email: str = "", company: str = "") -> Customer:
    return new_customer(f"cu_{number}", profile(name, email, company), NOW + timedelta(microseconds=number))


def order(number: int, customer_id: str = "cu_1", kind: str = "order") -> Record:
    occurred = NOW + timedelta(days=number // 2)
    return Record(customer_id, kind, f"TT-{number}", "A pen", "delivered", {"invoice_id": "INV-1"}, occurred)


async def search(open_customers: OpenPort[Customers], text: str = "", email: str = "") -> list[str]:
    async with open_customers() as customers:
        return [customer.customer_id for customer in await customers.search(text, email, None, 100)]


async def test_reads_a_stored_customer(open_customers: OpenPort[Customers]) -> None:
    """Times are in UTC, to the microsecond."""
    async with open_customers() as customers:
        await customers.add_customer(customer(1))
    async with open_customers() as customers:
        assert await customers.customer("cu_1") == customer(1)
        assert await customers.customer("cu_1", for_update=True) == customer(1)


async def test_refuses_duplicate_ids(open_customers: OpenPort[Customers]) -> None:
    async with open_customers() as customers:
        await customers.add_customer(customer(1))
        await customers.add_record(order(1))
    with pytest.raises(AlreadyExists, match="customer cu_1"):
        async with open_customers() as customers:
            await customers.add_customer(customer(1, "Another"))
    with pytest.raises(AlreadyExists, match="record TT-1"):
        async with open_customers() as customers:
            await customers.add_record(order(1, kind="call"))


async def test_isolates_tenants(open_customers: OpenPort[Customers]) -> None:
    """Both tenants use the same ids, and find and list their own rows only."""
    for tenant in ("acme", "globex"):
        async with open_customers(tenant) as customers:
            before = customer(1, tenant)
            await customers.add_customer(before)
            await customers.add_record(replace(order(1), title=tenant))
            await customers.update_customer(*apply_update(before, {"phone": ""}, reason=tenant, author="a", now=NOW))
    for tenant in ("acme", "globex"):
        async with open_customers(tenant) as customers:
            assert [one.profile.name for one in await customers.search("", "", None, 10)] == [tenant]
            assert [one.title for one in await customers.records("cu_1", "", None, 10)] == [tenant]
            assert [one.reason for one in await customers.changes("cu_1", None, 10)] == [tenant]
    async with open_customers("initech") as customers:
        with pytest.raises(NotFound):
            await customers.customer("cu_1")


async def test_search_ignores_letter_case(open_customers: OpenPort[Customers]) -> None:
    """It does so in every alphabet. The wildcards of LIKE match literally."""
    async with open_customers() as customers:
        await customers.add_customer(customer(1, "Henrik ÅLUND", "Henrik@Example.org"))
        await customers.add_customer(customer(2, "Groß & Söhne", company="100% Ink_Works \\ Co"))
    assert await search(open_customers, "ålund") == ["cu_1"]
    assert await search(open_customers, "HENRIK  å") == ["cu_1"]
    assert await search(open_customers, "GROSS") == ["cu_2"]
    assert await search(open_customers, "0% ink_w") == ["cu_2"]
    assert await search(open_customers, "\\ co") == ["cu_2"]
    assert await search(open_customers, "%") == ["cu_2"]
    assert await search(open_customers, "i_k") == []
    assert await search(open_customers, "") == ["cu_2", "cu_1"]


async def test_email_filter_matches_the_whole_address(open_customers: OpenPort[Customers]) -> None:
    async with open_customers() as customers:
        await customers.add_customer(customer(1, "Henrik", "Henrik@Example.org"))
        await customers.add_customer(customer(2, "Henrik", "henrik@example.org.invalid"))
    assert await search(open_customers, email="henrik@EXAMPLE.org") == ["cu_1"]
    assert await search(open_customers, text="invalid", email="henrik@example.org") == []


async def test_search_matches_updated_values(open_customers: OpenPort[Customers]) -> None:
    async with open_customers() as customers:
        await customers.add_customer(customer(1, "Henrik", "old@example.org"))
    async with open_customers() as customers:
        await updates.update_customer(
            customers, "cu_1", {"name": "Rik", "email": "new@example.org"}, expected_version=1, reason="r", author="a"
        )
    assert await search(open_customers, "henrik") == await search(open_customers, email="old@example.org") == []
    assert await search(open_customers, "rik") == await search(open_customers, email="new@example.org") == ["cu_1"]


async def test_refuses_an_update_of_an_old_version(open_customers: OpenPort[Customers]) -> None:
    async with open_customers() as customers:
        await customers.add_customer(customer(1))
        await updates.update_customer(customers, "cu_1", {"phone": "1"}, expected_version=1, reason="r", author="a")
    with pytest.raises(VersionMismatch, match="expected version 1, found 2"):
        async with open_customers() as customers:
            await updates.update_customer(customers, "cu_1", {"phone": "2"}, expected_version=1, reason="r", author="a")
    async with open_customers() as customers:
        assert (await customers.customer("cu_1")).profile.phone == "1"
        _, changes = await updates.update_customer(
            customers, "cu_1", {"phone": "3"}, expected_version=0, reason="r", author="a"
        )
        assert [(change.version, change.old, change.new) for change in changes] == [(3, "1", "3")]


@pytest.mark.parametrize("store_url", ["sqlite", "postgresql"], indirect=True)
async def test_update_waits_for_the_row_lock(open_customers: OpenPort[Customers]) -> None:
    """The second of two updates that expect version 1 reads version 2, and is refused."""
    async with open_customers() as customers:
        await customers.add_customer(customer(1))

    async def second() -> None:
        async with open_customers() as customers:
            await updates.update_customer(customers, "cu_1", {"phone": "2"}, expected_version=1, reason="r", author="a")

    async with open_customers() as customers:
        await customers.customer("cu_1", for_update=True)
        blocked = asyncio.create_task(second())
        assert not (await asyncio.wait({blocked}, timeout=0.3))[0]
        await updates.update_customer(customers, "cu_1", {"phone": "1"}, expected_version=1, reason="r", author="a")
    with pytest.raises(VersionMismatch, match="expected version 1, found 2"):
        await blocked


async def test_lists_all_changes_newest_first(open_customers: OpenPort[Customers]) -> None:
    async with open_customers() as customers:
        await customers.add_customer(customer(1))
        await updates.update_customer(
            customers, "cu_1", {"phone": "1", "company": "X"}, expected_version=0, reason="moved", author="ana"
        )
        await updates.update_customer(
            customers, "cu_1", {"attributes": {}}, expected_version=0, reason="cleared", author="bo"
        )
    async with open_customers() as customers:
        history = await customers.changes("cu_1", None, 10)
    assert [(change.version, change.field, change.author, change.reason) for change in history] == [
        (3, "attributes.note", "bo", "cleared"),
        (3, "attributes.city", "bo", "cleared"),
        (2, "phone", "ana", "moved"),
        (2, "company", "ana", "moved"),
    ]
    assert history[0].changed.tzinfo is UTC


async def test_pages_list_each_row_once(open_customers: OpenPort[Customers]) -> None:
    """Newest first; the id breaks ties of the time."""
    async with open_customers() as customers:
        for number in range(1, 8):
            await customers.add_customer(customer(number))
            await customers.add_record(order(number))
        before = None
        ids: list[str] = []
        while page := await customers.search("", "", before, 3):
            ids += [one.customer_id for one in page]
            before = (page[-1].created, page[-1].customer_id)
        assert ids == [f"cu_{number}" for number in range(7, 0, -1)]
        before = None
        ids = []
        while records := await customers.records("cu_1", "order", before, 2):
            ids += [record.record_id for record in records]
            before = (records[-1].occurred, records[-1].record_id)
        assert ids == [f"TT-{number}" for number in range(7, 0, -1)]


async def test_lists_records_by_kind(open_customers: OpenPort[Customers]) -> None:
    async with open_customers() as customers:
        await customers.add_record(order(1))
        await customers.add_record(order(2, kind="call"))
        await customers.add_record(order(3, customer_id="cu_2"))
        assert await customers.records("cu_1", "call", None, 10) == [order(2, kind="call")]
        assert await customers.records("cu_1", "", None, 10) == [order(2, kind="call"), order(1)]


@pytest.mark.parametrize("store_url", ["sqlite", "postgresql"], indirect=True)
async def test_migrations_create_the_declared_tables(store_url: str) -> None:
    assert await migrated(metadata, store_url, MIGRATIONS) == declared(metadata)
