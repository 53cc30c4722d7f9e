"""The in-memory tickets and the SQL tickets behave alike, on SQLite and PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from graphmesh_chassis.errors import NotFound, RuleViolated, VersionMismatch
from graphmesh_ticketing import lifecycle
from graphmesh_ticketing.__main__ import MIGRATIONS
from graphmesh_ticketing.domain import (
    DEFAULT_POLICY,
    Comment,
    Draft,
    Priority,
    Queue,
    Status,
    Ticket,
    TicketPolicy,
    new_ticket,
)
from graphmesh_ticketing.tickets import NEVER, MemoryTickets, TicketFilter, Tickets, due_key
from graphmesh_ticketing.tickets_sql import SqlTickets, metadata

from tests.contract.ports import OpenPort, Port
from tests.contract.schema import declared, migrated

TICKETS = Port[Tickets](MemoryTickets, SqlTickets, MIGRATIONS)
NOW = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)


@pytest_asyncio.fixture
async def open_tickets(store_url: str) -> AsyncIterator[OpenPort[Tickets]]:
    async with TICKETS.over(store_url) as open_tickets:
        yield open_tickets


def draft(subject: str = "A cracked bottle", customer_id: str = "cu_1", requester: str = "mira@example.com") -> Draft:
    return Draft(subject, "Ink everywhere.", customer_id, requester, ("damage", "ink"), "", priority="high")


def ticket(number: int, subject: str = "A cracked bottle", customer_id: str = "cu_1") -> Ticket:
    return new_ticket(DEFAULT_POLICY, draft(subject, customer_id), number, NOW + timedelta(microseconds=number // 2))


def comment(number: int) -> Comment:
    return Comment(f"co_{number}", 1001, "ana", f"Text {number}", number % 2 == 0, NOW + timedelta(seconds=number // 2))


async def search(open_tickets: OpenPort[Tickets], conditions: TicketFilter) -> list[int]:
    async with open_tickets() as tickets:
        return [ticket.number for ticket in await tickets.search(conditions, None, 100)]


async def test_reads_a_stored_ticket(open_tickets: OpenPort[Tickets]) -> None:
    """Times are in UTC, to the microsecond; tags keep their order."""
    async with open_tickets() as tickets:
        await tickets.add_ticket(ticket(1001))
    async with open_tickets() as tickets:
        assert await tickets.ticket(1001) == ticket(1001)
        assert await tickets.ticket(1001, for_update=True) == ticket(1001)


async def test_numbers_count_up_per_tenant(open_tickets: OpenPort[Tickets]) -> None:
    for expected in ("T-1001", "T-1002"):
        for tenant in ("acme", "globex"):
            async with open_tickets(tenant) as tickets:
                assert (await lifecycle.create_ticket(tickets, draft())).ticket_id == expected


async def test_concurrent_tickets_get_distinct_numbers(open_tickets: OpenPort[Tickets]) -> None:
    """Twenty callers create the first tickets of a tenant at the same time."""

    async def create() -> int:
        async with open_tickets() as tickets:
            return (await lifecycle.create_ticket(tickets, draft())).number

    numbers = await asyncio.gather(*(create() for _ in range(20)))
    assert sorted(numbers) == list(range(1001, 1021))


async def test_isolates_tenants(open_tickets: OpenPort[Tickets]) -> None:
    """Both tenants use the same number, and find, read and list their own rows only."""
    for tenant in ("acme", "globex"):
        async with open_tickets(tenant) as tickets:
            await tickets.add_ticket(ticket(1001, subject=tenant))
            await tickets.add_comment(Comment(f"co_{tenant}", 1001, tenant, "Text", False, NOW))
    for tenant in ("acme", "globex"):
        async with open_tickets(tenant) as tickets:
            assert [one.subject for one in await tickets.search(TicketFilter(), None, 10)] == [tenant]
            assert [one.author for one in await tickets.comments(1001, None, 10)] == [tenant]
    async with open_tickets("initech") as tickets:
        with pytest.raises(NotFound, match="ticket T-1001"):
            await tickets.ticket(1001)


async def test_search_ignores_letter_case(open_tickets: OpenPort[Tickets]) -> None:
    """It does so in every alphabet. The wildcards of LIKE match literally."""
    async with open_tickets() as tickets:
        await tickets.add_ticket(ticket(1001, "ÄRGER with\nthe  ink"))
        await tickets.add_ticket(ticket(1002, "100% of_it \\ gone"))
    assert await search(open_tickets, TicketFilter("ärger WITH the ink")) == [1001]
    assert await search(open_tickets, TicketFilter("0% OF_it \\")) == [1002]
    assert await search(open_tickets, TicketFilter("%")) == [1002]
    assert await search(open_tickets, TicketFilter("o__it")) == []
    assert await search(open_tickets, TicketFilter("everywhere")) == [1002, 1001]
    assert await search(open_tickets, TicketFilter("MIRA@")) == [1002, 1001]


async def test_joins_filters_by_and(open_tickets: OpenPort[Tickets]) -> None:
    async with open_tickets() as tickets:
        await tickets.add_ticket(ticket(1001))
        await tickets.add_ticket(ticket(1002, customer_id="cu_2"))
        await tickets.add_ticket(ticket(1003))
        await lifecycle.update_ticket(tickets, 1003, {"status": Status.SOLVED}, expected_version=0)
    assert await search(open_tickets, TicketFilter(status=Status.OPEN)) == [1002, 1001]
    assert await search(open_tickets, TicketFilter(customer_id="cu_1")) == [1003, 1001]
    assert await search(open_tickets, TicketFilter("bottle", Status.SOLVED, "cu_1")) == [1003]
    assert await search(open_tickets, TicketFilter("bottle", Status.SOLVED, "cu_2")) == []


async def test_refuses_an_update_of_an_old_version(open_tickets: OpenPort[Tickets]) -> None:
    async with open_tickets() as tickets:
        await tickets.add_ticket(ticket(1001))
        await lifecycle.update_ticket(tickets, 1001, {"assignee": "ana", "priority": "low"}, expected_version=1)
    with pytest.raises(VersionMismatch, match="expected version 1, found 2"):
        async with open_tickets() as tickets:
            await lifecycle.update_ticket(tickets, 1001, {"assignee": "bo"}, expected_version=1)
    async with open_tickets() as tickets:
        stored = await tickets.ticket(1001)
    assert (stored.assignee, stored.priority, stored.version) == ("ana", "low", 2)


@pytest.mark.parametrize("store_url", ["sqlite", "postgresql"], indirect=True)
async def test_update_waits_for_the_row_lock(open_tickets: OpenPort[Tickets]) -> None:
    """The second of two updates that expect version 1 reads version 2, and is refused."""
    async with open_tickets() as tickets:
        await tickets.add_ticket(ticket(1001))

    async def second() -> None:
        async with open_tickets() as tickets:
            await lifecycle.update_ticket(tickets, 1001, {"assignee": "bo"}, expected_version=1)

    async with open_tickets() as tickets:
        await tickets.ticket(1001, for_update=True)
        blocked = asyncio.create_task(second())
        assert not (await asyncio.wait({blocked}, timeout=0.3))[0]
        await lifecycle.update_ticket(tickets, 1001, {"assignee": "ana"}, expected_version=1)
    with pytest.raises(VersionMismatch, match="expected version 1, found 2"):
        await blocked


async def test_refuses_changes_of_a_closed_ticket(open_tickets: OpenPort[Tickets]) -> None:
    async with open_tickets() as tickets:
        await tickets.add_ticket(ticket(1001))
        await lifecycle.update_ticket(tickets, 1001, {"status": Status.CLOSED}, expected_version=0)
    with pytest.raises(RuleViolated, match="T-1001 is closed"):
        async with open_tickets() as tickets:
            await lifecycle.update_ticket(tickets, 1001, {"status": Status.OPEN}, expected_version=0)
    with pytest.raises(RuleViolated, match="T-1001 is closed"):
        async with open_tickets() as tickets:
            await lifecycle.add_comment(tickets, 1001, "ana", "Still there?", False)


async def test_comment_sets_the_update_time_but_not_the_version(open_tickets: OpenPort[Tickets]) -> None:
    async with open_tickets() as tickets:
        await tickets.add_ticket(ticket(1001))
        comment = await lifecycle.add_comment(tickets, 1001, "ana", "A new bottle is on its way.", True)
    async with open_tickets() as tickets:
        stored = await tickets.ticket(1001)
        assert await tickets.comments(1001, None, 10) == [comment]
    assert (stored.version, stored.updated, stored.responded) == (1, comment.created, None)
    async with open_tickets() as tickets:
        answer = await lifecycle.add_comment(tickets, 1001, "ana", "A new bottle is on its way.", False)
        assert (await tickets.ticket(1001)).responded == answer.created


async def test_policy_is_stored_as_it_is(open_tickets: OpenPort[Tickets]) -> None:
    """Each tenant has its own; a version that is not the stored one is refused."""
    policy = TicketPolicy(
        (Priority("p1", timedelta(minutes=5)), Priority("p2", None, timedelta(days=1)), Priority("p3")),
        (Queue("legal", "p1", "For counsel", ("legal",), ("counsel@example.com", "pager")), Queue("rest", "p3")),
        "rest",
    )
    async with open_tickets() as tickets:
        assert await tickets.policy() == DEFAULT_POLICY
        assert await lifecycle.set_policy(tickets, policy, 0) == replace(policy, version=1)
    async with open_tickets() as tickets:
        assert await tickets.policy() == replace(policy, version=1)
        with pytest.raises(VersionMismatch, match="expected version 0, found 1"):
            await lifecycle.set_policy(tickets, policy, 0)
        created = await lifecycle.create_ticket(tickets, Draft("A letter", "", "", "", (), "", topic="legal"))
        assert (created.queue, created.priority) == ("legal", "p1")
        assert await tickets.ticket(created.number) == created
    async with open_tickets("blue") as tickets:
        assert await tickets.policy() == DEFAULT_POLICY


async def test_concurrent_policies_get_distinct_versions(open_tickets: OpenPort[Tickets]) -> None:
    async def set_policy() -> int:
        async with open_tickets() as tickets:
            return (await lifecycle.set_policy(tickets, DEFAULT_POLICY, None)).version

    assert sorted(await asyncio.gather(*(set_policy() for _ in range(8)))) == list(range(1, 9))


async def test_lists_tickets_as_they_are_due(open_tickets: OpenPort[Tickets]) -> None:
    """Solved ones and those without a service level come last; filters hold as in every list."""
    async with open_tickets() as tickets:
        for number, queue in enumerate(["normal", "emergency", "legal", "normal", "emergency"], 1001):
            made = Draft("Case", "", "", "", (), "", queue=queue)
            await tickets.add_ticket(new_ticket(DEFAULT_POLICY, made, number, NOW))
        await lifecycle.update_ticket(tickets, 1002, {"status": Status.SOLVED}, expected_version=0)

        async def due(conditions: TicketFilter) -> list[int]:
            found, after = list[int](), None
            while page := await tickets.search_due(conditions, after, 2):
                found += [ticket.number for ticket in page]
                after = due_key(page[-1])
            return found

        assert await due(TicketFilter()) == [1005, 1003, 1001, 1004, 1002]
        assert await due(TicketFilter(queue="normal")) == [1001, 1004]
        assert await due(TicketFilter(priority="emergency")) == [1005, 1002]
        fifteen = NOW + timedelta(minutes=15)
        assert await due(TicketFilter(due_before=fifteen)) == []
        assert await due(TicketFilter(due_before=fifteen + timedelta(microseconds=1))) == [1005]
        assert await due(TicketFilter(due_before=NEVER)) == [1005, 1003, 1001, 1004]
        assert [ticket.number for ticket in await tickets.search(TicketFilter(queue="normal"), None, 9)] == [1004, 1001]


async def test_pages_list_each_row_once(open_tickets: OpenPort[Tickets]) -> None:
    """Newest first; the id breaks ties of the time."""
    async with open_tickets() as tickets:
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


@pytest.mark.parametrize("store_url", ["sqlite", "postgresql"], indirect=True)
async def test_migrations_create_the_declared_tables(store_url: str) -> None:
    assert await migrated(metadata, store_url, MIGRATIONS) == declared(metadata)
