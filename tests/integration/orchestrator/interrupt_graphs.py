"""Graphs that interrupt, graphs that wait at a gate, and graphs that use a budget."""

import operator
from typing import Annotated, Any

from graphmesh_nodes import run_context
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

from tests.integration.orchestrator.gates import GATES, PASSED


class Input(TypedDict):
    name: str


class State(Input, total=False):
    notes: Annotated[list[str], operator.add]


def _interrupt_twice(state: State) -> dict[str, Any]:
    """Interrupt twice, one after the other."""
    first = interrupt({"ask": "how many?"})
    second = interrupt("sure?")
    return {"notes": [f"{first}, {second}"]}


def _interrupt(question: str) -> Any:
    def node(state: State) -> dict[str, Any]:
        return {"notes": [f"{question} {interrupt(question)}"]}

    return node


async def _pass_gate(state: State) -> dict[str, Any]:
    await GATES[state["name"]].wait()
    PASSED.append(state["name"])
    return {"notes": [state["name"]]}


def _chain(**nodes: Any) -> StateGraph[State, None, Input]:
    graph = StateGraph(State, input_schema=Input)
    before = START
    for name, node in nodes.items():
        graph.add_node(name, node)
        graph.add_edge(before, name)
        before = name
    graph.add_edge(before, END)
    return graph


ask_twice = _chain(note=lambda state: {"notes": ["begun"]}, ask=_interrupt_twice, end=lambda state: {"notes": ["done"]})

ask_both = StateGraph(State, input_schema=Input)
for side in ("left", "right"):
    ask_both.add_node(side, _interrupt(side))
    ask_both.add_edge(START, side)
    ask_both.add_edge(side, "end")
ask_both.add_node("end", lambda state: {"notes": ["done"]})


class Private(State, total=False):
    mine: str


ask_private = StateGraph(Private, input_schema=Input, output_schema=State)
ask_private.add_node("note", lambda state: {"mine": "hidden", "notes": ["begun"]})
ask_private.add_node("ask", _interrupt("sure?"))
ask_private.add_edge(START, "note")
ask_private.add_edge("note", "ask")

_inner = _chain(ask=_interrupt("deep")).compile()
ask_nested = _chain(inner=_inner, end=lambda state: {"notes": ["done"]})
ask_invoked = _chain(outer=lambda state: _inner.invoke(state), end=lambda state: {"notes": ["done"]})


async def _block(state: State) -> Any:
    return _inner.invoke(state)


ask_blocking = _chain(outer=_block)


def _write_step(state: State) -> dict[str, Any]:
    get_stream_writer()({"step": "inner"})
    return {"notes": ["inner"]}


nested = _chain(inner=_chain(step=_write_step).compile(), end=lambda state: {"notes": ["done"]})

gated = _chain(gate=_pass_gate, end=lambda state: {"notes": ["done"]})


async def _think(state: State) -> dict[str, Any]:
    """Record a model call of 60 input and 40 output tokens, for 500 millionths of a dollar."""
    run_context().budget.require_model_budget()
    run_context().budget.record_model_call(60, 40, 500)
    return {"notes": ["thought"]}


thinking = _chain(one=_think, two=_think, three=_think)
