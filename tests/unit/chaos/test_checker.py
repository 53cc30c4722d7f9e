"""The invariants of the checker: each finds its violations, and none in a correct history."""

from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from graphmesh_chaos.checker import INVARIANTS, check
from graphmesh_chaos.history import (
    Answer,
    Approval,
    Charge,
    Effect,
    Epoch,
    Event,
    History,
    Invoice,
    JournalEntry,
    Observed,
    Posting,
    ReceivedEvent,
    Resumption,
    Run,
    RunRequest,
    Ticket,
)
from graphmesh_chaos.late_effects import Commits, CommittedEffect, CommittedEnd
from graphmesh_chaos.operations import Operation, OperationKind, SeenRun
from graphmesh_chaos.thread_checker import CANCELLED_WITHIN_SECONDS
from graphmesh_nodes.approval_terms import ApprovalStatus
from graphmesh_orchestrator.run_status import RunStatus

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REQUEST = RunRequest("request-1", "INV-1", "cu_1", 500, run_ids=("run-1", "run-1"))
RUN = Run("run-1", "request-1", RunStatus.SUCCESS, "ch-1", "T-1", last_seq=4, epoch=2)
CHARGED = Event("run-1", 2, NOW, None, effect_key="key-1")
EVENTS = [
    Event("run-1", 1, NOW, RunStatus.RUNNING),
    CHARGED,
    Event("run-1", 3, NOW, None, effect_key="key-2"),
    Event("run-1", 4, NOW, RunStatus.SUCCESS),
]
INVOICE_POSTING = Posting("receivable", "revenue", 2000, "INV-1")
CHARGE_POSTING = Posting("cash", "receivable", 500, "ch-1")
INVOICE_ENTRY = JournalEntry("invoice", 2000, "INV-1", "INV-1")
CHARGE_ENTRY = JournalEntry("charge", 500, "ch-1", "INV-1")
CHARGE_EFFECT = Effect("run-1", "charge", has_response=True, key="key-1")
TICKET_EFFECT = Effect("run-1", "ticket", has_response=True, key="key-2")
ENDED = CommittedEnd("run-1", RunStatus.SUCCESS, NOW)
LATER = NOW + timedelta(seconds=1)
SINGLE = ("requests", "observed", "commits")
"""The fields of a history that are not empty without rows."""
CORRECT = History(
    requests=[REQUEST],
    runs=[RUN],
    events=EVENTS,
    invoices=[Invoice("INV-1", 2000, 1500)],
    charges=[Charge("ch-1", "INV-1", 500)],
    postings=[INVOICE_POSTING, CHARGE_POSTING],
    entries=[INVOICE_ENTRY, CHARGE_ENTRY],
    tickets=[Ticket("T-1", "cu_1")],
    effects=[CHARGE_EFFECT, TICKET_EFFECT],
    epochs=[Epoch("billing", "run-1", 1), Epoch("ticketing", "run-1", 2)],
    approvals=[],
    answers=[],
    commits=Commits([replace(ENDED, time=LATER)], [CommittedEffect("run-1", "charge", "key-1", NOW)]),
)
GRANTED = Approval("apr-1", "run-1", ApprovalStatus.APPROVED)
DENIED = Approval("apr-1", "run-1", ApprovalStatus.DENIED)
APPROVED_EFFECT = replace(CHARGE_EFFECT, approval_id="apr-1")
APPROVED = replace(
    CORRECT,
    requests=[replace(REQUEST, amount=60_00)],
    invoices=[Invoice("INV-1", 240_00, 180_00)],
    charges=[Charge("ch-1", "INV-1", 60_00)],
    postings=[replace(INVOICE_POSTING, amount=240_00), replace(CHARGE_POSTING, amount=60_00)],
    entries=[replace(INVOICE_ENTRY, amount=240_00), replace(CHARGE_ENTRY, amount=60_00)],
    effects=[APPROVED_EFFECT, TICKET_EFFECT],
    approvals=[GRANTED],
    answers=[Answer("apr-1", ApprovalStatus.APPROVED)],
)
"""A run whose charge was approved."""
REFUSED = replace(
    APPROVED,
    runs=[replace(RUN, charge_id="")],
    invoices=[Invoice("INV-1", 240_00, 240_00)],
    charges=[],
    postings=[replace(INVOICE_POSTING, amount=240_00)],
    entries=[replace(INVOICE_ENTRY, amount=240_00)],
    effects=[TICKET_EFFECT],
    epochs=[Epoch("ticketing", "run-1", 2)],
    approvals=[DENIED],
    answers=[Answer("apr-1", ApprovalStatus.DENIED)],
)
"""A run whose charge was denied."""


