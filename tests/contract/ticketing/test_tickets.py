"""Every keeper of tickets behaves alike: in memory, on SQLite, on PostgreSQL (C5, F4)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import pytest
import pytest_asyncio
import sqlalchemy as sa
from graphmesh_chassis.database import Database, open_database
from graphmesh_chassis.errors import NotFound, RuleViolated, VersionMismatch
from graphmesh_ticketing import lifecycle
from graphmesh_ticketing.__main__ import MIGRATIONS
from graphmesh_ticketing.domain import Comment, Draft, Priority, Status, Ticket, new_ticket
from graphmesh_ticketing.tickets import MemoryTickets, TicketFilter, Tickets
from graphmesh_ticketing.tickets_sql import SqlTickets, metadata

NOW = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)


class Opened(Protocol):
    """Opens the tickets of a tenant, in a transaction of its own."""

    def __call__(self, tenant: str = "acme") -> AbstractAsyncContextManager[Tickets]: ...


def in_memory() -> Opened:
    tenants: dict[str, MemoryTickets] = {}

    @asynccontextmanager
    async def opened(tenant: str = "acme") -> AsyncIterator[Tickets]:
        yield tenants.setdefault(tenant, MemoryTickets())

    return opened


def in_database(database: Database) -> Opened:
    @asynccontextmanager
    async def opened(tenant: str = "acme") -> AsyncIterator[Tickets]:
        async with database.transaction() as connection:
            yield SqlTickets(connection, tenant)

    return opened


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Empty for memory."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite+aiosqlite:///{tmp_path}/ticketing.db" if request.param == "sqlite" else ""


@pytest_asyncio.fixture
async def opened(url: str) -> AsyncIterator[Opened]:
    if not url:
        yield in_memory()
        return
    async with open_database(url, MIGRATIONS) as database:
        yield in_database(database)


def draft(subject: str = "A cracked bottle", customer_id: str = "cu_1", requester: str = "mira@example.com") -> Draft:
    return Draft(subject, "Ink everywhere.", customer_id, requester, ("damage", "ink"), Priority.HIGH, "")


def ticket(number: int, subject: str = "A cracked bottle", customer_id: str = "cu_1") -> Ticket:
    return new_ticket(draft(subject, customer_id), number, NOW + timedelta(microseconds=number // 2))


def comment(number: int) -> Comment:
    return Comment(f"co_{number}", 1001, "ana", f"Text {number}", number % 2 == 0, NOW + timedelta(seconds=number // 2))


async def found(opened: Opened, conditions: TicketFilter) -> list[int]:
    async with opened() as tickets:
        return [ticket.number for ticket in await tickets.search(conditions, None, 100)]


async def test_a_ticket_comes_back_as_it_was_stored(opened: Opened) -> None:
    """To the microsecond, in UTC, its tags in order."""
    async with opened() as tickets:
        await tickets.add_ticket(ticket(1001))
    async with opened() as tickets:
        assert await tickets.ticket(1001) == ticket(1001)
        assert await tickets.ticket(1001, for_update=True) == ticket(1001)


async def test_numbers_count_up_for_each_tenant(opened: Opened) -> None:
    for expected in ("T-1001", "T-1002"):
        for tenant in ("acme", "globex"):
            async with opened(tenant) as tickets:
                assert (await lifecycle.create_ticket(tickets, draft())).ticket_id == expected


async def test_no_number_is_given_twice(opened: Opened) -> None:
    """Twenty open a ticket at the same instant, of a tenant that has none yet."""

    async def one() -> int:
        async with opened() as tickets:
            return (await lifecycle.create_ticket(tickets, draft())).number

    numbers = await asyncio.gather(*(one() for _ in range(20)))
    assert sorted(numbers) == list(range(1001, 1021))


async def test_tenants_know_nothing_of_each_other(opened: Opened) -> None:
    """The same number is free, and nothing of another tenant is found, read or listed."""
    for tenant in ("acme", "globex"):
        async with opened(tenant) as tickets:
            await tickets.add_ticket(ticket(1001, subject=tenant))
            await tickets.add_comment(Comment(f"co_{tenant}", 1001, tenant, "Text", False, NOW))
    for tenant in ("acme", "globex"):
        async with opened(tenant) as tickets:
            assert [one.subject for one in await tickets.search(TicketFilter(), None, 10)] == [tenant]
            assert [one.author for one in await tickets.comments(1001, None, 10)] == [tenant]
    async with opened("initech") as tickets:
        with pytest.raises(NotFound, match="ticket T-1001"):
            await tickets.ticket(1001)


async def test_a_search_finds_plain_text_in_any_letter_case(opened: Opened) -> None:
    """Beyond ASCII too; what is special to LIKE is a character like any other."""
    async with opened() as tickets:
        await tickets.add_ticket(ticket(1001, "ÄRGER with\nthe  ink"))
        await tickets.add_ticket(ticket(1002, "100% of_it \\ gone"))
    assert await found(opened, TicketFilter("ärger WITH the ink")) == [1001]
    assert await found(opened, TicketFilter("0% OF_it \\")) == [1002]
    assert await found(opened, TicketFilter("%")) == [1002]
    assert await found(opened, TicketFilter("o__it")) == []
    assert await found(opened, TicketFilter("everywhere")) == [1002, 1001]
    assert await found(opened, TicketFilter("MIRA@")) == [1002, 1001]


async def test_filters_are_joined_by_and(opened: Opened) -> None:
    async with opened() as tickets:
        await tickets.add_ticket(ticket(1001))
        await tickets.add_ticket(ticket(1002, customer_id="cu_2"))
        await tickets.add_ticket(ticket(1003))
        await lifecycle.update_ticket(tickets, 1003, {"status": Status.SOLVED}, expected_version=0)
    assert await found(opened, TicketFilter(status=Status.OPEN)) == [1002, 1001]
    assert await found(opened, TicketFilter(customer_id="cu_1")) == [1003, 1001]
    assert await found(opened, TicketFilter("bottle", Status.SOLVED, "cu_1")) == [1003]
    assert await found(opened, TicketFilter("bottle", Status.SOLVED, "cu_2")) == []


async def test_an_update_on_an_old_version_changes_nothing(opened: Opened) -> None:
    async with opened() as tickets:
        await tickets.add_ticket(ticket(1001))
        await lifecycle.update_ticket(tickets, 1001, {"assignee": "ana", "priority": Priority.LOW}, expected_version=1)
    with pytest.raises(VersionMismatch, match="expected version 1, it is 2"):
        async with opened() as tickets:
            await lifecycle.update_ticket(tickets, 1001, {"assignee": "bo"}, expected_version=1)
    async with opened() as tickets:
        stored = await tickets.ticket(1001)
    assert (stored.assignee, stored.priority, stored.version) == ("ana", Priority.LOW, 2)


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
async def test_who_updates_waits_for_who_holds(opened: Opened) -> None:
    """Two decide on version 1 at the same time: the second sees what the first has made of it."""
    async with opened() as tickets:
        await tickets.add_ticket(ticket(1001))

    async def second() -> None:
        async with opened() as tickets:
            await lifecycle.update_ticket(tickets, 1001, {"assignee": "bo"}, expected_version=1)

    async with opened() as tickets:
        await tickets.ticket(1001, for_update=True)
        waiting = asyncio.create_task(second())
        assert not (await asyncio.wait({waiting}, timeout=0.3))[0]
        await lifecycle.update_ticket(tickets, 1001, {"assignee": "ana"}, expected_version=1)
    with pytest.raises(VersionMismatch, match="expected version 1, it is 2"):
        await waiting


async def test_a_closed_ticket_takes_nothing_more(opened: Opened) -> None:
    async with opened() as tickets:
        await tickets.add_ticket(ticket(1001))
        await lifecycle.update_ticket(tickets, 1001, {"status": Status.CLOSED}, expected_version=0)
    with pytest.raises(RuleViolated, match="T-1001 is closed"):
        async with opened() as tickets:
            await lifecycle.update_ticket(tickets, 1001, {"status": Status.OPEN}, expected_version=0)
    with pytest.raises(RuleViolated, match="T-1001 is closed"):
        async with opened() as tickets:
            await lifecycle.add_comment(tickets, 1001, "ana", "Still there?", False)


async def test_a_comment_moves_the_update_time_but_not_the_version(opened: Opened) -> None:
    async with opened() as tickets:
        await tickets.add_ticket(ticket(1001))
        made = await lifecycle.add_comment(tickets, 1001, "ana", "A new bottle is on its way.", True)
    async with opened() as tickets:
        stored = await tickets.ticket(1001)
        assert await tickets.comments(1001, None, 10) == [made]
    assert (stored.version, stored.updated) == (1, made.created)


async def test_lists_go_on_where_they_stopped(opened: Opened) -> None:
    """Page after page gives each row once, in the one order; rows of equal time are told apart by their ids."""
    async with opened() as tickets:
        for number in range(1, 8):
            await tickets.add_ticket(ticket(1000 + number))
            await tickets.add_comment(comment(number))
        before, numbers = None, list[int]()
        while page := await tickets.search(TicketFilter("cracked"), before, 3):
            numbers += [one.number for one in page]
            before = (page[-1].created, page[-1].number)
        assert numbers == [1007, 1006, 1005, 1004, 1003, 1002, 1001]
        after, texts = None, list[str]()
        while comments := await tickets.comments(1001, after, 2):
            texts += [one.text for one in comments]
            after = (comments[-1].created, comments[-1].comment_id)
        assert texts == [f"Text {number}" for number in range(7, 0, -1)]


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
