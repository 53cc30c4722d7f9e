"""Runs another graph of the mesh in its node."""

from typing import Any

from graphmesh_client import Client, RemoteGraph
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

ADDRESS: list[str] = []
"""The address of the orchestrator, once it is known."""


class State(TypedDict, total=False):
    text: str
    amount: float
    notes: list[str]


async def delegate(state: State) -> dict[str, Any]:
    async with Client(ADDRESS[0], retry_timeout=60) as client:
        output: dict[str, Any] = await RemoteGraph(client, "deciding").ainvoke(state)
    return {"notes": output["notes"]}


graph = StateGraph(State)
graph.add_node("delegate", delegate)
graph.add_edge(START, "delegate")