def changed(**fields: Any) -> History:
    """The correct history with other rows."""
    return replace(CORRECT, **fields)


def added(**rows: Any) -> History:
    """The correct history with one row more."""
    changes: dict[str, Any] = {name: [*getattr(CORRECT, name), row] for name, row in rows.items()}
    return replace(CORRECT, **changes)


def observed(*operations: Operation, **records: Any) -> History:
    """The correct history, on one thread, with what clients got."""
    return changed(requests=[replace(REQUEST, thread_id="thread")], observed=Observed(operations, **records))


def read(status: RunStatus, seq: int, at: float = 0, kind: OperationKind = OperationKind.READ) -> Operation:
    """A call that returns the run in that state."""
    return Operation(kind, "thread", at, at + 0.5, "request-1", seen=[SeenRun("request-1", status, 2, seq)])


def received(seq: int, **changes: Any) -> ReceivedEvent:
    """The event of this number as a client received it."""
    event = ReceivedEvent("run-1", seq, NOW, "", EVENTS[seq - 1].status)
    return replace(event, **changes)


CREATED = Operation(OperationKind.CREATE, "thread", -1, -0.5, "request-1")
CANCELLED = read(RunStatus.RUNNING, 1, kind=OperationKind.CANCEL)


def test_finds_nothing_in_a_correct_history() -> None:
    """Two responses that name one run are correct, and so is a run of an epoch that billing has not recorded."""
    assert check(CORRECT) == []


@pytest.mark.parametrize(
    "history",
    [APPROVED, REFUSED, replace(APPROVED, answers=[])],
    ids=["approved", "denied", "answer not acknowledged"],
)
def test_finds_nothing_in_an_answered_approval(history: History) -> None:
    """An answer may count although its acknowledgement was lost."""
    assert check(history) == []


def test_finds_nothing_in_an_unanswered_request() -> None:
    """A request without a response may have created no run."""
    empty: dict[str, Any] = {field.name: [] for field in fields(History) if field.name not in SINGLE}
    assert check(History([replace(REQUEST, run_ids=())], **empty)) == []


def test_finds_nothing_in_what_clients_observed() -> None:
    """A client follows the run, another reads it, and a third cancels it too late."""
    history = observed(
        CREATED, CANCELLED, read(RunStatus.SUCCESS, 4, at=1), received=[received(1), received(2), received(3)]
    )
    assert check(history) == []


@pytest.mark.parametrize("effects", [[], [CHARGE_EFFECT], [CHARGE_EFFECT, TICKET_EFFECT]])
def test_finds_nothing_in_a_cancelled_run(effects: list[Effect]) -> None:
    """It has made none, some or all of its effects, in their order."""
    assert check(cancelled(effects)) == []


def cancelled(effects: list[Effect]) -> History:
    """The history of a run that was cancelled when it had made some of its effects."""
    is_charged, is_ticketed = CHARGE_EFFECT in effects, TICKET_EFFECT in effects
    end = Event("run-1", 4, NOW, RunStatus.CANCELLED)
    return changed(
        requests=[replace(REQUEST, ends=[RunStatus.SUCCESS, RunStatus.CANCELLED])],
        runs=[replace(RUN, status=RunStatus.CANCELLED, charge_id="", ticket_id="")],
        events=[*EVENTS[:3], end],
        invoices=[Invoice("INV-1", 2000, 1500 if is_charged else 2000)],
        charges=CORRECT.charges if is_charged else [],
        postings=CORRECT.postings if is_charged else [INVOICE_POSTING],
        entries=CORRECT.entries if is_charged else [INVOICE_ENTRY],
        tickets=CORRECT.tickets if is_ticketed else [],
        effects=effects,
    )


