"""What nodes record of their decisions, in the test kit as in the mesh, and nothing that would change them."""

from typing import Any, cast

import pytest
from graphmesh_nodes import Escalated, RouteTaken, Validated, record_escalation, record_validation, routed
from graphmesh_nodes.decisions import short, shown
from graphmesh_nodes.testing import GraphHarness
from langchain_core.runnables import RunnableLambda
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send
from pydantic import BaseModel
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    amount: int


class Typed(BaseModel):
    amount: int = 0


def check(state: State) -> State:
    record_validation("amount", ["too_high"])
    record_escalation("too_high", to="accounting")
    return {}


async def after(state: Any) -> str:
    return END


def graph(condition: Any, schema: Any = State) -> StateGraph[Any, Any, Any, Any]:
    built = StateGraph(schema)
    built.add_node("check", check)
    built.add_edge(START, "check")
    built.add_conditional_edges("check", condition, [END, "check"])
    return built


async def test_the_test_kit_has_decisions_in_order() -> None:
    result = await GraphHarness(graph(routed(after, "amount"))).run({"amount": 5})
    assert list(result.decisions) == [
        Validated("check", (), "amount", ("too_high",)),
        Escalated("check", (), "too_high", "accounting"),
        RouteTaken("check", (), "after", (END,), {"amount": "5"}),
    ]
    assert result.custom_events == []


async def test_members_of_a_typed_state_are_shown() -> None:
    result = await GraphHarness(graph(routed(after, "amount"), Typed)).run({"amount": 5})
    [taken] = [one for one in result.decisions if isinstance(one, RouteTaken)]
    assert taken.looked_at == {"amount": "5"}


def test_a_routed_condition_takes_the_same_branch() -> None:
    """Of whatever LangGraph takes from a condition, with the same name and types."""

    def chooses(state: State, config: Any = None) -> Any:
        return state

    wrapped: Any = routed(chooses, "amount")
    assert (wrapped.__name__, wrapped.__annotations__) == (chooses.__name__, chooses.__annotations__)
    for chosen in ("a", ["a", "b"], ("a",), [Send("a", {})], True):
        assert list(wrapped(chosen)) == (list(chosen) if isinstance(chosen, list | tuple) else [chosen])


def test_a_condition_that_is_no_function_is_refused() -> None:
    with pytest.raises(TypeError, match="takes a function"):
        routed(cast(Any, RunnableLambda(lambda state: END)))


def test_nothing_is_recorded_outside_of_a_run() -> None:
    record_validation("amount", ["too_high"])
    record_escalation("too_high")


async def test_faults_that_are_one_text_are_refused() -> None:
    """Its characters would be the faults."""

    def wrong(state: State) -> State:
        record_validation("amount", "too_high")
        return {}

    built = StateGraph(State)
    built.add_node("wrong", wrong)
    built.add_edge(START, "wrong")
    with pytest.raises(TypeError, match="several texts"):
        await GraphHarness(built).run({})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "null"),
        (True, "true"),
        (3, "3"),
        (0.1, "0.1"),
        (float("nan"), "nan"),
        ("ink", "ink"),
        ([1, 2], "[2]"),
        ({"a": 1}, "[1]"),
        ({1, 2, 3}, "[3]"),
        (b"ink", "[3]"),
        (Typed(), "Typed"),
        ("\ud800", "?"),
        (10**30, "1" + "0" * 30),
    ],
)
def test_values_are_shown_in_a_short_form(value: Any, expected: str) -> None:
    assert shown(value) == expected


def test_texts_are_redacted_before_they_are_cut_off() -> None:
    assert "4111" not in short(f"{'x' * 190} 4111 1111 1111 1111")
    assert len(short("x" * 10**6)) == 200
