"""Ticketing as a caller meets it: a real server with every hook, on SQLite and PostgreSQL (F4)."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
import pytest_asyncio
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from graphmesh.ticketing import v1 as pb
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.errors import (
    IdempotencyKeyRequired,
    IdempotencyKeyReused,
    InvalidRequest,
    NotFound,
    RuleViolated,
    ScopeMissing,
    VersionMismatch,
)
from graphmesh_chassis.testing import running
from graphmesh_contracts import Rpc
from graphmesh_ticketing.__main__ import build
from graphmesh_ticketing.settings import Settings

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)
Ticketing = pb.TicketingService
Status = pb.TicketStatus

BOTTLE = pb.CreateTicketRequest(
    subject="A cracked bottle",
    description="Ink everywhere.",
    priority=pb.TicketPriority.TICKET_PRIORITY_HIGH,
    customer_id="cu_1",
    requester="mira@example.com",
    tags=["damage", "ink"],
)


class Desk:
    """A colleague with a connection: a new effect key for each call that does not give one."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._keys = (f"key-{number}" for number in count())

    async def __call__(
        self, rpc: Rpc[RequestT, ResponseT], request: RequestT, key: str | None = None, **headers: str
    ) -> ResponseT:
        named = {f"x-graphmesh-{name}": value for name, value in headers.items()}
        named["idempotency-key"] = next(self._keys) if key is None else key
        return await self._channel.unary(rpc, request, timeout=10, headers=list(named.items()))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite+aiosqlite:///{tmp_path}/ticketing.db"


@pytest_asyncio.fixture
async def desk(url: str) -> AsyncIterator[Desk]:
    settings = Settings(database_url=url)
    async with build(settings) as servable, running(servable, settings) as served:
        yield Desk(served.channel)


def update(fields: pb.TicketUpdate, *paths: str, expected_version: int = 0) -> pb.UpdateTicketRequest:
    return pb.UpdateTicketRequest(
        ticket_id="T-1001", ticket=fields, update_mask=FieldMask(paths=paths), expected_version=expected_version
    )


def remark(text: str, internal: bool = False) -> pb.AddCommentRequest:
    return pb.AddCommentRequest(ticket_id="T-1001", author="ana", text=text, internal=internal)


GET = pb.GetTicketRequest(ticket_id="T-1001")
CLOSE = update(pb.TicketUpdate(status=Status.TICKET_STATUS_CLOSED), "status")


async def test_a_ticket_goes_from_open_to_closed(desk: Desk) -> None:
    """Created, taken, commented, solved, closed; and then nothing more."""
    created = (await desk(Ticketing.CreateTicket, BOTTLE)).ticket
    assert (created.ticket_id, created.status, created.version) == ("T-1001", Status.TICKET_STATUS_OPEN, 1)
    assert list(created.tags) == ["damage", "ink"]
    assert created.priority == pb.TicketPriority.TICKET_PRIORITY_HIGH
    taken = await desk(Ticketing.UpdateTicket, update(pb.TicketUpdate(assignee="ana"), "assignee", expected_version=1))
    assert (taken.ticket.assignee, taken.ticket.version) == ("ana", 2)
    await desk(Ticketing.AddComment, remark("Photo looks genuine.", internal=True))
    await desk(Ticketing.AddComment, remark("A new bottle is on its way."))
    read = await desk(Ticketing.GetTicket, GET)
    assert [(comment.text, comment.internal) for comment in read.comments] == [
        ("Photo looks genuine.", True),
        ("A new bottle is on its way.", False),
    ]
    assert read.ticket.version == 2
    await desk(Ticketing.UpdateTicket, CLOSE)
    for call in (desk(Ticketing.UpdateTicket, CLOSE), desk(Ticketing.AddComment, remark("Hello?"))):
        with pytest.raises(RuleViolated) as refused:
            await call
        assert refused.value.data["rule"] == "ticket_closed"


async def test_a_repeat_opens_no_second_ticket(desk: Desk) -> None:
    """E2: ten at once with one key open one; the key with another request is refused, and so is none."""
    responses = await asyncio.gather(*(desk(Ticketing.CreateTicket, BOTTLE, "k1") for _ in range(10)))
    assert all(response == responses[0] for response in responses)
    assert len((await desk(Ticketing.SearchTickets, pb.SearchTicketsRequest())).tickets) == 1
    with pytest.raises(IdempotencyKeyReused):
        await desk(Ticketing.CreateTicket, pb.CreateTicketRequest(subject="Another"), "k1")
    with pytest.raises(IdempotencyKeyRequired):
        await desk(Ticketing.CreateTicket, BOTTLE, "")


async def test_tickets_opened_at_once_have_ids_of_their_own(desk: Desk) -> None:
    responses = await asyncio.gather(*(desk(Ticketing.CreateTicket, BOTTLE) for _ in range(20)))
    assert {response.ticket.ticket_id for response in responses} == {f"T-{1001 + number}" for number in range(20)}


