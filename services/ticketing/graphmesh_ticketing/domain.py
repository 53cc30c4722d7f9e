"""Rules of ticketing: tickets, their versions and their status. Standard library only."""

from dataclasses import dataclass, replace
from datetime import datetime
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


class Priority(StrEnum):
    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    URGENT = "urgent"


@dataclass(frozen=True)
class Draft:
    """The fields of a ticket that its creator sets."""

    subject: str
    description: str
    customer_id: str
    requester: str
    tags: tuple[str, ...]
    priority: Priority
    assignee: str


@dataclass(frozen=True)
class Ticket(Draft):
    number: int
    status: Status
    version: int
    created: datetime
    updated: datetime

    @property
    def ticket_id(self) -> str:
        return f"T-{self.number}"


class TicketUpdate(TypedDict, total=False):
    """The fields of a ticket that an update sets; absent fields stay unchanged."""

    status: Status
    priority: Priority
    assignee: str


@dataclass(frozen=True)
class Comment:
    comment_id: str
    number: int
    """Number of the ticket."""
    author: str
    text: str
    internal: bool
    created: datetime


def new_ticket(draft: Draft, number: int, now: datetime) -> Ticket:
    return Ticket(**vars(draft), number=number, status=Status.OPEN, version=1, created=now, updated=now)


def apply_update(ticket: Ticket, update: TicketUpdate, now: datetime) -> Ticket:
    """Set the fields of the update. An update that changes nothing returns the ticket itself, without a new version.

    Raises:
        RuleBroken: the ticket is closed.
    """
    updated = replace(_not_closed(ticket), **update)
    return ticket if updated == ticket else replace(updated, version=ticket.version + 1, updated=now)


def new_comment(ticket: Ticket, comment_id: str, author: str, text: str, internal: bool, now: datetime) -> Comment:
    """Comment on a ticket.

    Raises:
        RuleBroken: the ticket is closed.
    """
    return Comment(comment_id, _not_closed(ticket).number, author, text, internal, now)


def _not_closed(ticket: Ticket) -> Ticket:
    if ticket.status is Status.CLOSED:
        raise RuleBroken("ticket_closed", f"{ticket.ticket_id} is closed for good; open a new ticket")
    return ticket