VIOLATIONS: dict[str, tuple[str, History]] = {
    "a second run of a request": ("one_run_per_request", added(runs=replace(RUN, run_id="run-2"))),
    "a response without its run": (
        "one_run_per_request",
        changed(requests=[replace(REQUEST, run_ids=("run-1", "run-2"))]),
    ),
    "a lost run": ("one_run_per_request", changed(runs=[])),
    "a run without a request": ("one_run_per_request", added(runs=replace(RUN, run_id="run-2", request_id=""))),
    "a failed run": ("every_run_ends", changed(runs=[replace(RUN, status=RunStatus.ERROR)])),
    "a parked run": ("every_run_ends", changed(runs=[replace(RUN, status=RunStatus.INTERRUPTED)])),
    "a hanging run": ("every_run_ends", changed(runs=[replace(RUN, status=RunStatus.RUNNING)])),
    "a duplicate charge": ("charged_once", added(charges=Charge("ch-2", "INV-1", 500))),
    "a lost charge": ("charged_once", changed(charges=[])),
    "a charge of another amount": ("charged_once", changed(charges=[Charge("ch-1", "INV-1", 400)])),
    "a charge that is not in the output": ("charged_once", changed(charges=[Charge("ch-2", "INV-1", 500)])),
    "a charge of a failed run": ("charged_once", changed(runs=[replace(RUN, status=RunStatus.ERROR)])),
    "a charge without a run": ("charged_once", added(charges=Charge("ch-2", "INV-2", 500))),
    "a duplicate ticket": ("ticketed_once", added(tickets=Ticket("T-2", "cu_1"))),
    "a lost ticket": ("ticketed_once", changed(tickets=[])),
    "a ticket that is not in the output": ("ticketed_once", changed(tickets=[Ticket("T-2", "cu_1")])),
    "a ticket without a run": ("ticketed_once", added(tickets=Ticket("T-2", "cu_2"))),
    "an invoice that is not reduced": ("invoices_add_up", changed(invoices=[Invoice("INV-1", 2000, 2000)])),
    "an overcharged invoice": ("invoices_add_up", changed(invoices=[Invoice("INV-1", 400, -100)])),
    "a charge without a posting": ("books_balance", changed(postings=[INVOICE_POSTING])),
    "a charge without an entry": ("journal_is_complete", changed(entries=[INVOICE_ENTRY])),
    "an entry of another invoice": (
        "journal_is_complete",
        changed(entries=[INVOICE_ENTRY, replace(CHARGE_ENTRY, invoice_id="INV-2")]),
    ),
    "a duplicate posting": ("books_balance", added(postings=CHARGE_POSTING)),
    "a posting of another amount": (
        "books_balance",
        changed(postings=[INVOICE_POSTING, replace(CHARGE_POSTING, amount=1)]),
    ),
    "an effect without a key": ("effects_are_recorded", changed(effects=[CHARGE_EFFECT])),
    "a duplicate key": ("effects_are_recorded", added(effects=CHARGE_EFFECT)),
    "a key without a response": (
        "effects_are_recorded",
        added(effects=Effect("run-1", "charge", has_response=False)),
    ),
    "an epoch that the run never had": ("epochs_are_recorded", added(epochs=Epoch("billing", "run-1", 3))),
    "a service without an epoch": ("epochs_are_recorded", changed(epochs=[Epoch("ticketing", "run-1", 2)])),
    "an effect without its event": (
        "effects_are_reported",
        changed(events=[EVENTS[0], replace(CHARGED, effect_key=""), *EVENTS[2:]]),
    ),
    "an effect with the event of another run": (
        "effects_are_reported",
        changed(events=[EVENTS[0], replace(CHARGED, run_id="run-2"), *EVENTS[2:]]),
    ),
    "an effect after the end of its run": (
        "effects_precede_ends",
        changed(commits=Commits([ENDED], [CommittedEffect("run-1", "charge", "key-1", LATER)])),
    ),
    "an effect after the end of its run, which reports it as made": (
        "effects_precede_ends",
        changed(
            runs=[replace(RUN, status=RunStatus.CANCELLED)],
            requests=[replace(REQUEST, ends=(RunStatus.CANCELLED,))],
            events=[
                EVENTS[0],
                replace(CHARGED, has_response=True),
                EVENTS[2],
                replace(EVENTS[3], status=RunStatus.CANCELLED),
            ],
            commits=Commits(
                [replace(ENDED, status=RunStatus.CANCELLED)], [CommittedEffect("run-1", "charge", "key-1", LATER)]
            ),
        ),
    ),
    "a gap in the events": ("events_are_gapless", changed(events=[EVENTS[0], *EVENTS[2:]])),
    "missing first events": ("events_are_gapless", changed(events=EVENTS[1:])),
    "a row with another number": (
        "events_are_gapless",
        changed(events=[*EVENTS[:3], replace(EVENTS[3], is_indexed=False)]),
    ),
    "an event after last_seq": ("events_are_gapless", added(events=Event("run-1", 5, NOW, None))),
    "an event after the final status": (
        "ends_once",
        changed(runs=[replace(RUN, last_seq=5)], events=[*EVENTS, Event("run-1", 5, NOW, None)]),
    ),
    "two final statuses": (
        "ends_once",
        changed(runs=[replace(RUN, last_seq=5)], events=[*EVENTS, Event("run-1", 5, NOW, RunStatus.SUCCESS)]),
    ),
    "an end without its event": ("ends_once", changed(events=[*EVENTS[:3], Event("run-1", 4, NOW, None)])),
    "another final status than the row's": (
        "ends_once",
        changed(events=[*EVENTS[:3], Event("run-1", 4, NOW, RunStatus.ERROR)]),
    ),
    "two acknowledged answers": ("answered_once", replace(APPROVED, answers=[*APPROVED.answers, *APPROVED.answers])),
    "an inverted answer": ("answered_once", replace(APPROVED, answers=REFUSED.answers)),
    "a lost answer": ("answered_once", replace(REFUSED, approvals=[])),
    "a charge without an approval": (
        "charges_are_approved",
        replace(APPROVED, effects=[CHARGE_EFFECT, TICKET_EFFECT]),
    ),
    "a charge with a denied approval": ("charges_are_approved", replace(APPROVED, approvals=[DENIED])),
    "a charge with another run's approval": (
        "charges_are_approved",
        replace(APPROVED, approvals=[replace(GRANTED, run_id="run-2")]),
    ),
    "an approval used twice": (
        "charges_are_approved",
        replace(APPROVED, effects=[APPROVED_EFFECT, replace(TICKET_EFFECT, approval_id="apr-1")]),
    ),
    "a charge left out": (
        "uncharged_runs_were_denied",
        replace(REFUSED, approvals=[replace(DENIED, status=ApprovalStatus.APPROVED)]),
    ),
    "a charge despite a denial": ("charged_once", replace(REFUSED, charges=APPROVED.charges)),
    "two charges of a cancelled run": ("charged_once", replace(cancelled([]), charges=[*CORRECT.charges] * 2)),
    "two tickets of a cancelled run": ("ticketed_once", replace(cancelled([]), tickets=[*CORRECT.tickets] * 2)),
    "an effect of a cancelled run without the one before": ("effects_are_recorded", cancelled([TICKET_EFFECT])),
    "a duplicate effect of a cancelled run": ("effects_are_recorded", cancelled([CHARGE_EFFECT, CHARGE_EFFECT])),
    "a cancelled run that no client may cancel": (
        "every_run_ends",
        replace(cancelled([]), requests=[REQUEST]),
    ),
    "an event of an effect that did not happen": (
        "reported_effects_exist",
        changed(events=[*EVENTS[:2], replace(EVENTS[2], effect_key="key-3", has_response=True), EVENTS[3]]),
    ),
    "a read that goes back": (
        "threads_are_linearizable",
        observed(CREATED, read(RunStatus.SUCCESS, 4), read(RunStatus.RUNNING, 3, at=1)),
    ),
    "a received event that is not stored": (
        "streams_are_stored",
        observed(received=[received(1), received(2, node="other")]),
    ),
    "a received event after the last": ("streams_are_stored", observed(received=[received(1, run_id="run-2")])),
    "an event that is not received": ("streams_are_stored", observed(received=[received(1), received(3)])),
    "an event that is received twice": ("streams_are_stored", observed(received=[received(1), received(1)])),
    "a cancellation without an end": (
        "cancellations_hold",
        observed(CREATED, CANCELLED, read(RunStatus.RUNNING, 2, at=CANCELLED_WITHIN_SECONDS + 1)),
    ),
    "two answers to a question": (
        "answers_are_used",
        observed(resumptions=[Resumption("request-1", "yes"), Resumption("request-1", "no")]),
    ),
    "an answer that the run did not get": ("answers_are_used", observed(resumptions=[Resumption("request-1", "yes")])),
    "an error of a defective server": ("no_defects", observed(defects=["INTERNAL"])),
    "a final status of a hanging run": ("ends_once", changed(runs=[replace(RUN, status=RunStatus.RUNNING)])),
}


@pytest.mark.parametrize("violation", VIOLATIONS)
def test_finds_each_violation(violation: str) -> None:
    """By the invariant that it violates, with a detail."""
    invariant, history = VIOLATIONS[violation]
    found = [violation for violation in check(history) if violation.invariant == invariant]
    assert found
    assert all(violation.detail for violation in found)


def test_each_invariant_has_a_violation() -> None:
    """Every invariant is proven to fail."""
    invariants: list[Callable[..., Any]] = list(INVARIANTS)
    assert {invariant.__name__ for invariant in invariants} == {invariant for invariant, _ in VIOLATIONS.values()}
