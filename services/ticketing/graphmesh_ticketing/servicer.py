"""TicketingService: decode, use case, encode."""

from datetime import datetime
from typing import Any, Final

from graphmesh.ticketing import v1 as pb
from graphmesh_chassis.pages import decode_position, page_of, page_size
from graphmesh_chassis.store import Store

from graphmesh_ticketing import convert, lifecycle
from graphmesh_ticketing.tickets import Tickets, due_key

LAST_COMMENTS: Final = 100
"""Number of newest comments that GetTicket returns."""


class TicketingServicer(pb.TicketingServiceServicer):
    def __init__(self, store: Store[Tickets]) -> None:
        self._store = store

    async def CreateTicket(self, request: pb.CreateTicketRequest, context: Any) -> pb.CreateTicketResponse:
        async with self._store.effect() as effect:
            ticket = await lifecycle.create_ticket(effect.port, convert.draft(request))
            return effect.respond(pb.CreateTicketResponse(ticket=convert.ticket_message(ticket, ticket.created)))

    async def UpdateTicket(self, request: pb.UpdateTicketRequest, context: Any) -> pb.UpdateTicketResponse:
        async with self._store.effect() as effect:
            ticket = await lifecycle.update_ticket(
                effect.port,
                convert.number(request.ticket_id),
                convert.ticket_update(request),
                expected_version=request.expected_version,
            )
            message = convert.ticket_message(ticket, await effect.port.now())
            return effect.respond(pb.UpdateTicketResponse(ticket=message))

    async def AddComment(self, request: pb.AddCommentRequest, context: Any) -> pb.AddCommentResponse:
        async with self._store.effect() as effect:
            comment = await lifecycle.add_comment(
                effect.port, convert.number(request.ticket_id), request.author, request.text, request.internal
            )
            return effect.respond(pb.AddCommentResponse(comment=convert.comment_message(comment)))

    async def GetTicket(self, request: pb.GetTicketRequest, context: Any) -> pb.GetTicketResponse:
        number = convert.number(request.ticket_id)
        async with self._store.read() as tickets:
            ticket = await tickets.ticket(number)
            comments = await tickets.comments(number, None, LAST_COMMENTS)
            now = await tickets.now()
        return pb.GetTicketResponse(
            ticket=convert.ticket_message(ticket, now),
            comments=[convert.comment_message(comment) for comment in reversed(comments)],
        )

    async def ListComments(self, request: pb.ListCommentsRequest, context: Any) -> pb.ListCommentsResponse:
        size, number = page_size(request.page_size), convert.number(request.ticket_id)
        before = decode_position(request.page_token, datetime, str)
        async with self._store.read() as tickets:
            await tickets.ticket(number)
            found = await tickets.comments(number, before, size + 1)
        page = page_of(found, size, convert.comment_message, lambda comment: (comment.created, comment.comment_id))
        return pb.ListCommentsResponse(comments=page.messages, next_page_token=page.next_token)

    async def SearchTickets(self, request: pb.SearchTicketsRequest, context: Any) -> pb.SearchTicketsResponse:
        size = page_size(request.page_size)
        position = decode_position(request.page_token, datetime, int)
        by_due = request.order == pb.TicketOrder.TICKET_ORDER_DUE
        async with self._store.read() as tickets:
            now = await tickets.now()
            search = tickets.search_due if by_due else tickets.search
            found = await search(convert.ticket_filter(request, now), position, size + 1)
        page = page_of(
            found,
            size,
            lambda ticket: convert.ticket_message(ticket, now),
            due_key if by_due else lambda ticket: (ticket.created, ticket.number),
        )
        return pb.SearchTicketsResponse(tickets=page.messages, next_page_token=page.next_token)

    async def GetTicketPolicy(self, request: pb.GetTicketPolicyRequest, context: Any) -> pb.GetTicketPolicyResponse:
        async with self._store.read() as tickets:
            policy = await tickets.policy()
        return pb.GetTicketPolicyResponse(policy=convert.policy_message(policy))

    async def SetTicketPolicy(self, request: pb.SetTicketPolicyRequest, context: Any) -> pb.SetTicketPolicyResponse:
        expected = request.expected_version if request.HasField("expected_version") else None
        async with self._store.effect() as effect:
            policy = await lifecycle.set_policy(effect.port, convert.policy(request.policy), expected)
            return effect.respond(pb.SetTicketPolicyResponse(policy=convert.policy_message(policy)))
