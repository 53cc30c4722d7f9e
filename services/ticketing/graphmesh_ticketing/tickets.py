"""The port of ticketing: one tenant's tickets and comments; and its twin in memory."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from graphmesh_chassis.errors import NotFound

from graphmesh_ticketing.domain import FIRST_NUMBER, Comment, Status, Ticket, search_key, searched


@dataclass(frozen=True)
class Wanted:
    """What a search looks for; an empty filter lets every ticket pass."""

    text: str = ""
    status: Status | None = None
    customer_id: str = ""


class Tickets(Protocol):
    """Lists are newest first, and go on after the sort key `before`."""

    async def ticket(self, number: int, *, hold: bool = False) -> Ticket:
        """The ticket; held, nobody else changes it until the transaction ends. Raises NotFound."""
        ...

    async def search(self, wanted: Wanted, before: tuple[datetime, int] | None, limit: int) -> list[Ticket]:
        """The tickets that pass all filters; before (created, number)."""
        ...

    async def comments(self, number: int, before: tuple[datetime, str] | None, limit: int) -> list[Comment]:
        """The comments of the ticket; before (created, id)."""
        ...

    async def take_number(self) -> int:
        """The number of the tenant's next ticket, never given twice."""
        ...

    async def add_ticket(self, ticket: Ticket) -> None: ...

    async def change_ticket(self, ticket: Ticket) -> None:
        """Put the ticket in place of the stored one."""
        ...

    async def add_comment(self, comment: Comment) -> None:
        """Add the comment, and make its time that of the ticket's last update."""
        ...


class MemoryTickets:
    """The tickets of one tenant in memory."""

    def __init__(self) -> None:
        self._tickets: dict[int, Ticket] = {}
        self._comments: list[Comment] = []
        self._last_number = FIRST_NUMBER - 1

    async def ticket(self, number: int, *, hold: bool = False) -> Ticket:
        if number not in self._tickets:
            raise NotFound(resource="ticket", id=f"T-{number}")
        return self._tickets[number]

    async def search(self, wanted: Wanted, before: tuple[datetime, int] | None, limit: int) -> list[Ticket]:
        found = [ticket for ticket in self._tickets.values() if _matches(ticket, wanted)]
        found.sort(key=_age, reverse=True)
        return [ticket for ticket in found if before is None or _age(ticket) < before][:limit]

    async def comments(self, number: int, before: tuple[datetime, str] | None, limit: int) -> list[Comment]:
        found = [comment for comment in self._comments if comment.number == number]
        found.sort(key=_date, reverse=True)
        return [comment for comment in found if before is None or _date(comment) < before][:limit]

    async def take_number(self) -> int:
        self._last_number += 1
        return self._last_number

    async def add_ticket(self, ticket: Ticket) -> None:
        self._tickets[ticket.number] = ticket

    async def change_ticket(self, ticket: Ticket) -> None:
        self._tickets[ticket.number] = ticket

    async def add_comment(self, comment: Comment) -> None:
        self._comments.append(comment)
        self._tickets[comment.number] = replace(self._tickets[comment.number], updated=comment.created)


def _matches(ticket: Ticket, wanted: Wanted) -> bool:
    return (
        search_key(wanted.text) in searched(ticket)
        and wanted.status in (None, ticket.status)
        and wanted.customer_id in ("", ticket.customer_id)
    )


def _age(ticket: Ticket) -> tuple[datetime, int]:
    return (ticket.created, ticket.number)


def _date(comment: Comment) -> tuple[datetime, str]:
    return (comment.created, comment.comment_id)
