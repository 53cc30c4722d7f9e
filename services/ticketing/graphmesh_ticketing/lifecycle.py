"""Use cases of ticketing that write: create and update a ticket, add a comment, set the ticket policy."""

from dataclasses import replace
from uuid import uuid4

from graphmesh_chassis.errors import VersionMismatch, rule_violations

from graphmesh_ticketing import domain
from graphmesh_ticketing.domain import Comment, Draft, RuleBroken, Ticket, TicketPolicy, TicketUpdate
from graphmesh_ticketing.tickets import Tickets


async def create_ticket(tickets: Tickets, draft: Draft) -> Ticket:
    """Store a new ticket under the tenant's next number. Raises RuleViolated."""
    policy = await tickets.policy()
    number = await tickets.allocate_number()
    with rule_violations(RuleBroken):
        ticket = domain.new_ticket(policy, draft, number, await tickets.now())
    await tickets.add_ticket(ticket)
    return ticket


async def update_ticket(tickets: Tickets, number: int, update: TicketUpdate, *, expected_version: int) -> Ticket:
    """Update a ticket; an `expected_version` of 0 accepts any. Raises NotFound, VersionMismatch, RuleViolated."""
    ticket = await tickets.ticket(number, for_update=True)
    if expected_version and expected_version != ticket.version:
        raise VersionMismatch(resource="ticket", id=ticket.ticket_id, expected=expected_version, actual=ticket.version)
    with rule_violations(RuleBroken):
        updated = domain.apply_update(await tickets.policy(), ticket, update, await tickets.now())
    await tickets.update_ticket(updated)
    return updated


async def add_comment(tickets: Tickets, number: int, author: str, text: str, internal: bool) -> Comment:
    """Add a comment to a ticket. Raises NotFound, RuleViolated."""
    ticket = await tickets.ticket(number, for_update=True)
    with rule_violations(RuleBroken):
        comment = domain.new_comment(ticket, f"co_{uuid4().hex}", author, text, internal, await tickets.now())
    await tickets.add_comment(comment)
    await tickets.update_ticket(domain.with_comment(ticket, comment))
    return comment


async def set_policy(tickets: Tickets, policy: TicketPolicy, expected_version: int | None) -> TicketPolicy:
    """Replace the ticket policy. Raises VersionMismatch."""
    version = await tickets.lock_policy()
    if expected_version not in (None, version):
        raise VersionMismatch(resource="ticket policy", id="ticket_policy", expected=expected_version, actual=version)
    stored = replace(policy, version=version + 1)
    await tickets.set_policy(stored)
    return stored
