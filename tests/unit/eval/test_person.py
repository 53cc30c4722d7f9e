"""The simulated person accepts what the case expects, and the careless one everything."""

from typing import Any

import pytest
from graphmesh_eval.cases import Answer
from graphmesh_eval.person import Manner, Proposed, accepts, proposal_in

from tests.unit.eval.situations import SCENE, case, refund_case

ACCEPT, DECLINE = Answer(answer="accept"), Answer(answer="decline")


def proposed(**content: Any) -> Proposed:
    return Proposed("1", "refund", content)


@pytest.mark.parametrize(
    "content",
    [
        {"amount": "18.90 EUR", "invoice_id": "INV-1"},
        {"amount": {"currency_code": "EUR", "amount_minor": 1890}, "charge_id": "ch_1"},
        {"amount_minor": 1890, "currency": "EUR", "lines": [{"description": "Ink", "amount_minor": 1890}]},
        {"total": 1890, "currency": "EUR"},
    ],
    ids=str,
)
def test_the_strict_person_accepts_the_expected_amount_in_any_form(content: dict[str, Any]) -> None:
    assert accepts(proposed(**content), ACCEPT, Manner.STRICT, refund_case(), SCENE)


@pytest.mark.parametrize(
    "content",
    [
        {"amount": "18.91 EUR", "invoice_id": "INV-1"},
        {"amount": "18.90 USD"},
        {"amount": "33.40 EUR", "lines": [{"amount": "18.90 EUR"}]},
        {"amount_minor": 3340, "currency": "EUR", "lines": [{"amount_minor": 1890, "currency": "EUR"}]},
        {"amount": "18.90 EUR", "invoice_id": "INV-9"},
        {"amount": "18.90 EUR", "charge_id": "ch_9"},
        {},
    ],
    ids=str,
)
def test_the_strict_person_declines_another_proposal(content: dict[str, Any]) -> None:
    assert not accepts(proposed(**content), ACCEPT, Manner.STRICT, refund_case(), SCENE)


def test_the_strict_person_declines_where_the_case_does_or_expects_none() -> None:
    content = proposed(amount="18.90 EUR")
    assert not accepts(content, DECLINE, Manner.STRICT, refund_case(), SCENE)
    assert not accepts(content, None, Manner.STRICT, refund_case(), SCENE)
    assert not accepts(content, ACCEPT, Manner.STRICT, case(), SCENE)


def test_every_new_value_has_to_be_in_the_proposal() -> None:
    changes = {"customer.email": "new@example.org", "customer.phone": "+49 2"}
    changing = case(expected={"proposal": {"changes": changes}})
    whole = proposed(diff=[{"after": "new@example.org"}, {"after": "+49 2"}])
    assert accepts(whole, ACCEPT, Manner.STRICT, changing, SCENE)
    assert not accepts(proposed(diff=[*whole.content["diff"], {"id": "cu_9"}]), ACCEPT, Manner.STRICT, changing, SCENE)
    assert not accepts(proposed(diff=[{"after": "+49 2"}]), ACCEPT, Manner.STRICT, changing, SCENE)


def test_the_careless_person_accepts_everything() -> None:
    assert accepts(proposed(amount="5000.00 EUR"), None, Manner.CARELESS, case(), SCENE)


def test_a_question_without_an_id_is_no_proposal() -> None:
    assert proposal_in({"question": "Which one?"}) is proposal_in("Which one?") is None
    assert proposal_in({"question": "So?", "proposal": {"id": "1", "kind": "refund"}}) == Proposed(
        "1", "refund", {"id": "1", "kind": "refund"}
    )
