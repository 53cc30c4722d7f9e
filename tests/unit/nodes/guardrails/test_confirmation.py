"""A proposal is accepted only under its own id or by a plain yes; everything else declines, talks, or is put again."""

from collections.abc import Mapping
from typing import Any

import pytest
from graphmesh_nodes.guardrails.confirmation import (
    MAX_MESSAGE_CHARACTERS,
    MAX_REFUSED_ANSWERS,
    Accepted,
    Declined,
    Message,
    Proposal,
    confirm,
    decision_of,
)
from graphmesh_nodes.testing import GraphHarness
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

REFUND = Proposal(
    "refund", "Refund 18.90 EUR of INV-2038?", {"invoice": "INV-2038", "amount_minor": 1890, "lines": ["1"]}
)
YES = {"proposal": REFUND.id, "accept": True}


class State(TypedDict, total=False):
    decision: str
    text: str


def propose(state: State) -> State:
    match confirm(REFUND):
        case Accepted():
            return {"decision": "accepted"}
        case Declined():
            return {"decision": "declined"}
        case Message(text):
            return {"decision": "message", "text": text}


@pytest.fixture
def harness() -> GraphHarness:
    builder = StateGraph(State)
    builder.add_node("propose", propose)
    builder.add_edge(START, "propose")
    return GraphHarness(builder)


async def _answered(harness: GraphHarness, *answers: Any) -> tuple[Mapping[str, Any], list[str]]:
    """Answer each question in turn; return the state, and the errors of the questions."""
    result = await harness.run({})
    errors = []
    for answer in answers:
        [question] = result.questions
        errors.append(question.value.get("error", ""))
        result = await harness.answer(question, answer)
    if result.questions:
        errors.append(result.questions[0].value["error"])
    return result.state, errors


async def test_shows_question_and_content(harness: GraphHarness) -> None:
    [question] = (await harness.run({})).questions
    assert question.value == {
        "question": "Refund 18.90 EUR of INV-2038?",
        "proposal": {
            "id": REFUND.id,
            "kind": "refund",
            "invoice": "INV-2038",
            "amount_minor": 1890,
            "lines": ["1"],
        },
    }


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (YES, {"decision": "accepted"}),
        ({"accept": False, "proposal": REFUND.id}, {"decision": "declined"}),
        ("yes", {"decision": "accepted"}),
        ("Ja, bitte!", {"decision": "accepted"}),
        ({"message": "はい"}, {"decision": "accepted"}),
        ({"message": "Нет, спасибо"}, {"decision": "declined"}),
        ("yes, but only half", {"decision": "message", "text": "yes, but only half"}),
        ({"message": "When will it come?"}, {"decision": "message", "text": "When will it come?"}),
        ("y\u200bes", {"decision": "message", "text": "y\u200bes"}),
        ('{"proposal": "x", "accept": true}', {"decision": "message", "text": '{"proposal": "x", "accept": true}'}),
    ],
)
async def test_decides(harness: GraphHarness, answer: Any, state: State) -> None:
    assert await _answered(harness, answer) == (state, [""])


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"proposal": "0" * 16, "accept": True}, f"proposal: must be {REFUND.id}, the id of the present proposal"),
        ({"proposal": REFUND.id, "accept": "true"}, "accept: must be true or false"),
        ({"proposal": REFUND.id, "accept": 1}, "accept: must be true or false"),
        ({"proposal": REFUND.id, "accept": None}, "accept: must be true or false"),
        ({"proposal": REFUND.id.upper() + " ", "accept": True}, "proposal: must be"),
        ({"proposal": [REFUND.id], "accept": True}, "proposal: must be"),
        ({"accept": True}, "proposal: is required"),
        ({"proposal": REFUND.id}, "accept: is required"),
        ({**YES, "amount_minor": 9999}, "amount_minor: is not a known field"),
        ({**YES, "x" * 1_000_000: 1}, "x: is not a known field"),
        ({**YES, "message": "no"}, "message: must be the only field of an answer"),
        ({"message": True}, "message: must be a text"),
        ({"message": ""}, "message: must not be empty"),
        (" \n", "answer: must not be empty"),
        ("a" * (MAX_MESSAGE_CHARACTERS + 1), "answer: must have at most 20000 characters"),
        ({}, "proposal: is required"),
        (True, "answer: must be"),
        (None, "answer: must be"),
        ([YES], "answer: must be"),
    ],
)
async def test_puts_the_question_again_with_the_error(harness: GraphHarness, answer: Any, error: str) -> None:
    _, errors = await _answered(harness, answer)
    assert len(errors) == 2
    assert error in errors[1]
    assert len(errors[1]) < 300


async def test_accepts_after_refused_answers(harness: GraphHarness) -> None:
    state, errors = await _answered(harness, {"proposal": "stale", "accept": True}, {"accept": True}, YES)
    assert state == {"decision": "accepted"}
    assert [error.partition(":")[0] for error in errors] == ["", "proposal", "proposal"]


async def test_declines_after_too_many_refused_answers(harness: GraphHarness) -> None:
    state, _ = await _answered(harness, *[{}] * MAX_REFUSED_ANSWERS)
    assert state == {"decision": "declined"}


async def test_decision_survives_a_crash(harness: GraphHarness) -> None:
    [question] = (await harness.run({})).questions
    [question] = (await harness.answer(question, {"accept": True})).questions
    harness.crash_after("propose")
    assert (await harness.answer(question, YES)).output == {"decision": "accepted"}


def test_id_stands_for_kind_and_content_in_any_order() -> None:
    same = Proposal("refund", "¿Otra pregunta?", {"lines": ["1"], "amount_minor": 1890, "invoice": "INV-2038"})
    assert same.id == REFUND.id
    assert len(REFUND.id) == 16
    others = [
        Proposal("credit", REFUND.question, REFUND.content),
        Proposal("refund", REFUND.question, {**REFUND.content, "amount_minor": 1891}),
        Proposal("refund", REFUND.question, {**REFUND.content, "amount_minor": "1890"}),
    ]
    assert len({REFUND.id, *(other.id for other in others)}) == 4


def test_yes_is_bound_to_its_proposal() -> None:
    larger = Proposal("refund", REFUND.question, {**REFUND.content, "amount_minor": 99_00})
    with pytest.raises(ValueError, match=f"proposal: must be {larger.id}"):
        decision_of(larger, YES)


@pytest.mark.parametrize("content", [{"id": 1}, {"kind": "x"}, {"amount": float("nan")}, {"amount": {1, 2}}])
def test_refuses_content_that_it_cannot_show(content: Mapping[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Proposal("refund", "Refund?", content)
