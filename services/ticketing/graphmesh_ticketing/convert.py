"""Between ticketing's protobuf messages and its domain. Protobuf stops here."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from google.protobuf.timestamp_pb2 import Timestamp
from graphmesh.ticketing import v1 as pb

from graphmesh_ticketing.domain import Comment, Draft, Priority, Status, Ticket, Values
from graphmesh_ticketing.tickets import Wanted

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
    """The number in `T-1001`; the contract has checked its form."""
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


def values(request: pb.UpdateTicketRequest) -> Values:
    """The values that the update mask names; the contract has it state a status that it names."""
    told: dict[str, Any] = {
        "status": STATUSES.get(request.ticket.status),
        "priority": PRIORITIES[request.ticket.priority],
        "assignee": request.ticket.assignee,
    }
    return cast(Values, {path: told[path] for path in request.update_mask.paths})


def wanted(request: pb.SearchTicketsRequest) -> Wanted:
    return Wanted(request.text, STATUSES.get(request.status), request.customer_id)


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
        create_time=_timestamp(ticket.created),
        update_time=_timestamp(ticket.updated),
    )


def comment_message(comment: Comment) -> pb.Comment:
    return pb.Comment(
        comment_id=comment.comment_id,
        ticket_id=f"T-{comment.number}",
        author=comment.author,
        text=comment.text,
        internal=comment.internal,
        create_time=_timestamp(comment.created),
    )


def _timestamp(moment: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp
