"""The use cases of ticketing that change something."""

from datetime import UTC, datetime
from uuid import uuid4

from graphmesh_chassis.errors import VersionMismatch, rule_violations

from graphmesh_ticketing import domain
from graphmesh_ticketing.domain import Comment, Draft, RuleBroken, Ticket, Values
from graphmesh_ticketing.tickets import Tickets


async def open_ticket(tickets: Tickets, draft: Draft) -> Ticket:
    """Open a ticket under the next number."""
    ticket = domain.open_ticket(draft, await tickets.take_number(), datetime.now(UTC))
    await tickets.add_ticket(ticket)
    return ticket


async def update(tickets: Tickets, number: int, values: Values, *, expected_version: int) -> Ticket:
    """Change a ticket; an `expected_version` of 0 expects none. Raises NotFound, VersionMismatch, RuleViolated."""
    before = await tickets.ticket(number, hold=True)
    if expected_version and expected_version != before.version:
        raise VersionMismatch(resource="ticket", id=before.ticket_id, expected=expected_version, actual=before.version)
    with rule_violations(RuleBroken):
        after = domain.update(before, values, datetime.now(UTC))
    await tickets.change_ticket(after)
    return after


async def comment(tickets: Tickets, number: int, author: str, text: str, internal: bool) -> Comment:
    """Add a comment to a ticket. Raises NotFound, RuleViolated."""
    ticket = await tickets.ticket(number, hold=True)
    with rule_violations(RuleBroken):
        made = domain.comment(ticket, f"co_{uuid4().hex}", author, text, internal, datetime.now(UTC))
    await tickets.add_comment(made)
    return made
