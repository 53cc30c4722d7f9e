"""A graph that returns its input."""

from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict


class State(TypedDict):
    text: str


def echo(state: State) -> State:
    return state


graph = StateGraph(State)
graph.add_node("echo", echo)
graph.add_edge(START, "echo")
