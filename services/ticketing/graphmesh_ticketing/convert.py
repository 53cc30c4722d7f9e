"""Converts between ticketing's protobuf messages and its domain types. The domain imports no protobuf."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, cast

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from graphmesh.ticketing import v1 as pb
from graphmesh_chassis.timestamps import from_timestamp, to_timestamp

from graphmesh_ticketing.domain import Comment, Draft, Priority, Queue, Status, Ticket, TicketPolicy, TicketUpdate
from graphmesh_ticketing.tickets import TicketFilter

STATUSES: Mapping[pb.TicketStatus.ValueType, Status] = {
    pb.TicketStatus.TICKET_STATUS_OPEN: Status.OPEN,
    pb.TicketStatus.TICKET_STATUS_PENDING: Status.PENDING,
    pb.TicketStatus.TICKET_STATUS_SOLVED: Status.SOLVED,
    pb.TicketStatus.TICKET_STATUS_CLOSED: Status.CLOSED,
}
STATUS_MESSAGES = {status: message for message, status in STATUSES.items()}


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
        assignee=request.assignee,
        queue=request.queue,
        topic=request.topic,
        priority=request.priority,
    )


def ticket_update(request: pb.UpdateTicketRequest) -> TicketUpdate:
    """The fields that the update mask names; the contract refuses a mask that names an unspecified status."""
    fields: dict[str, Any] = {
        "status": STATUSES.get(request.ticket.status),
        "priority": request.ticket.priority,
        "assignee": request.ticket.assignee,
        "queue": request.ticket.queue,
    }
    return cast(TicketUpdate, {path: fields[path] for path in request.update_mask.paths})


def ticket_filter(request: pb.SearchTicketsRequest, now: datetime) -> TicketFilter:
    """The conditions of a search; `now` is the time at which tickets are overdue."""
    times = [from_timestamp(request.due_before)] if request.HasField("due_before") else []
    if request.overdue:
        times.append(now + timedelta(microseconds=1))
    return TicketFilter(
        request.text,
        STATUSES.get(request.status),
        request.customer_id,
        request.queue,
        request.priority,
        min(times, default=None),
    )


def ticket_message(ticket: Ticket, now: datetime) -> pb.Ticket:
    """The message of a ticket, as it is overdue or not at `now`."""
    return pb.Ticket(
        ticket_id=ticket.ticket_id,
        subject=ticket.subject,
        description=ticket.description,
        status=STATUS_MESSAGES[ticket.status],
        queue=ticket.queue,
        priority=ticket.priority,
        customer_id=ticket.customer_id,
        requester=ticket.requester,
        tags=ticket.tags,
        assignee=ticket.assignee,
        version=ticket.version,
        create_time=to_timestamp(ticket.created),
        update_time=to_timestamp(ticket.updated),
        response_due_time=_timestamp(ticket.response_due),
        resolution_due_time=_timestamp(ticket.resolution_due),
        response_time=_timestamp(ticket.responded),
        overdue=ticket.is_overdue(now),
        notify=ticket.notify,
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


def policy(message: pb.TicketPolicy) -> TicketPolicy:
    return TicketPolicy(
        tuple(
            Priority(
                priority.name,
                priority.first_response.ToTimedelta() if priority.HasField("first_response") else None,
                priority.resolution.ToTimedelta() if priority.HasField("resolution") else None,
            )
            for priority in message.priorities
        ),
        tuple(
            Queue(queue.name, queue.priority, queue.description, tuple(queue.topics), tuple(queue.notify))
            for queue in message.queues
        ),
        message.default_queue,
    )


def policy_message(policy: TicketPolicy) -> pb.TicketPolicy:
    return pb.TicketPolicy(
        priorities=[
            pb.TicketPriority(
                name=priority.name,
                first_response=_duration(priority.first_response),
                resolution=_duration(priority.resolution),
            )
            for priority in policy.priorities
        ],
        queues=[
            pb.TicketQueue(
                name=queue.name,
                description=queue.description,
                priority=queue.priority,
                topics=queue.topics,
                notify=queue.notify,
            )
            for queue in policy.queues
        ],
        default_queue=policy.default_queue,
        version=policy.version,
    )


def _timestamp(moment: datetime | None) -> Timestamp | None:
    return None if moment is None else to_timestamp(moment)


def _duration(time: timedelta | None) -> Duration | None:
    if time is None:
        return None
    duration = Duration()
    duration.FromTimedelta(time)
    return duration
