"""The rules of ticketing: what a ticket is, and what may become of it. Standard library only."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, TypedDict

FIRST_NUMBER: Final = 1001
"""The number of a tenant's first ticket."""


class RuleBroken(ValueError):
    """A rule of ticketing forbids it."""

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
    """What somebody wants a ticket for."""

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


class Values(TypedDict, total=False):
    """The fields that an update sets; what is absent stays as it is."""

    status: Status
    priority: Priority
    assignee: str


@dataclass(frozen=True)
class Comment:
    comment_id: str
    number: int
    """The number of the ticket."""
    author: str
    text: str
    internal: bool
    created: datetime


def open_ticket(draft: Draft, number: int, now: datetime) -> Ticket:
    return Ticket(**vars(draft), number=number, status=Status.OPEN, version=1, created=now, updated=now)


def update(ticket: Ticket, values: Values, now: datetime) -> Ticket:
    """Set the values. Only a real difference makes a version.

    Raises:
        RuleBroken: the ticket is closed.
    """
    after = replace(_not_closed(ticket), **values)
    return ticket if after == ticket else replace(after, version=ticket.version + 1, updated=now)


def comment(ticket: Ticket, comment_id: str, author: str, text: str, internal: bool, now: datetime) -> Comment:
    """A comment on the ticket.

    Raises:
        RuleBroken: the ticket is closed.
    """
    return Comment(comment_id, _not_closed(ticket).number, author, text, internal, now)


def _not_closed(ticket: Ticket) -> Ticket:
    if ticket.status is Status.CLOSED:
        raise RuleBroken("ticket_closed", f"{ticket.ticket_id} is closed for good; open a new ticket")
    return ticket


def search_key(*texts: str) -> str:
    """The form in which texts are compared, a line each: letter case and runs of white space do not matter.

    It is made here and stored, because SQLite lowers ASCII only and PostgreSQL by its locale.
    """
    return "\n".join(" ".join(text.casefold().split()) for text in texts)


def searched(ticket: Draft) -> str:
    """What a search by text looks through."""
    return search_key(ticket.subject, ticket.description, ticket.requester)
