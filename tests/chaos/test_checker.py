"""The rules of the checker: each finds what breaks it, and nothing in what is sound."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from graphmesh_chaos.checker import RULES, check
from graphmesh_chaos.facts import (
    Answer,
    Approval,
    Charge,
    Effect,
    Epoch,
    Event,
    Facts,
    Invoice,
    Order,
    Posting,
    Run,
    Ticket,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ORDER = Order("request-1", "INV-1", "cu_1", 500, answers=("run-1", "run-1"))
RUN = Run("run-1", "request-1", "success", "ch-1", "T-1", last_seq=3, epoch=2)
EVENTS = [
    Event("run-1", 1, NOW, "running"),
    Event("run-1", 2, NOW, ""),
    Event("run-1", 3, NOW, "success"),
]
BILLED = Posting("receivable", "revenue", 2000, "INV-1")
PAID = Posting("cash", "receivable", 500, "ch-1")
CHARGED = Effect("run-1", "charge", settled=True)
SOUND = Facts(
    orders=[ORDER],
    runs=[RUN],
    events=EVENTS,
    invoices=[Invoice("INV-1", 2000, 1500)],
    charges=[Charge("ch-1", "INV-1", 500)],
    postings=[BILLED, PAID],
    tickets=[Ticket("T-1", "cu_1")],
    effects=[CHARGED, Effect("run-1", "ticket", settled=True)],
    epochs=[Epoch("billing", "run-1", 1), Epoch("ticketing", "run-1", 2)],
    approvals=[],
    answers=[],
)
YES, NO = Approval("apr-1", "run-1", "approved"), Approval("apr-1", "run-1", "denied")
AGREED = replace(CHARGED, approval_id="apr-1")
TICKETED = Effect("run-1", "ticket", settled=True)
DEAR = replace(ORDER, amount=60_00)
ASKING = replace(
    SOUND,
    orders=[DEAR],
    invoices=[Invoice("INV-1", 240_00, 180_00)],
    charges=[Charge("ch-1", "INV-1", 60_00)],
    postings=[replace(BILLED, amount=240_00), replace(PAID, amount=60_00)],
    effects=[AGREED, TICKETED],
    approvals=[YES],
    answers=[Answer("apr-1", "approved")],
)
"""A run whose charge a person has agreed to."""
REFUSED = replace(
    ASKING,
    runs=[replace(RUN, charge_id="")],
    invoices=[Invoice("INV-1", 240_00, 240_00)],
    charges=[],
    postings=[replace(BILLED, amount=240_00)],
    effects=[TICKETED],
    epochs=[Epoch("ticketing", "run-1", 2)],
    approvals=[NO],
    answers=[Answer("apr-1", "denied")],
)
"""A run whose charge a person has refused."""


def having(**changed: Any) -> Facts:
    return replace(SOUND, **changed)


def adding(**added: Any) -> Facts:
    return replace(SOUND, **{name: [*getattr(SOUND, name), item] for name, item in added.items()})


def broken(facts: Facts) -> set[str]:
    return {violation.rule for violation in check(facts)}


def test_what_is_sound_breaks_nothing() -> None:
    """Two answers that name one run are one run; a run of an epoch that billing never saw is sound too."""
    assert check(SOUND) == []


@pytest.mark.parametrize("facts", [ASKING, REFUSED, replace(ASKING, answers=[])], ids=["agreed", "refused", "untold"])
def test_what_a_person_has_decided_breaks_nothing(facts: Facts) -> None:
    """An answer may hold without its sender being told."""
    assert check(facts) == []


def test_nothing_is_sound() -> None:
    """A request that nobody has answered need not have made a run."""
    nothing = Facts([replace(ORDER, answers=())], *([] for _ in range(10)))
    assert check(nothing) == []


BREAKS: dict[str, tuple[str, Facts]] = {
    "a second run of a request": ("one_run_a_request", adding(runs=replace(RUN, run_id="run-2"))),
    "an answer without its run": ("one_run_a_request", having(orders=[replace(ORDER, answers=("run-1", "run-2"))])),
    "a run that is lost": ("one_run_a_request", having(runs=[])),
    "a run of nobody": ("one_run_a_request", adding(runs=replace(RUN, run_id="run-2", request_id=""))),
    "a run that failed": ("every_run_succeeds", having(runs=[replace(RUN, status="error")])),
    "a run that is parked": ("every_run_succeeds", having(runs=[replace(RUN, status="interrupted")])),
    "a run that hangs": ("every_run_succeeds", having(runs=[replace(RUN, status="running")])),
    "a charge made twice": ("charged_once", adding(charges=Charge("ch-2", "INV-1", 500))),
    "a charge that is lost": ("charged_once", having(charges=[])),
    "a charge over another amount": ("charged_once", having(charges=[Charge("ch-1", "INV-1", 400)])),
    "a charge that the run does not know": ("charged_once", having(charges=[Charge("ch-2", "INV-1", 500)])),
    "a charge of a run that failed": ("charged_once", having(runs=[replace(RUN, status="error")])),
    "a charge of no run": ("charged_once", adding(charges=Charge("ch-2", "INV-2", 500))),
    "a ticket opened twice": ("ticketed_once", adding(tickets=Ticket("T-2", "cu_1"))),
    "a ticket that is lost": ("ticketed_once", having(tickets=[])),
    "a ticket that the run does not know": ("ticketed_once", having(tickets=[Ticket("T-2", "cu_1")])),
    "a ticket of no run": ("ticketed_once", adding(tickets=Ticket("T-2", "cu_2"))),
    "an invoice that is not reduced": ("invoices_add_up", having(invoices=[Invoice("INV-1", 2000, 2000)])),
    "an invoice overcharged": ("invoices_add_up", having(invoices=[Invoice("INV-1", 400, -100)])),
    "a charge that is not posted": ("books_balance", having(postings=[BILLED])),
    "a charge posted twice": ("books_balance", adding(postings=PAID)),
    "a posting over another amount": ("books_balance", having(postings=[BILLED, replace(PAID, amount=1)])),
    "an effect without its key": ("effects_are_recorded", having(effects=[CHARGED])),
    "a key too many": ("effects_are_recorded", adding(effects=CHARGED)),
    "a key without a response": ("effects_are_recorded", adding(effects=Effect("run-1", "charge", settled=False))),
    "an epoch that never was": ("epochs_are_seen", adding(epochs=Epoch("billing", "run-1", 3))),
    "a service that saw no epoch": ("epochs_are_seen", having(epochs=[Epoch("ticketing", "run-1", 2)])),
    "a gap in the events": ("events_are_gapless", having(events=[EVENTS[0], EVENTS[2]])),
    "events that begin late": ("events_are_gapless", having(events=EVENTS[1:])),
    "an event after the run's last": ("events_are_gapless", adding(events=Event("run-1", 4, NOW, ""))),
    "an event after the end": (
        "ends_once",
        having(runs=[replace(RUN, last_seq=4)], events=[*EVENTS, Event("run-1", 4, NOW, "")]),
    ),
    "two ends": (
        "ends_once",
        having(runs=[replace(RUN, last_seq=4)], events=[*EVENTS, Event("run-1", 4, NOW, "success")]),
    ),
    "an end that the events do not tell": ("ends_once", having(events=[*EVENTS[:2], Event("run-1", 3, NOW, "")])),
    "another end than the row's": ("ends_once", having(events=[*EVENTS[:2], Event("run-1", 3, NOW, "error")])),
    "two answers that hold": ("answered_once", replace(ASKING, answers=[*ASKING.answers, *ASKING.answers])),
    "an answer that is turned round": ("answered_once", replace(ASKING, answers=REFUSED.answers)),
    "an answer that is lost": ("answered_once", replace(REFUSED, approvals=[])),
    "a charge that nobody was asked for": ("agreed_to", replace(ASKING, effects=[CHARGED, TICKETED])),
    "a charge that nobody agreed to": ("agreed_to", replace(ASKING, approvals=[NO])),
    "a charge with another run's approval": ("agreed_to", replace(ASKING, approvals=[replace(YES, run_id="run-2")])),
    "an approval used twice": ("agreed_to", replace(ASKING, effects=[AGREED, replace(TICKETED, approval_id="apr-1")])),
    "a charge left out": ("denied_or_done", replace(REFUSED, approvals=[replace(NO, status="approved")])),
    "a charge although refused": ("charged_once", replace(REFUSED, charges=ASKING.charges)),
    "an end of a run that hangs": ("ends_once", having(runs=[replace(RUN, status="running")])),
}


@pytest.mark.parametrize("breach", BREAKS)
def test_each_breach_is_found(breach: str) -> None:
    """By the rule that is about it, and the violation says what is wrong."""
    rule, facts = BREAKS[breach]
    found = [violation for violation in check(facts) if violation.rule == rule]
    assert found
    assert all(violation.what for violation in found)


def test_each_rule_has_a_breach() -> None:
    """No rule is without a proof that it can fail."""
    names: list[Callable[..., Any]] = list(RULES)
    assert {rule.__name__ for rule in names} == {rule for rule, _ in BREAKS.values()}
