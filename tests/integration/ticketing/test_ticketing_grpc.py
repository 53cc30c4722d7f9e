"""Ticketing as a plain synchronous gRPC client calls it: a generated stub, a real channel, the running service."""

from contextlib import AbstractAsyncContextManager
from uuid import uuid4

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from graphmesh.ticketing import v1 as pb
from graphmesh.ticketing.v1.ticketing_pb2_grpc import TicketingServiceStub
from graphmesh_chassis.errors import (
    IdempotencyKeyRequired,
    IdempotencyKeyReused,
    InvalidRequest,
    NotFound,
    RuleViolated,
)
from graphmesh_chassis.serve import Servable
from graphmesh_chassis.settings import SecretUrl
from graphmesh_chassis.testing.plain_client import TIMEOUT, fails_with, key
from graphmesh_ticketing.__main__ import build
from graphmesh_ticketing.settings import Settings


@pytest.fixture(scope="module")
def grpc_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(database_url=SecretUrl(f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('ticketing')}/ticketing.db"))


@pytest.fixture(scope="module")
def grpc_servable(grpc_settings: Settings) -> AbstractAsyncContextManager[Servable]:
    return build(grpc_settings)


@pytest.fixture(scope="module")
def grpc_stub_cls() -> type[TicketingServiceStub]:
    return TicketingServiceStub


@pytest.fixture
def ticket(grpc_stub: TicketingServiceStub) -> pb.Ticket:
    """A new ticket of a customer of its own."""
    request = pb.CreateTicketRequest(subject="A cracked bottle", customer_id=f"cu_{uuid4().hex}")
    return grpc_stub.CreateTicket(request, timeout=TIMEOUT, metadata=key()).ticket


def close(ticket: pb.Ticket) -> pb.UpdateTicketRequest:
    return pb.UpdateTicketRequest(
        ticket_id=ticket.ticket_id,
        ticket=pb.TicketUpdate(status=pb.TicketStatus.TICKET_STATUS_CLOSED),
        update_mask=FieldMask(paths=["status"]),
    )


def comment_on(ticket: pb.Ticket, text: str) -> pb.AddCommentRequest:
    return pb.AddCommentRequest(ticket_id=ticket.ticket_id, author="ana", text=text)


def test_finds_a_stored_ticket(grpc_stub: TicketingServiceStub, ticket: pb.Ticket) -> None:
    assert grpc_stub.GetTicket(pb.GetTicketRequest(ticket_id=ticket.ticket_id), timeout=TIMEOUT).ticket == ticket
    found = grpc_stub.SearchTickets(pb.SearchTicketsRequest(customer_id=ticket.customer_id), timeout=TIMEOUT)
    assert list(found.tickets) == [ticket]


def test_lists_comments_in_pages(grpc_stub: TicketingServiceStub, ticket: pb.Ticket) -> None:
    added = [
        grpc_stub.AddComment(comment_on(ticket, text), timeout=TIMEOUT, metadata=key()).comment
        for text in ("Photo received.", "A new bottle is on its way.")
    ]
    request = pb.ListCommentsRequest(ticket_id=ticket.ticket_id, page_size=1)
    first = grpc_stub.ListComments(request, timeout=TIMEOUT)
    request.page_token = first.next_page_token
    second = grpc_stub.ListComments(request, timeout=TIMEOUT)
    assert ([*second.comments, *first.comments], second.next_page_token) == (added, "")


def test_repeated_key_returns_the_stored_response(grpc_stub: TicketingServiceStub, ticket: pb.Ticket) -> None:
    """The repeat adds no comment, and a trailer reports that the response is a stored one."""
    request, once = comment_on(ticket, "Once."), key()
    first = grpc_stub.AddComment(request, timeout=TIMEOUT, metadata=once)
    repeated, call = grpc_stub.AddComment.with_call(request, timeout=TIMEOUT, metadata=once)
    assert repeated == first
    assert dict(call.trailing_metadata())["idempotency-replayed"] == "true"
    stored = grpc_stub.GetTicket(pb.GetTicketRequest(ticket_id=ticket.ticket_id), timeout=TIMEOUT)
    assert list(stored.comments) == [first.comment]


def test_refuses_a_key_with_another_request(grpc_stub: TicketingServiceStub, ticket: pb.Ticket) -> None:
    once = key()
    grpc_stub.AddComment(comment_on(ticket, "First."), timeout=TIMEOUT, metadata=once)
    with fails_with(IdempotencyKeyReused):
        grpc_stub.AddComment(comment_on(ticket, "Second."), timeout=TIMEOUT, metadata=once)


def test_refuses_an_effect_without_a_key(grpc_stub: TicketingServiceStub, ticket: pb.Ticket) -> None:
    with fails_with(IdempotencyKeyRequired):
        grpc_stub.UpdateTicket(close(ticket), timeout=TIMEOUT)


def test_names_the_rule_of_a_closed_ticket(grpc_stub: TicketingServiceStub, ticket: pb.Ticket) -> None:
    grpc_stub.UpdateTicket(close(ticket), timeout=TIMEOUT, metadata=key())
    with fails_with(RuleViolated) as info:
        grpc_stub.AddComment(comment_on(ticket, "One more thing."), timeout=TIMEOUT, metadata=key())
    assert dict(info.metadata) == {"rule": "ticket_closed"}


def test_refuses_a_request_that_breaks_its_contract(grpc_stub: TicketingServiceStub) -> None:
    with fails_with(InvalidRequest):
        grpc_stub.GetTicket(pb.GetTicketRequest(), timeout=TIMEOUT)


def test_reports_a_missing_ticket(grpc_stub: TicketingServiceStub) -> None:
    with fails_with(NotFound) as info:
        grpc_stub.GetTicket(pb.GetTicketRequest(ticket_id="T-999999"), timeout=TIMEOUT)
    assert dict(info.metadata) == {"resource": "ticket", "id": "T-999999"}
