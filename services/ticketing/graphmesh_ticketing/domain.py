"""Rules of ticketing: tickets, their versions, their status and when they are due. Standard library only."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, TypedDict

FIRST_NUMBER: Final = 1001
"""Number of a tenant's first ticket."""


class RuleBroken(ValueError):
    """A request breaks a rule of ticketing; `rule` is the rule's stable name."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


class Status(StrEnum):
    OPEN = "open"
    PENDING = "pending"
    SOLVED = "solved"
    CLOSED = "closed"

    @property
    def needs_work(self) -> bool:
        """Whether a ticket with this status can be overdue."""
        return self in (Status.OPEN, Status.PENDING)


@dataclass(frozen=True)
class Priority:
    """A priority of the tenant, with its service levels: times from a ticket's creation, None for no such time."""

    name: str
    first_response: timedelta | None = None
    resolution: timedelta | None = None


@dataclass(frozen=True)
class Queue:
    """A queue of the tenant: tickets of one kind, which the same people work on."""

    name: str
    priority: str
    """The name of the priority of its tickets that state none."""
    description: str = ""
    topics: tuple[str, ...] = ()
    notify: tuple[str, ...] = ()


@dataclass(frozen=True)
class TicketPolicy:
    """The priorities of a tenant, the most urgent first, and its queues."""

    priorities: tuple[Priority, ...]
    queues: tuple[Queue, ...]
    default_queue: str
    version: int = 0

    def priority(self, name: str) -> Priority:
        """Find a priority. Raises RuleBroken."""
        for priority in self.priorities:
            if priority.name == name:
                return priority
        names = ", ".join(priority.name for priority in self.priorities)
        raise RuleBroken("unknown_priority", f"there is no priority {name}; there are {names}")

    def queue(self, name: str) -> Queue:
        """Find a queue. Raises RuleBroken."""
        for queue in self.queues:
            if queue.name == name:
                return queue
        names = ", ".join(queue.name for queue in self.queues)
        raise RuleBroken("unknown_queue", f"there is no queue {name}; there are {names}")

    def queue_of(self, topic: str) -> Queue:
        """Return the queue of a topic, the default queue where none has it."""
        found = next((queue for queue in self.queues if topic in queue.topics), None)
        return found or self.queue(self.default_queue)


def _hours(hours: int) -> timedelta:
    return timedelta(hours=hours)


DEFAULT_POLICY: Final = TicketPolicy(
    priorities=(
        Priority("emergency", timedelta(minutes=15), _hours(4)),
        Priority("urgent", _hours(1), _hours(8)),
        Priority("high", _hours(4), _hours(24)),
        Priority("normal", _hours(24), _hours(72)),
        Priority("low", _hours(72)),
    ),
    queues=(
        Queue("emergency", "emergency", "Danger to people: injuries, threats.", ("emergency",)),
        Queue("legal", "high", "Lawyers, courts, authorities, the press.", ("legal",)),
        Queue("privacy", "high", "Requests about personal data.", ("privacy",)),
        Queue("security", "urgent", "Accounts or payments in the hands of strangers.", ("security",)),
        Queue(
            "important",
            "high",
            "Complaints, refunds without a confirmation, important customers.",
            ("complaint", "refund-uncertain", "vip"),
        ),
        Queue("normal", "normal", "All else."),
    ),
    default_queue="normal",
)
"""The policy of a tenant that has none of its own."""


@dataclass(frozen=True)
class Draft:
    """The fields of a ticket that its creator sets."""

    subject: str
    description: str
    customer_id: str
    requester: str
    tags: tuple[str, ...]
    assignee: str
    queue: str = ""
    """Empty for the one of the topic."""
    topic: str = ""
    priority: str = ""
    """Empty for the one of the queue."""