async def test_an_update_on_an_old_version_is_refused(desk: Desk) -> None:
    """A comment in between is no reason to refuse; another update is."""
    await desk(Ticketing.CreateTicket, BOTTLE)
    await desk(Ticketing.AddComment, remark("In between."))
    await desk(Ticketing.UpdateTicket, update(pb.TicketUpdate(assignee="ana"), "assignee", expected_version=1))
    with pytest.raises(VersionMismatch) as refused:
        await desk(Ticketing.UpdateTicket, update(pb.TicketUpdate(assignee="bo"), "assignee", expected_version=1))
    assert refused.value.data == {"resource": "ticket", "id": "T-1001", "expected": "1", "actual": "2"}
    assert (await desk(Ticketing.GetTicket, GET)).ticket.assignee == "ana"


async def test_a_search_filters_and_pages(desk: Desk) -> None:
    for number in range(5):
        customer_id = f"cu_{number % 2}"
        await desk(Ticketing.CreateTicket, pb.CreateTicketRequest(subject=f"Case {number}", customer_id=customer_id))
    await desk(Ticketing.UpdateTicket, CLOSE)
    search = pb.SearchTicketsRequest(text="CASE", status=Status.TICKET_STATUS_OPEN, customer_id="cu_0", page_size=1)
    first = await desk(Ticketing.SearchTickets, search)
    assert [ticket.ticket_id for ticket in first.tickets] == ["T-1005"]
    search.page_token = first.next_page_token
    last = await desk(Ticketing.SearchTickets, search)
    assert ([ticket.ticket_id for ticket in last.tickets], last.next_page_token) == (["T-1003"], "")


async def test_a_ticket_brings_its_last_hundred_comments(desk: Desk) -> None:
    """ListComments has them all."""
    await desk(Ticketing.CreateTicket, BOTTLE)
    for number in range(103):
        await desk(Ticketing.AddComment, remark(f"Comment {number}"))
    read = await desk(Ticketing.GetTicket, GET)
    assert [comment.text for comment in read.comments] == [f"Comment {number}" for number in range(3, 103)]
    token, texts = "", list[str]()
    for _ in range(2):
        request = pb.ListCommentsRequest(ticket_id="T-1001", page_size=60, page_token=token)
        page = await desk(Ticketing.ListComments, request)
        texts += [comment.text for comment in page.comments]
        token = page.next_page_token
    assert (texts, token) == ([f"Comment {number}" for number in range(102, -1, -1)], "")


async def test_a_tenant_sees_only_its_own(desk: Desk) -> None:
    """Another tenant's ticket is not found, not listed and not changed; each tenant begins at T-1001."""
    await desk(Ticketing.CreateTicket, BOTTLE, tenant="acme")
    for call in (
        desk(Ticketing.GetTicket, GET, tenant="globex"),
        desk(Ticketing.ListComments, pb.ListCommentsRequest(ticket_id="T-1001"), tenant="globex"),
        desk(Ticketing.UpdateTicket, CLOSE, tenant="globex"),
        desk(Ticketing.AddComment, remark("x"), tenant="globex"),
    ):
        with pytest.raises(NotFound):
            await call
    assert not (await desk(Ticketing.SearchTickets, pb.SearchTicketsRequest(), tenant="globex")).tickets
    assert (await desk(Ticketing.CreateTicket, BOTTLE, tenant="globex")).ticket.ticket_id == "T-1001"


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (pb.UpdateTicketRequest(), {"ticket_id", "ticket", "update_mask"}),
        (update(pb.TicketUpdate(priority=cast(Any, 9)), "subject", expected_version=-1),
         {"ticket.priority", "update_mask", "expected_version"}),
        (pb.UpdateTicketRequest(ticket_id="T-0", ticket=pb.TicketUpdate(), update_mask=FieldMask(paths=["assignee"])),
         {"ticket_id"}),
    ],
)  # fmt: skip
async def test_a_refusal_names_every_bad_field(desk: Desk, request_: pb.UpdateTicketRequest, fields: set[str]) -> None:
    """A3."""
    with pytest.raises(InvalidRequest) as refused:
        await desk(Ticketing.UpdateTicket, request_)
    assert {violation.field for violation in refused.value.violations} == fields


async def test_a_status_that_is_named_has_to_be_stated(desk: Desk) -> None:
    with pytest.raises(InvalidRequest, match=r"ticket\.status must be stated"):
        await desk(Ticketing.UpdateTicket, update(pb.TicketUpdate(), "status"))


async def test_writing_needs_its_scope(desk: Desk) -> None:
    with pytest.raises(ScopeMissing) as refused:
        await desk(Ticketing.CreateTicket, BOTTLE, subject="ana", scopes="ticketing.read")
    assert refused.value.data["scopes"] == "ticketing.write"
