"""A graph of many supersteps, which only computes."""

from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

STEPS = 40


class State(TypedDict):
    text: str
    count: int


async def step(state: State) -> dict[str, int]:
    return {"count": state.get("count", 0) + 1}


def is_done(state: State) -> str:
    return END if state["count"] >= STEPS else "step"


graph = StateGraph(State)
graph.add_node("step", step)
graph.add_edge(START, "step")
graph.add_conditional_edges("step", is_done)
