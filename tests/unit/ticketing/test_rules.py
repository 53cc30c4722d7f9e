"""The status and the versions of a ticket."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any, cast

import pytest
from graphmesh_ticketing import domain
from graphmesh_ticketing.domain import (
    DEFAULT_POLICY,
    Draft,
    Priority,
    Queue,
    RuleBroken,
    Status,
    Ticket,
    TicketPolicy,
    TicketUpdate,
    new_comment,
    new_ticket,
    with_comment,
)

THEN = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
NOW = THEN + timedelta(hours=1)
NOT_CLOSED = (Status.OPEN, Status.PENDING, Status.SOLVED)


DRAFT = Draft("A cracked bottle", "Ink everywhere.", "cu_1", "mira@example.com", ("damage",), "")
POLICY = TicketPolicy(
    (
        Priority("high", timedelta(hours=1), timedelta(hours=4)),
        Priority("low", None, timedelta(days=9)),
        Priority("no"),
    ),
    (Queue("legal", "high", topics=("legal", "press"), notify=("counsel",)), Queue("rest", "low")),
    "rest",
)


def ticket(status: Status = Status.OPEN, **fields: Any) -> Ticket:
    created = new_ticket(POLICY, replace(DRAFT, **fields), 1001, THEN)
    return created if status is created.status else apply_update(created, {"status": status}, THEN)


def apply_update(ticket: Ticket, update: TicketUpdate, now: datetime) -> Ticket:
    return domain.apply_update(POLICY, ticket, update, now)


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
    updated = apply_update(ticket(), {"assignee": "ana", "priority": "high"}, NOW)
    assert (updated.assignee, updated.priority, updated.status) == ("ana", "high", Status.OPEN)
    assert (updated.version, updated.created, updated.updated) == (2, THEN, NOW)


def test_update_with_stored_values_makes_no_version() -> None:
    before = ticket()
    assert apply_update(before, {"priority": "low", "queue": "", "assignee": ""}, NOW) is before


@pytest.mark.parametrize(
    ("fields", "queue", "priority", "notify"),
    [
        ({}, "rest", "low", ()),
        ({"topic": "press"}, "legal", "high", ("counsel",)),
        ({"topic": "weather"}, "rest", "low", ()),
        ({"queue": "legal"}, "legal", "high", ("counsel",)),
        ({"topic": "legal", "priority": "no"}, "legal", "no", ("counsel",)),
    ],
)
def test_policy_decides_queue_and_priority(
    fields: dict[str, Any], queue: str, priority: str, notify: tuple[str, ...]
) -> None:
    """An unknown topic belongs to the default queue, so that no ticket is lost."""
    created = ticket(**fields)
    assert (created.queue, created.priority, created.notify) == (queue, priority, notify)


@pytest.mark.parametrize(
    ("fields", "rule"), [({"queue": "x"}, "unknown_queue"), ({"priority": "x"}, "unknown_priority")]
)
def test_refuses_what_the_policy_does_not_have(fields: TicketUpdate, rule: str) -> None:
    """The message names what there is."""
    with pytest.raises(RuleBroken, match="there are") as broken:
        ticket(**cast(Any, fields))
    assert broken.value.rule == rule
    with pytest.raises(RuleBroken) as broken:
        apply_update(ticket(), fields, NOW)
    assert broken.value.rule == rule


def test_ticket_is_due_by_its_priority() -> None:
    """At first the response is due, after it the resolution, and nothing once it is solved."""
    created = ticket(queue="legal")
    assert created.due == THEN + timedelta(hours=1)
    assert not created.is_overdue(NOW - timedelta(microseconds=1))
    assert created.is_overdue(NOW)
    internal = with_comment(created, new_comment(created, "co_1", "ana", "Hm.", True, NOW))
    assert (internal.responded, internal.due) == (None, created.due)
    answered = with_comment(created, new_comment(created, "co_2", "ana", "Hello.", False, NOW))
    assert (answered.responded, answered.due) == (NOW, THEN + timedelta(hours=4))
    assert with_comment(answered, new_comment(answered, "co_3", "ana", "Well.", False, NOW)).responded == NOW
    solved = apply_update(answered, {"status": Status.SOLVED}, NOW)
    assert (solved.due, solved.is_overdue(NOW + timedelta(days=99))) == (None, False)
    assert apply_update(solved, {"status": Status.OPEN}, NOW).due == answered.due
    assert ticket(priority="no").due is None


def test_another_priority_is_due_from_the_creation() -> None:
    """Another queue keeps the priority, unless it is named too, and has its own recipients."""
    moved = apply_update(ticket(), {"queue": "legal"}, NOW)
    assert (moved.queue, moved.priority, moved.notify) == ("legal", "low", ("counsel",))
    urgent = apply_update(moved, {"priority": ""}, NOW)
    assert (urgent.priority, urgent.response_due) == ("high", THEN + timedelta(hours=1))
    assert apply_update(urgent, {"queue": ""}, NOW).queue == "rest"


def test_default_policy_is_consistent() -> None:
    for queue in DEFAULT_POLICY.queues:
        assert DEFAULT_POLICY.priority(queue.priority).first_response
        assert all(DEFAULT_POLICY.queue_of(topic) == queue for topic in queue.topics)
    names = {queue.name for queue in DEFAULT_POLICY.queues}
    assert {"emergency", "legal", "privacy", "security", "normal"} <= names
