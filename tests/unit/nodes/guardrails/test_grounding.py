"""Answers against their passages: a model judges paraphrases, and never permits another number or a negation."""

import time
from typing import Any

import pytest
from graphmesh_nodes import GraphmeshChatModel
from graphmesh_nodes.guardrails.grounding import ground, has_facts
from graphmesh_nodes.testing import GraphHarness
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

PASSAGES = [
    "Express delivery costs 14.90 EUR and takes two days. It is not available on Sundays.",
    "You may return goods within 30 days. Refunds of invoice INV-2038 go to a card in 3 to 5 days.",
    "Write to help@shop.example or see https://shop.example/returns.",
]


class State(TypedDict, total=False):
    grounded: bool


async def _judged(answer: str, verdict: Any, *, offline: bool = False) -> bool:
    async def check(state: State) -> State:
        return {"grounded": (await ground(answer, PASSAGES, GraphmeshChatModel())).is_grounded}

    builder = StateGraph(State)
    builder.add_node("check", check)
    builder.add_edge(START, "check")
    harness = GraphHarness(builder)
    harness.model_replies(verdict, offline=offline)
    return bool((await harness.run({})).output["grounded"])


@pytest.mark.parametrize(
    "answer",
    [
        "The parcel reaches you after 2 days by the fast service, for 14,90 €.",
        "Vous avez 30 jours pour renvoyer un article.",
        "Money arrives on your card after 3-5 days.",
        "Please contact help@shop.example!",
        "On Sundays nothing is shipped by the fast service.",
    ],
)
async def test_paraphrases_pass_with_a_judge(answer: str) -> None:
    assert await _judged(answer, {"passages": [1]})
    assert not await _judged(answer, {"passages": [0]})


@pytest.mark.parametrize(
    "answer",
    [
        "Express delivery costs 15.90 EUR.",
        "Express delivery takes four days.",
        "Express delivery takes two days. It is available on Sundays.",
        "You may not return goods within 30 days.",
        "You may return goods within 60 days.",
        "Refunds of invoice ORD-2038 go to a card.",
        "Write to help@evil.example.",
        "See https://shop.example.evil/returns.",
        "See www.evil.example.",
        "Call us at +49 30 5550199.",
    ],
)
async def test_no_judge_permits_another_fact_or_a_negation(answer: str) -> None:
    assert not await _judged(answer, {"passages": [1] * answer.count(". ") + [1]})


@pytest.mark.parametrize("verdict", [{"passages": []}, {"passages": [1, 1, 1]}, {"passages": [9]}, "yes", {"ok": True}])
async def test_unusable_judgements_support_nothing_that_words_do_not(verdict: Any) -> None:
    assert not await _judged("Our pens are made of solid gold.", verdict)


@pytest.mark.parametrize(
    "answer", ["18,90", "18.90", "18.9", "1200", "1.200,00", "1,200.00", "2 days", "two", "١٨٫٩٠ ١٢٠٠"]
)
def test_numbers_are_compared_in_any_notation(answer: str) -> None:
    assert has_facts(answer, ["18.90 of 1,200 in zwei Tagen, ١٨٫٩٠"])


async def test_long_texts_take_linear_time() -> None:
    began = time.process_time()
    assert not (await ground("a1-" * 30_000 + "x@" * 30_000, ["1." * 50_000, "\u0301\u0327" * 50_000])).is_grounded
    assert time.process_time() - began < 20
