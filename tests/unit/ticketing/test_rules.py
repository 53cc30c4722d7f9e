"""The status and the versions of a ticket."""

from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from graphmesh_ticketing.domain import (
    Draft,
    Priority,
    RuleBroken,
    Status,
    Ticket,
    apply_update,
    new_comment,
    new_ticket,
)

THEN = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
NOW = THEN + timedelta(hours=1)
NOT_CLOSED = (Status.OPEN, Status.PENDING, Status.SOLVED)


def ticket(status: Status = Status.OPEN) -> Ticket:
    draft = Draft("A cracked bottle", "Ink everywhere.", "cu_1", "mira@example.com", ("damage",), Priority.HIGH, "")
    created = new_ticket(draft, 1001, THEN)
    return created if status is created.status else apply_update(created, {"status": status}, THEN)


def test_new_ticket_is_open_at_version_one() -> None:
    created = ticket()
    assert (created.ticket_id, created.status, created.version, created.created, created.updated) == (
        "T-1001",
        Status.OPEN,
        1,
        THEN,
        THEN,
    )


@pytest.mark.parametrize(("before", "updated"), list(permutations(NOT_CLOSED, 2)))
def test_any_order_of_open_pending_and_solved(before: Status, updated: Status) -> None:
    assert apply_update(ticket(before), {"status": updated}, NOW).status is updated


@pytest.mark.parametrize("before", NOT_CLOSED)
def test_closes_a_ticket_of_any_status(before: Status) -> None:
    assert apply_update(ticket(before), {"status": Status.CLOSED}, NOW).status is Status.CLOSED


def test_refuses_changes_of_a_closed_ticket() -> None:
    """Neither an update, not even to closed, nor a comment."""
    closed = ticket(Status.CLOSED)
    for status in Status:
        with pytest.raises(RuleBroken, match="T-1001 is closed"):
            apply_update(closed, {"status": status}, NOW)
    with pytest.raises(RuleBroken, match="T-1001 is closed"):
        new_comment(closed, "co_1", "ana", "One more thing.", False, NOW)


def test_update_sets_its_fields_and_makes_a_version() -> None:
    updated = apply_update(ticket(), {"assignee": "ana", "priority": Priority.URGENT}, NOW)
    assert (updated.assignee, updated.priority, updated.status) == ("ana", Priority.URGENT, Status.OPEN)
    assert (updated.version, updated.created, updated.updated) == (2, THEN, NOW)


def test_update_with_stored_values_makes_no_version() -> None:
    before = ticket()
    assert apply_update(before, {"priority": Priority.HIGH, "assignee": ""}, NOW) is before
