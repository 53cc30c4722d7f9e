"""Graphs of public kinds run on the mesh as they do in LangGraph alone: each turn has the same output."""

import re
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from graphmesh_client import RemoteGraph
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import StateGraph
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command
from pydantic_core import to_jsonable_python

from tests.integration.orchestrator.mesh import Mesh, serve_billing, serve_orchestrator
from tests.integration.projects import agents, workflows

pytestmark = pytest.mark.asyncio(loop_scope="module")


def says(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


GRAPHS = {
    "swarm": agents.swarm,
    "memory": agents.memory,
    "support": agents.support,
    "person": agents.person,
    "approved": agents.approved,
    "drawing": workflows.drawing,
    "private": workflows.private,
    "jokes": workflows.jokes,
    "cached": workflows.cached,
    "report": workflows.report,
}
DECISION = {"decisions": [{"type": "reject", "message": "no"}]}
TURNS: dict[str, list[Any]] = {
    "swarm": [says("book"), says("more")],
    "memory": [says("tea"), says("what?")],
    "support": [says("cancel"), None, says("again")],
    "person": [says("help"), Command(resume={"name": "Ada"}), says("more"), Command(resume={"name": "Bob"})],
    "approved": [
        says("delete"),
        Command(resume={"decisions": [{"type": "approve"}]}),
        says("x"),
        Command(resume=DECISION),
    ],
    "drawing": [{"title": "a"}, {"title": "b"}],
    "private": [{"asked": "a"}, Command(resume="yes")],
    "jokes": [{"subjects": ["cats", "dogs"]}, {"subjects": ["bees"]}],
    "cached": [says("hi"), says("hi")],
    "report": [3, Command(resume="yes"), 4, Command(resume="no")],
}
CONFIGURABLE = {"langgraph_user_id": "ada", "passenger_id": "p7"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    """An orchestrator with the graphs, of which two are in one project with a key that is not supported."""
    folder = tmp_path_factory.mktemp("projects")
    for name in GRAPHS:
        module = "agents" if hasattr(agents, name) else "workflows"
        (folder / f"{name}.py").write_text(f"from tests.integration.projects.{module} import {name} as graph\n")
    (folder / "remote_tools.py").write_text("from tests.integration.projects.agents import remote_tools as graph\n")
    keys = {"auth": {"path": "./auth.py:auth"}, "dependencies": ["."]}
    async with (
        serve_billing(folder) as billing,
        serve_orchestrator(folder, billing, keys=keys, without=["auth"]) as mesh,
    ):
        yield mesh


def local(name: str) -> Any:
    graph: Any = GRAPHS[name]
    compiled = graph.compile() if isinstance(graph, StateGraph) else graph
    return compiled.copy(update={"checkpointer": InMemorySaver(), "store": InMemoryStore(), "cache": InMemoryCache()})


def comparable(output: Any) -> Any:
    """Return an output as JSON, without the ids of messages, and with the values of interrupts alone.

    A breakpoint has a question here; LangGraph alone shows none.
    """
    output = dict(output) if isinstance(output, dict) else output.model_dump()
    asked = [one.value for one in output.pop("__interrupt__", [])]
    questions = [one for one in asked if not isinstance(one, dict) or "breakpoint" not in one]
    shown = to_jsonable_python({**output, "asked": questions}, fallback=lambda value: type(value).__name__)
    return without_ids({key: value for key, value in shown.items() if value is not None})


def without_ids(value: Any) -> Any:
    if isinstance(value, dict):
        left_out = ("id", "connection", "additional_kwargs", "response_metadata", "usage_metadata")
        return {key: without_ids(one) for key, one in value.items() if key not in left_out}
    if isinstance(value, list):
        return [without_ids(one) for one in value]
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "", value) if isinstance(value, str) else value


async def outputs(graph: Any, turns: list[Any]) -> list[Any]:
    config = {"configurable": {"thread_id": uuid4().hex, **CONFIGURABLE}}
    return [comparable(await graph.ainvoke(turn, config)) for turn in turns]


@pytest.mark.parametrize("name", GRAPHS)
async def test_turns_have_the_outputs_of_langgraph_alone(served: Mesh, name: str) -> None:
    remote = [{"number": turn} if isinstance(turn, int) else turn for turn in TURNS[name]]
    assert await outputs(RemoteGraph(served.client, name), remote) == await outputs(local(name), TURNS[name])


async def test_graph_of_a_factory_is_that_of_its_run_and_of_its_thread(served: Mesh) -> None:
    """The state of the thread is read with the graph that the factory makes for the run's config."""
    graph = RemoteGraph(served.client, "remote_tools")
    config: Any = {"configurable": {"thread_id": "made", "unit": "km"}}
    output = await graph.ainvoke(says("add"), config)
    assert [message["content"] for message in output["messages"]] == ["add", "", "3 km", "added"]
    state = await graph.aget_state(config)
    assert (state.values["messages"], state.next) == (output["messages"], ())
    assert [one.next async for one in graph.aget_state_history(config)][-1] == ("__start__",)
