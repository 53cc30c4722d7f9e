"""Converts between ticketing's protobuf messages and its domain types. The domain imports no protobuf."""

from collections.abc import Mapping
from typing import Any, cast

from graphmesh.ticketing import v1 as pb
from graphmesh_chassis.timestamps import to_timestamp

from graphmesh_ticketing.domain import Comment, Draft, Priority, Status, Ticket, TicketUpdate
from graphmesh_ticketing.tickets import TicketFilter

STATUSES: Mapping[pb.TicketStatus.ValueType, Status] = {
    pb.TicketStatus.TICKET_STATUS_OPEN: Status.OPEN,
    pb.TicketStatus.TICKET_STATUS_PENDING: Status.PENDING,
    pb.TicketStatus.TICKET_STATUS_SOLVED: Status.SOLVED,
    pb.TicketStatus.TICKET_STATUS_CLOSED: Status.CLOSED,
}
STATUS_MESSAGES = {status: message for message, status in STATUSES.items()}
PRIORITIES: Mapping[pb.TicketPriority.ValueType, Priority] = {
    pb.TicketPriority.TICKET_PRIORITY_UNSPECIFIED: Priority.NORMAL,
    pb.TicketPriority.TICKET_PRIORITY_LOW: Priority.LOW,
    pb.TicketPriority.TICKET_PRIORITY_NORMAL: Priority.NORMAL,
    pb.TicketPriority.TICKET_PRIORITY_HIGH: Priority.HIGH,
    pb.TicketPriority.TICKET_PRIORITY_URGENT: Priority.URGENT,
}
PRIORITY_MESSAGES = {priority: message for message, priority in PRIORITIES.items()}


def number(ticket_id: str) -> int:
    """Parse the number of an id such as `T-1001`; the contract has checked the form."""
    return int(ticket_id.removeprefix("T-"))


def draft(request: pb.CreateTicketRequest) -> Draft:
    return Draft(
        subject=request.subject,
        description=request.description,
        customer_id=request.customer_id,
        requester=request.requester,
        tags=tuple(request.tags),
        priority=PRIORITIES[request.priority],
        assignee=request.assignee,
    )


def ticket_update(request: pb.UpdateTicketRequest) -> TicketUpdate:
    """The fields that the update mask names; the contract refuses a mask that names an unspecified status."""
    fields: dict[str, Any] = {
        "status": STATUSES.get(request.ticket.status),
        "priority": PRIORITIES[request.ticket.priority],
        "assignee": request.ticket.assignee,
    }
    return cast(TicketUpdate, {path: fields[path] for path in request.update_mask.paths})


def ticket_filter(request: pb.SearchTicketsRequest) -> TicketFilter:
    return TicketFilter(request.text, STATUSES.get(request.status), request.customer_id)


def ticket_message(ticket: Ticket) -> pb.Ticket:
    return pb.Ticket(
        ticket_id=ticket.ticket_id,
        subject=ticket.subject,
        description=ticket.description,
        status=STATUS_MESSAGES[ticket.status],
        priority=PRIORITY_MESSAGES[ticket.priority],
        customer_id=ticket.customer_id,
        requester=ticket.requester,
        tags=ticket.tags,
        assignee=ticket.assignee,
        version=ticket.version,
        create_time=to_timestamp(ticket.created),
        update_time=to_timestamp(ticket.updated),
    )


def comment_message(comment: Comment) -> pb.Comment:
    return pb.Comment(
        comment_id=comment.comment_id,
        ticket_id=f"T-{comment.number}",
        author=comment.author,
        text=comment.text,
        internal=comment.internal,
        create_time=to_timestamp(comment.created),
    )
