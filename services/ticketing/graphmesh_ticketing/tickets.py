"""Port of ticketing, one tenant's tickets, comments and ticket policy, and its in-memory twin."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from graphmesh_chassis.errors import NotFound
from graphmesh_chassis.search_keys import search_key

from graphmesh_ticketing.domain import DEFAULT_POLICY, FIRST_NUMBER, Comment, Status, Ticket, TicketPolicy

NEVER = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
"""The sort key of tickets that are not due."""


@dataclass(frozen=True)
class TicketFilter:
    """The conditions of a search, joined by AND; an empty one matches every ticket."""

    text: str = ""
    status: Status | None = None
    customer_id: str = ""
    queue: str = ""
    priority: str = ""
    due_before: datetime | None = None
    """Only tickets that are due before this time."""


class Tickets(Protocol):
    """Tickets of one tenant. Lists are newest first and start behind the sort key `before`."""

    async def now(self) -> datetime:
        """The time by the database's clock, also within a transaction that has waited for a lock."""
        ...

    async def policy(self) -> TicketPolicy: ...

    async def lock_policy(self) -> int:
        """Lock the policy until the transaction ends, and return its version."""
        ...

    async def set_policy(self, policy: TicketPolicy) -> None:
        """Replace the policy, which is locked."""
        ...

    async def ticket(self, number: int, *, for_update: bool = False) -> Ticket:
        """Read a ticket. With `for_update`, its row is locked until the transaction ends. Raises NotFound."""
        ...

    async def search(self, conditions: TicketFilter, before: tuple[datetime, int] | None, limit: int) -> list[Ticket]:
        """Find tickets; the sort key is (created, number)."""
        ...

    async def search_due(
        self, conditions: TicketFilter, after: tuple[datetime, int] | None, limit: int
    ) -> list[Ticket]:
        """Find tickets, those that are due first come first; the sort key is `due_key`, ascending."""
        ...

    async def comments(self, number: int, before: tuple[datetime, str] | None, limit: int) -> list[Comment]:
        """List the comments of a ticket; the sort key is (created, id)."""
        ...

    async def allocate_number(self) -> int:
        """Allocate the number of the tenant's next ticket. No number is allocated twice."""
        ...

    async def add_ticket(self, ticket: Ticket) -> None: ...

    async def update_ticket(self, ticket: Ticket) -> None:
        """Replace the stored ticket."""
        ...

    async def add_comment(self, comment: Comment) -> None: ...


class MemoryTickets:
    """Tickets of one tenant in memory. Has no locks: `for_update` changes nothing."""

    def __init__(self) -> None:
        self._tickets: dict[int, Ticket] = {}
        self._comments: list[Comment] = []
        self._last_number = FIRST_NUMBER - 1
        self._policy = DEFAULT_POLICY

    async def now(self) -> datetime:
        return datetime.now(UTC)

    async def policy(self) -> TicketPolicy:
        return self._policy

    async def lock_policy(self) -> int:
        return self._policy.version

    async def set_policy(self, policy: TicketPolicy) -> None:
        self._policy = policy

    async def ticket(self, number: int, *, for_update: bool = False) -> Ticket:
        if number not in self._tickets:
            raise NotFound(resource="ticket", id=f"T-{number}")
        return self._tickets[number]

    async def search(self, conditions: TicketFilter, before: tuple[datetime, int] | None, limit: int) -> list[Ticket]:
        found = [ticket for ticket in self._tickets.values() if _matches(ticket, conditions)]
        found.sort(key=_ticket_key, reverse=True)
        return [ticket for ticket in found if before is None or _ticket_key(ticket) < before][:limit]

    async def search_due(
        self, conditions: TicketFilter, after: tuple[datetime, int] | None, limit: int
    ) -> list[Ticket]:
        found = sorted((ticket for ticket in self._tickets.values() if _matches(ticket, conditions)), key=due_key)
        return [ticket for ticket in found if after is None or due_key(ticket) > after][:limit]

    async def comments(self, number: int, before: tuple[datetime, str] | None, limit: int) -> list[Comment]:
        found = [comment for comment in self._comments if comment.number == number]
        found.sort(key=_comment_key, reverse=True)
        return [comment for comment in found if before is None or _comment_key(comment) < before][:limit]

    async def allocate_number(self) -> int:
        self._last_number += 1
        return self._last_number

    async def add_ticket(self, ticket: Ticket) -> None:
        self._tickets[ticket.number] = ticket

    async def update_ticket(self, ticket: Ticket) -> None:
        self._tickets[ticket.number] = ticket

    async def add_comment(self, comment: Comment) -> None:
        self._comments.append(comment)


def searchable_text(ticket: Ticket) -> str:
    """The text that a search covers, in the form of `search_key`."""
    return search_key(ticket.subject, ticket.description, ticket.requester)


def due_key(ticket: Ticket) -> tuple[datetime, int]:
    """The sort key of a list in the order in which tickets are due."""
    return (ticket.due or NEVER, ticket.number)


def _matches(ticket: Ticket, conditions: TicketFilter) -> bool:
    return (
        search_key(conditions.text) in searchable_text(ticket)
        and conditions.status in (None, ticket.status)
        and conditions.customer_id in ("", ticket.customer_id)
        and conditions.queue in ("", ticket.queue)
        and conditions.priority in ("", ticket.priority)
        and (conditions.due_before is None or (ticket.due is not None and ticket.due < conditions.due_before))
    )


def _ticket_key(ticket: Ticket) -> tuple[datetime, int]:
    return (ticket.created, ticket.number)


def _comment_key(comment: Comment) -> tuple[datetime, str]:
    return (comment.created, comment.comment_id)
