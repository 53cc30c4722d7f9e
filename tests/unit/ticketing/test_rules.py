"""What may become of a ticket (F4)."""

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
    made = new_ticket(draft, 1001, THEN)
    return made if status is made.status else apply_update(made, {"status": status}, THEN)


def test_a_ticket_begins_open_at_version_one() -> None:
    made = ticket()
    assert (made.ticket_id, made.status, made.version, made.created, made.updated) == (
        "T-1001",
        Status.OPEN,
        1,
        THEN,
        THEN,
    )


@pytest.mark.parametrize(("before", "after"), list(permutations(NOT_CLOSED, 2)))
def test_open_pending_and_solved_follow_one_another(before: Status, after: Status) -> None:
    assert apply_update(ticket(before), {"status": after}, NOW).status is after


@pytest.mark.parametrize("before", NOT_CLOSED)
def test_any_ticket_may_be_closed(before: Status) -> None:
    assert apply_update(ticket(before), {"status": Status.CLOSED}, NOW).status is Status.CLOSED


def test_closed_is_the_end() -> None:
    """No update, not even to closed again, and no comment."""
    closed = ticket(Status.CLOSED)
    for status in Status:
        with pytest.raises(RuleBroken, match="T-1001 is closed"):
            apply_update(closed, {"status": status}, NOW)
    with pytest.raises(RuleBroken, match="T-1001 is closed"):
        new_comment(closed, "co_1", "ana", "One more thing.", False, NOW)


def test_an_update_sets_what_it_names_and_makes_a_version() -> None:
    after = apply_update(ticket(), {"assignee": "ana", "priority": Priority.URGENT}, NOW)
    assert (after.assignee, after.priority, after.status) == ("ana", Priority.URGENT, Status.OPEN)
    assert (after.version, after.created, after.updated) == (2, THEN, NOW)


def test_values_as_stored_make_no_version() -> None:
    before = ticket()
    assert apply_update(before, {"priority": Priority.HIGH, "assignee": ""}, NOW) is before
