"""A graph stops at its breakpoints, and passes each only with an answer."""

import operator
from typing import Annotated, Any

import pytest
from graphmesh_nodes.graph_rules import GraphRuleViolated, check_graph
from graphmesh_nodes.testing import GraphHarness
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict


class State(TypedDict):
    log: Annotated[list[str], operator.add]


def steps(**breakpoints: Any) -> Any:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    for name in ("draft", "check", "send"):
        builder.add_node(name, lambda state, name=name: {"log": [name]})
    builder.add_edge(START, "draft").add_edge("draft", "check").add_edge("check", "send")
    return builder.compile(**breakpoints)


@pytest.mark.parametrize(
    ("breakpoints", "stops"),
    [
        ({"interrupt_before": ["send"]}, [["send"]]),
        ({"interrupt_after": ["draft"]}, [["check"]]),
        ({"interrupt_before": "*"}, [["draft"], ["check"], ["send"]]),
        ({"interrupt_before": ["check"], "interrupt_after": ["check"]}, [["check"], ["send"]]),
        ({"interrupt_after": ["send"]}, []),
    ],
)
async def test_each_breakpoint_is_a_question(breakpoints: dict[str, Any], stops: list[list[str]]) -> None:
    harness = GraphHarness(steps(**breakpoints))
    result = await harness.run({"log": []})
    asked = []
    while result.questions:
        [question] = result.questions
        asked.append(question.value["breakpoint"])
        result = await harness.answer(question, "continue")
    assert asked == stops
    assert (result.status, result.values) == ("success", {"log": ["draft", "check", "send"]})


@pytest.mark.parametrize("breakpoints", [{"interrupt_before": ["check"]}, {"interrupt_after": ["draft"]}])
async def test_death_of_a_worker_does_not_pass_a_breakpoint(breakpoints: dict[str, Any]) -> None:
    harness = GraphHarness(steps(**breakpoints))
    harness.crash_after("draft")
    result = await harness.run({"log": []})
    assert (result.status, {*result.nodes}) == ("interrupted", {"draft"})
    [question] = result.questions
    assert (await harness.answer(question, "yes")).values == {"log": ["draft", "check", "send"]}


def test_breakpoints_of_a_node_are_refused() -> None:
    outer: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    outer.add_node("inner", steps(interrupt_before=["send"]))
    outer.add_edge(START, "inner")
    with pytest.raises(GraphRuleViolated, match="node inner is a graph with breakpoints"):
        check_graph(outer.compile())
