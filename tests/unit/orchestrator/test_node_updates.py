"""Events show what a node has written, and not how LangGraph records it."""

import operator
from typing import Annotated, Any

import pytest
from graphmesh_orchestrator.runs.events import EventKind
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Overwrite
from typing_extensions import TypedDict

from tests.unit.orchestrator.memory_orchestrator import open_orchestrator
from tests.unit.orchestrator.test_executor import a_run


class State(TypedDict):
    log: Annotated[list[str], operator.add]


@pytest.mark.parametrize(
    ("written", "shown", "log"),
    [
        ({"log": ["b"]}, {"log": ["b"]}, ["a", "b"]),
        ({"log": Overwrite(["b"])}, {"log": ["b"]}, ["b"]),
        ({"log": {"__overwrite__": ["b"]}}, {"log": ["b"]}, ["b"]),
        (
            [Command(update={"log": ["b"]}), Command(update={"log": ["c"]})],
            {"log": [["b"], ["c"]]},
            ["a", "b", "c"],
        ),
    ],
)
async def test_update_has_no_marks_of_langgraph(written: Any, shown: Any, log: list[str]) -> None:
    graph: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    graph.add_node("write", lambda state: written)
    graph.add_edge(START, "write")
    async with open_orchestrator(graph) as here:
        run = await here.worker().execute(a_run(input={"log": ["a"]}))
        [finished] = [event for event in await here.events(run) if event.kind is EventKind.NODE_FINISHED]
        assert (finished.data["update"], run.state.output) == (shown, {"log": log})
