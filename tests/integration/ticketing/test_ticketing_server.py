"""Ticketing over a real channel: a server with every hook, on SQLite and PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from graphmesh.ticketing import v1 as pb
from graphmesh_chassis.errors import (
    IdempotencyKeyRequired,
    IdempotencyKeyReused,
    InvalidRequest,
    NotFound,
    RuleViolated,
    ScopeMissing,
    VersionMismatch,
)
from graphmesh_chassis.settings import SecretUrl
from graphmesh_chassis.testing import running
from graphmesh_ticketing.__main__ import build
from graphmesh_ticketing.settings import Settings

from tests.integration.service_client import ServiceClient

Ticketing = pb.TicketingService
Status = pb.TicketStatus

BOTTLE = pb.CreateTicketRequest(
    subject="A cracked bottle",
    description="Ink everywhere.",
    priority="high",
    customer_id="cu_1",
    requester="mira@example.com",
    tags=["damage", "ink"],
)


@pytest_asyncio.fixture
async def ticketing(database_url: str) -> AsyncIterator[ServiceClient]:
    settings = Settings(database_url=SecretUrl(database_url))
    async with build(settings) as servable, running(servable, settings) as served:
        yield ServiceClient(served.channel)


def update(fields: pb.TicketUpdate, *paths: str, expected_version: int = 0) -> pb.UpdateTicketRequest:
    return pb.UpdateTicketRequest(
        ticket_id="T-1001", ticket=fields, update_mask=FieldMask(paths=paths), expected_version=expected_version
    )


def remark(text: str, internal: bool = False) -> pb.AddCommentRequest:
    return pb.AddCommentRequest(ticket_id="T-1001", author="ana", text=text, internal=internal)


GET = pb.GetTicketRequest(ticket_id="T-1001")
CLOSE = update(pb.TicketUpdate(status=Status.TICKET_STATUS_CLOSED), "status")


async def test_ticket_lifecycle_ends_with_closed(ticketing: ServiceClient) -> None:
    """A closed ticket accepts neither updates nor comments."""
    created = (await ticketing(Ticketing.CreateTicket, BOTTLE)).ticket
    assert (created.ticket_id, created.status, created.version) == ("T-1001", Status.TICKET_STATUS_OPEN, 1)
    assert list(created.tags) == ["damage", "ink"]
    assert (created.queue, created.priority) == ("normal", "high")
    assigned = await ticketing(
        Ticketing.UpdateTicket, update(pb.TicketUpdate(assignee="ana"), "assignee", expected_version=1)
    )
    assert (assigned.ticket.assignee, assigned.ticket.version) == ("ana", 2)
    await ticketing(Ticketing.AddComment, remark("Photo looks genuine.", internal=True))
    await ticketing(Ticketing.AddComment, remark("A new bottle is on its way."))
    read = await ticketing(Ticketing.GetTicket, GET)
    assert [(comment.text, comment.internal) for comment in read.comments] == [
        ("Photo looks genuine.", True),
        ("A new bottle is on its way.", False),
    ]
    assert read.ticket.version == 2
    await ticketing(Ticketing.UpdateTicket, CLOSE)
    for call in (ticketing(Ticketing.UpdateTicket, CLOSE), ticketing(Ticketing.AddComment, remark("Hello?"))):
        with pytest.raises(RuleViolated) as refused:
            await call
        assert refused.value.data["rule"] == "ticket_closed"


async def test_repeated_key_creates_one_ticket(ticketing: ServiceClient) -> None:
    """Ten concurrent calls with a key create one ticket. The key with another request, and no key, are refused."""
    responses = await asyncio.gather(*(ticketing(Ticketing.CreateTicket, BOTTLE, "k1") for _ in range(10)))
    assert all(response == responses[0] for response in responses)
    assert len((await ticketing(Ticketing.SearchTickets, pb.SearchTicketsRequest())).tickets) == 1
    with pytest.raises(IdempotencyKeyReused):
        await ticketing(Ticketing.CreateTicket, pb.CreateTicketRequest(subject="Another"), "k1")
    with pytest.raises(IdempotencyKeyRequired):
        await ticketing(Ticketing.CreateTicket, BOTTLE, "")


async def test_concurrent_tickets_get_distinct_ids(ticketing: ServiceClient) -> None:
    responses = await asyncio.gather(*(ticketing(Ticketing.CreateTicket, BOTTLE) for _ in range(20)))
    assert {response.ticket.ticket_id for response in responses} == {f"T-{1001 + number}" for number in range(20)}


async def test_refuses_an_update_of_an_old_version(ticketing: ServiceClient) -> None:
    """A comment does not change the version; an update does."""
    await ticketing(Ticketing.CreateTicket, BOTTLE)
    await ticketing(Ticketing.AddComment, remark("In between."))
    await ticketing(Ticketing.UpdateTicket, update(pb.TicketUpdate(assignee="ana"), "assignee", expected_version=1))
    with pytest.raises(VersionMismatch) as refused:
        await ticketing(Ticketing.UpdateTicket, update(pb.TicketUpdate(assignee="bo"), "assignee", expected_version=1))
    assert refused.value.data == {"resource": "ticket", "id": "T-1001", "expected": "1", "actual": "2"}
    assert (await ticketing(Ticketing.GetTicket, GET)).ticket.assignee == "ana"


async def test_search_applies_filters_and_pages(ticketing: ServiceClient) -> None:
    for number in range(5):
        customer_id = f"cu_{number % 2}"
        await ticketing(
            Ticketing.CreateTicket, pb.CreateTicketRequest(subject=f"Case {number}", customer_id=customer_id)
        )
    await ticketing(Ticketing.UpdateTicket, CLOSE)
    search = pb.SearchTicketsRequest(text="CASE", status=Status.TICKET_STATUS_OPEN, customer_id="cu_0", page_size=1)
    first = await ticketing(Ticketing.SearchTickets, search)
    assert [ticket.ticket_id for ticket in first.tickets] == ["T-1005"]
    search.page_token = first.next_page_token
    last = await ticketing(Ticketing.SearchTickets, search)
    assert ([ticket.ticket_id for ticket in last.tickets], last.next_page_token) == (["T-1003"], "")


async def test_get_ticket_returns_the_newest_hundred_comments(ticketing: ServiceClient) -> None:
    """ListComments returns all comments."""
    await ticketing(Ticketing.CreateTicket, BOTTLE)
    for number in range(103):
        await ticketing(Ticketing.AddComment, remark(f"Comment {number}"))
    read = await ticketing(Ticketing.GetTicket, GET)
    assert [comment.text for comment in read.comments] == [f"Comment {number}" for number in range(3, 103)]
    token, texts = "", list[str]()
    for _ in range(2):
        request = pb.ListCommentsRequest(ticket_id="T-1001", page_size=60, page_token=token)
        page = await ticketing(Ticketing.ListComments, request)
        texts += [comment.text for comment in page.comments]
        token = page.next_page_token
    assert (texts, token) == ([f"Comment {number}" for number in range(102, -1, -1)], "")


async def test_isolates_tenants(ticketing: ServiceClient) -> None:
    """A ticket of another tenant is neither found nor listed nor updated. Numbers start at T-1001 for each tenant."""
    await ticketing(Ticketing.CreateTicket, BOTTLE, tenant="acme")
    for call in (
        ticketing(Ticketing.GetTicket, GET, tenant="globex"),
        ticketing(Ticketing.ListComments, pb.ListCommentsRequest(ticket_id="T-1001"), tenant="globex"),
        ticketing(Ticketing.UpdateTicket, CLOSE, tenant="globex"),
        ticketing(Ticketing.AddComment, remark("x"), tenant="globex"),
    ):
        with pytest.raises(NotFound):
            await call
    assert not (await ticketing(Ticketing.SearchTickets, pb.SearchTicketsRequest(), tenant="globex")).tickets
    assert (await ticketing(Ticketing.CreateTicket, BOTTLE, tenant="globex")).ticket.ticket_id == "T-1001"


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (pb.UpdateTicketRequest(), {"ticket_id", "ticket", "update_mask"}),
        (update(pb.TicketUpdate(priority="No"), "subject", expected_version=-1),
         {"ticket.priority", "update_mask", "expected_version"}),
        (pb.UpdateTicketRequest(ticket_id="T-0", ticket=pb.TicketUpdate(), update_mask=FieldMask(paths=["assignee"])),
         {"ticket_id"}),
    ],
)  # fmt: skip
async def test_names_every_invalid_field(
    ticketing: ServiceClient, request_: pb.UpdateTicketRequest, fields: set[str]
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await ticketing(Ticketing.UpdateTicket, request_)
    assert {violation.field for violation in refused.value.violations} == fields


async def test_refuses_a_masked_status_without_a_value(ticketing: ServiceClient) -> None:
    with pytest.raises(InvalidRequest, match=r"ticket\.status must be stated"):
        await ticketing(Ticketing.UpdateTicket, update(pb.TicketUpdate(), "status"))


async def test_requires_the_write_scope(ticketing: ServiceClient) -> None:
    with pytest.raises(ScopeMissing) as refused:
        await ticketing(Ticketing.CreateTicket, BOTTLE, subject="ana", scopes="ticketing.read")
    assert refused.value.data["scopes"] == "ticketing.write"


async def test_policy_decides_queues_and_service_levels(ticketing: ServiceClient) -> None:
    """A ticket of a topic gets its queue, with recipients and due times; overdue ones are found."""
    policy = pb.TicketPolicy(
        priorities=[
            pb.TicketPriority(name="now", first_response=Duration(nanos=1000), resolution=Duration(seconds=3600)),
            pb.TicketPriority(name="later"),
        ],
        queues=[
            pb.TicketQueue(name="legal", priority="now", topics=["legal"], notify=["counsel@example.com"]),
            pb.TicketQueue(name="rest", priority="later"),
        ],
        default_queue="rest",
    )
    stored = await ticketing(Ticketing.SetTicketPolicy, pb.SetTicketPolicyRequest(policy=policy, expected_version=0))
    assert stored.policy.version == 1
    assert (await ticketing(Ticketing.GetTicketPolicy, pb.GetTicketPolicyRequest(), "")).policy == stored.policy
    with pytest.raises(VersionMismatch):
        await ticketing(Ticketing.SetTicketPolicy, pb.SetTicketPolicyRequest(policy=policy, expected_version=0))
    rest = (await ticketing(Ticketing.CreateTicket, pb.CreateTicketRequest(subject="a", topic="weather"))).ticket
    assert (rest.queue, rest.priority, rest.HasField("resolution_due_time")) == ("rest", "later", False)
    legal = (await ticketing(Ticketing.CreateTicket, pb.CreateTicketRequest(subject="b", topic="legal"))).ticket
    assert (legal.queue, legal.priority, list(legal.notify)) == ("legal", "now", ["counsel@example.com"])
    due = legal.resolution_due_time.ToDatetime() - legal.create_time.ToDatetime()
    assert due == timedelta(hours=1)
    search = pb.SearchTicketsRequest(overdue=True, order=pb.TicketOrder.TICKET_ORDER_DUE)
    [overdue] = (await ticketing(Ticketing.SearchTickets, search, "")).tickets
    assert (overdue.ticket_id, overdue.overdue) == (legal.ticket_id, True)
    answer = pb.AddCommentRequest(ticket_id=legal.ticket_id, author="ana", text="We have read it.")
    await ticketing(Ticketing.AddComment, answer)
    assert not (await ticketing(Ticketing.SearchTickets, search, "")).tickets
    search = pb.SearchTicketsRequest(queue="legal", priority="now")
    [found] = (await ticketing(Ticketing.SearchTickets, search, "")).tickets
    assert (found.overdue, found.HasField("response_time")) == (False, True)


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({"queue": "none"}, RuleViolated, "there are emergency, legal, privacy, security, important, normal"),
        ({"priority": "none"}, RuleViolated, "there are emergency, urgent, high, normal, low"),
        ({"queue": "legal", "topic": "legal"}, InvalidRequest, "must not state both queue and topic"),
    ],
)
async def test_refuses_what_the_policy_does_not_have(
    ticketing: ServiceClient, fields: dict[str, str], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        await ticketing(Ticketing.CreateTicket, pb.CreateTicketRequest(subject="a", **fields))


def policy(**fields: Any) -> pb.TicketPolicy:
    valid = {
        "priorities": [pb.TicketPriority(name="a")],
        "queues": [pb.TicketQueue(name="q", priority="a", topics=["t"])],
        "default_queue": "q",
    }
    return pb.TicketPolicy(**{**valid, **fields})


INVALID_POLICIES = [
    (policy(default_queue="x"), "default_queue must be one of queues"),
    (policy(queues=[pb.TicketQueue(name="q", priority="x")]), "must be one of priorities"),
    (policy(priorities=[pb.TicketPriority(name="a")] * 2), "names of priorities must be unique"),
    (policy(queues=[pb.TicketQueue(name="q", priority="a")] * 2), "names of queues must be unique"),
    (
        policy(queues=[pb.TicketQueue(name=name, priority="a", topics=["t"]) for name in ("q", "r")]),
        "a topic must belong to one queue",
    ),
    (policy(priorities=[pb.TicketPriority(name="a", resolution=Duration(seconds=-1))]), "resolution"),
    (policy(version=3), "version"),
]


async def test_invalid_policies_are_refused(ticketing: ServiceClient) -> None:
    for invalid, text in INVALID_POLICIES:
        with pytest.raises(InvalidRequest, match=text):
            await ticketing(Ticketing.SetTicketPolicy, pb.SetTicketPolicyRequest(policy=invalid))
