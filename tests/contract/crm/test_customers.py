"""Every keeper of customers behaves alike: in memory, on SQLite, on PostgreSQL (C5, F5)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import pytest
import pytest_asyncio
import sqlalchemy as sa
from graphmesh_chassis.database import Database, open_database
from graphmesh_chassis.errors import AlreadyExists, NotFound, VersionMismatch
from graphmesh_crm import updates
from graphmesh_crm.__main__ import MIGRATIONS
from graphmesh_crm.customers import Customers, MemoryCustomers
from graphmesh_crm.customers_sql import SqlCustomers, metadata
from graphmesh_crm.domain import Customer, Profile, Record, Tier, apply_update, new_customer

NOW = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)


class Opened(Protocol):
    """Opens the customers of a tenant, in a transaction of its own."""

    def __call__(self, tenant: str = "acme") -> AbstractAsyncContextManager[Customers]: ...


def in_memory() -> Opened:
    tenants: dict[str, MemoryCustomers] = {}

    @asynccontextmanager
    async def opened(tenant: str = "acme") -> AsyncIterator[Customers]:
        yield tenants.setdefault(tenant, MemoryCustomers())

    return opened


def in_database(database: Database) -> Opened:
    @asynccontextmanager
    async def opened(tenant: str = "acme") -> AsyncIterator[Customers]:
        async with database.transaction() as connection:
            yield SqlCustomers(connection, tenant)

    return opened


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Empty for memory."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite+aiosqlite:///{tmp_path}/crm.db" if request.param == "sqlite" else ""


@pytest_asyncio.fixture
async def opened(url: str) -> AsyncIterator[Opened]:
    if not url:
        yield in_memory()
        return
    async with open_database(url, MIGRATIONS) as database:
        yield in_database(database)


def profile(name: str, email: str = "", company: str = "") -> Profile:
    return Profile(name, email, "+49 555 01", company, Tier.PLUS, "de-DE", {"city": "Münster", "note": "50% off_now"})


def customer(number: int, name: str = "Mira", email: str = "", company: str = "") -> Customer:
    return new_customer(f"cu_{number}", profile(name, email, company), NOW + timedelta(microseconds=number))


def order(number: int, customer_id: str = "cu_1", kind: str = "order") -> Record:
    occurred = NOW + timedelta(days=number // 2)
    return Record(customer_id, kind, f"TT-{number}", "A pen", "delivered", {"invoice_id": "INV-1"}, occurred)


async def found(opened: Opened, text: str = "", email: str = "") -> list[str]:
    async with opened() as customers:
        return [customer.customer_id for customer in await customers.search(text, email, None, 100)]


async def test_a_customer_comes_back_as_it_was_stored(opened: Opened) -> None:
    """To the microsecond, in UTC."""
    async with opened() as customers:
        await customers.add_customer(customer(1))
    async with opened() as customers:
        assert await customers.customer("cu_1") == customer(1)
        assert await customers.customer("cu_1", for_update=True) == customer(1)


async def test_an_id_is_given_once(opened: Opened) -> None:
    async with opened() as customers:
        await customers.add_customer(customer(1))
        await customers.add_record(order(1))
    with pytest.raises(AlreadyExists, match="customer cu_1"):
        async with opened() as customers:
            await customers.add_customer(customer(1, "Another"))
    with pytest.raises(AlreadyExists, match="record TT-1"):
        async with opened() as customers:
            await customers.add_record(order(1, kind="call"))


async def test_tenants_know_nothing_of_each_other(opened: Opened) -> None:
    """The same ids are free, and nothing of another tenant is found or listed."""
    for tenant in ("acme", "globex"):
        async with opened(tenant) as customers:
            before = customer(1, tenant)
            await customers.add_customer(before)
            await customers.add_record(replace(order(1), title=tenant))
            await customers.update_customer(*apply_update(before, {"phone": ""}, reason=tenant, author="a", now=NOW))
    for tenant in ("acme", "globex"):
        async with opened(tenant) as customers:
            assert [one.profile.name for one in await customers.search("", "", None, 10)] == [tenant]
            assert [one.title for one in await customers.records("cu_1", "", None, 10)] == [tenant]
            assert [one.reason for one in await customers.changes("cu_1", None, 10)] == [tenant]
    async with opened("initech") as customers:
        with pytest.raises(NotFound):
            await customers.customer("cu_1")


async def test_a_search_finds_plain_text_in_any_letter_case(opened: Opened) -> None:
    """Beyond ASCII too; what is special to LIKE is a character like any other."""
    async with opened() as customers:
        await customers.add_customer(customer(1, "Henrik ÅLUND", "Henrik@Example.org"))
        await customers.add_customer(customer(2, "Groß & Söhne", company="100% Ink_Works \\ Co"))
    assert await found(opened, "ålund") == ["cu_1"]
    assert await found(opened, "HENRIK  å") == ["cu_1"]
    assert await found(opened, "GROSS") == ["cu_2"]
    assert await found(opened, "0% ink_w") == ["cu_2"]
    assert await found(opened, "\\ co") == ["cu_2"]
    assert await found(opened, "%") == ["cu_2"]
    assert await found(opened, "i_k") == []
    assert await found(opened, "") == ["cu_2", "cu_1"]


async def test_an_email_filter_is_exact_but_for_letter_case(opened: Opened) -> None:
    async with opened() as customers:
        await customers.add_customer(customer(1, "Henrik", "Henrik@Example.org"))
        await customers.add_customer(customer(2, "Henrik", "henrik@example.org.invalid"))
    assert await found(opened, email="henrik@EXAMPLE.org") == ["cu_1"]
    assert await found(opened, text="invalid", email="henrik@example.org") == []


async def test_a_changed_customer_is_found_by_what_it_is_now(opened: Opened) -> None:
    async with opened() as customers:
        await customers.add_customer(customer(1, "Henrik", "old@example.org"))
    async with opened() as customers:
        await updates.update_customer(
            customers, "cu_1", {"name": "Rik", "email": "new@example.org"}, expected_version=1, reason="r", author="a"
        )
    assert await found(opened, "henrik") == await found(opened, email="old@example.org") == []
    assert await found(opened, "rik") == await found(opened, email="new@example.org") == ["cu_1"]


async def test_an_update_on_an_old_version_changes_nothing(opened: Opened) -> None:
    async with opened() as customers:
        await customers.add_customer(customer(1))
        await updates.update_customer(customers, "cu_1", {"phone": "1"}, expected_version=1, reason="r", author="a")
    with pytest.raises(VersionMismatch, match="expected version 1, it is 2"):
        async with opened() as customers:
            await updates.update_customer(customers, "cu_1", {"phone": "2"}, expected_version=1, reason="r", author="a")
    async with opened() as customers:
        assert (await customers.customer("cu_1")).profile.phone == "1"
        _, changes = await updates.update_customer(
            customers, "cu_1", {"phone": "3"}, expected_version=0, reason="r", author="a"
        )
        assert [(change.version, change.old, change.new) for change in changes] == [(3, "1", "3")]


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
async def test_who_updates_waits_for_who_holds(opened: Opened) -> None:
    """Two decide on version 1 at the same time: the second sees what the first has made of it."""
    async with opened() as customers:
        await customers.add_customer(customer(1))

    async def second() -> None:
        async with opened() as customers:
            await updates.update_customer(customers, "cu_1", {"phone": "2"}, expected_version=1, reason="r", author="a")

    async with opened() as customers:
        await customers.customer("cu_1", for_update=True)
        waiting = asyncio.create_task(second())
        assert not (await asyncio.wait({waiting}, timeout=0.3))[0]
        await updates.update_customer(customers, "cu_1", {"phone": "1"}, expected_version=1, reason="r", author="a")
    with pytest.raises(VersionMismatch, match="expected version 1, it is 2"):
        await waiting


async def test_the_history_is_complete_and_newest_first(opened: Opened) -> None:
    async with opened() as customers:
        await customers.add_customer(customer(1))
        await updates.update_customer(
            customers, "cu_1", {"phone": "1", "company": "X"}, expected_version=0, reason="moved", author="ana"
        )
        await updates.update_customer(
            customers, "cu_1", {"attributes": {}}, expected_version=0, reason="cleared", author="bo"
        )
    async with opened() as customers:
        history = await customers.changes("cu_1", None, 10)
    assert [(change.version, change.field, change.author, change.reason) for change in history] == [
        (3, "attributes.note", "bo", "cleared"),
        (3, "attributes.city", "bo", "cleared"),
        (2, "phone", "ana", "moved"),
        (2, "company", "ana", "moved"),
    ]
    assert history[0].changed.tzinfo is UTC


async def test_lists_go_on_where_they_stopped(opened: Opened) -> None:
    """Page after page gives each row once, in the one order; rows of equal time are told apart by their ids."""
    async with opened() as customers:
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


async def test_records_are_listed_by_kind(opened: Opened) -> None:
    async with opened() as customers:
        await customers.add_record(order(1))
        await customers.add_record(order(2, kind="call"))
        await customers.add_record(order(3, customer_id="cu_2"))
        assert await customers.records("cu_1", "call", None, 10) == [order(2, kind="call")]
        assert await customers.records("cu_1", "", None, 10) == [order(2, kind="call"), order(1)]


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
async def test_migrations_make_the_tables_that_the_code_knows(url: str) -> None:
    """Name by name: tables, columns, keys and indexes."""

    def schema(connection: sa.Connection) -> dict[str, object]:
        inspector = sa.inspect(connection)
        return {
            table: (
                [column["name"] for column in inspector.get_columns(table)],
                inspector.get_pk_constraint(table)["constrained_columns"],
                {index["name"]: index["column_names"] for index in inspector.get_indexes(table)},
            )
            for table in metadata.tables
        }

    async with open_database(url, MIGRATIONS) as database, database.read() as connection:
        made = await connection.run_sync(schema)
    assert made == {
        name: (
            [column.name for column in table.columns],
            [column.name for column in table.primary_key],
            {index.name: [column.name for column in index.columns] for index in table.indexes},
        )
        for name, table in metadata.tables.items()
    }