@dataclass(frozen=True)
class Ticket:
    number: int
    subject: str
    description: str
    customer_id: str
    requester: str
    tags: tuple[str, ...]
    assignee: str
    queue: str
    priority: str
    notify: tuple[str, ...]
    status: Status
    version: int
    created: datetime
    updated: datetime
    response_due: datetime | None = None
    resolution_due: datetime | None = None
    responded: datetime | None = None

    @property
    def ticket_id(self) -> str:
        return f"T-{self.number}"

    @property
    def due(self) -> datetime | None:
        """When the ticket is due next; None where it is not."""
        if not self.status.needs_work:
            return None
        response = self.response_due if self.responded is None else None
        return min((time for time in (response, self.resolution_due) if time is not None), default=None)

    def is_overdue(self, now: datetime) -> bool:
        return self.due is not None and self.due <= now


class TicketUpdate(TypedDict, total=False):
    """The fields of a ticket that an update sets; absent fields stay unchanged."""

    status: Status
    priority: str
    """Empty for the one of the queue."""
    assignee: str
    queue: str
    """Empty for the default queue."""


@dataclass(frozen=True)
class Comment:
    comment_id: str
    number: int
    """Number of the ticket."""
    author: str
    text: str
    internal: bool
    created: datetime


def new_ticket(policy: TicketPolicy, draft: Draft, number: int, now: datetime) -> Ticket:
    """Make a ticket of a draft.

    Raises:
        RuleBroken: the policy does not have its queue or its priority.
    """
    queue = policy.queue(draft.queue) if draft.queue else policy.queue_of(draft.topic)
    priority = policy.priority(draft.priority or queue.priority)
    return Ticket(
        number=number,
        subject=draft.subject,
        description=draft.description,
        customer_id=draft.customer_id,
        requester=draft.requester,
        tags=draft.tags,
        assignee=draft.assignee,
        queue=queue.name,
        priority=priority.name,
        notify=queue.notify,
        status=Status.OPEN,
        version=1,
        created=now,
        updated=now,
        response_due=_after(now, priority.first_response),
        resolution_due=_after(now, priority.resolution),
    )


def apply_update(policy: TicketPolicy, ticket: Ticket, update: TicketUpdate, now: datetime) -> Ticket:
    """Set the fields of the update. An update that changes nothing returns the ticket itself, without a new version.

    Raises:
        RuleBroken: the ticket is closed, or the policy does not have its queue or its priority.
    """
    updated = _not_closed(ticket)
    if "queue" in update:
        queue = policy.queue(update["queue"] or policy.default_queue)
        if queue.name != ticket.queue:
            updated = replace(updated, queue=queue.name, notify=queue.notify)
    if "priority" in update:
        priority = policy.priority(update["priority"] or policy.queue(updated.queue).priority)
        if priority.name != ticket.priority:
            response, resolution = (
                _after(ticket.created, time) for time in (priority.first_response, priority.resolution)
            )
            updated = replace(updated, priority=priority.name, response_due=response, resolution_due=resolution)
    updated = replace(
        updated, status=update.get("status", ticket.status), assignee=update.get("assignee", ticket.assignee)
    )
    return ticket if updated == ticket else replace(updated, version=ticket.version + 1, updated=now)


def new_comment(ticket: Ticket, comment_id: str, author: str, text: str, internal: bool, now: datetime) -> Comment:
    """Comment on a ticket.

    Raises:
        RuleBroken: the ticket is closed.
    """
    return Comment(comment_id, _not_closed(ticket).number, author, text, internal, now)


def with_comment(ticket: Ticket, comment: Comment) -> Ticket:
    """Return the ticket as a comment of it changes it: one that is not internal is the first response, if none was."""
    responded = comment.created if ticket.responded is None and not comment.internal else ticket.responded
    return replace(ticket, updated=comment.created, responded=responded)


def _after(created: datetime, time: timedelta | None) -> datetime | None:
    return None if time is None else created + time


def _not_closed(ticket: Ticket) -> Ticket:
    if ticket.status is Status.CLOSED:
        raise RuleBroken("ticket_closed", f"{ticket.ticket_id} is closed for good; open a new ticket")
    return ticket
