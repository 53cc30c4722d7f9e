"""The context and the configurable of a run reach its nodes, also when another process resumes it."""

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.errors import InvalidInput
from graphmesh_client import RemoteGraph
from graphmesh_contracts import struct_value
from langchain_core.runnables import RunnableConfig
from langgraph.types import Command

from tests.integration.orchestrator.mesh import serve_billing, serve_orchestrator

GRAPH = """
from dataclasses import dataclass
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import interrupt
from typing_extensions import TypedDict

class State(TypedDict):
    name: str

@dataclass
class Context:
    tone: str
    loud: bool = False

def greet(state: State, config: RunnableConfig, runtime: Runtime[Context]):
    mark = interrupt("which mark?")
    context, user = runtime.context, config["configurable"]["user"]
    return {"name": f"{context.tone} {state['name']} from {user}{mark if context.loud else ''}"}

graph = StateGraph(State, context_schema=Context)
graph.add_node("greet", greet)
graph.add_edge(START, "greet")
"""


async def test_nodes_have_the_context_after_a_restart(tmp_path: Path) -> None:
    (tmp_path / "greeting.py").write_text(GRAPH)
    options: dict[str, Any] = {"context": {"tone": "dear", "loud": True}, "configurable": {"user": "ada"}}
    async with serve_billing(tmp_path) as billing:
        async with serve_orchestrator(tmp_path, billing) as mesh:
            parked = await mesh.wait(await mesh.client.create_run("greeting", {"name": "x"}, **options))
        async with serve_orchestrator(tmp_path, billing) as mesh:
            [question] = parked.interrupts
            await mesh.resume(parked, {question.interrupt_id: "!"})
            ended = await mesh.wait(parked)
    assert struct_value(ended.output) == {"name": "dear x from ada!"}


async def test_other_contexts_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "greeting.py").write_text(GRAPH)
    async with serve_billing(tmp_path) as billing, serve_orchestrator(tmp_path, billing) as mesh:
        for options, fields in (
            ({"context": {}}, ["context.tone"]),
            ({"context": {"tone": 1, "colour": "red"}}, ["context.tone", "context.colour"]),
            ({"context": {"tone": "dear"}, "configurable": {"thread_id": "x"}}, ["configurable.thread_id"]),
        ):
            request = json_format.ParseDict(
                {"graph": "greeting", "input": {"name": "x"}, **options}, pb.CreateRunRequest()
            )
            with pytest.raises(InvalidInput) as refused:
                await mesh.call(pb.RunService.CreateRun, request)
            assert sorted(violation.field for violation in refused.value.violations) == sorted(fields)
        with pytest.raises(InvalidInput):
            await mesh.client.create_run("pay", {"invoice_id": "in_1", "amount": 1}, context={"tone": "dear"})
        [graph] = [graph for graph in await mesh.client.list_graphs() if graph.name == "greeting"]
        assert struct_value(graph.context_schema)["required"] == ["tone"]


async def test_remote_graph_passes_context_configurable_and_breakpoints(tmp_path: Path) -> None:
    (tmp_path / "greeting.py").write_text(GRAPH)
    config: RunnableConfig = {"configurable": {"thread_id": "t", "user": "ada", "connection": object()}}
    async with serve_billing(tmp_path) as billing, serve_orchestrator(tmp_path, billing) as mesh:
        graph = RemoteGraph(mesh.client, "greeting")
        options: dict[str, Any] = {"context": {"tone": "dear"}, "interrupt_before": "greet"}
        [question] = (await graph.ainvoke({"name": "x"}, config, **options))["__interrupt__"]
        assert question.value == {"breakpoint": ["greet"]}
        [question] = (await graph.ainvoke(Command(resume="on"), config))["__interrupt__"]
        assert question.value == "which mark?"
        assert (await graph.ainvoke(Command(resume="!"), config))["name"] == "dear x from ada"
        with pytest.raises(NotImplementedError, match="durability"):
            await graph.ainvoke({"name": "x"}, config, durability="async")
