"""Assistants: runs have their context and configurable under what they state themselves."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf import json_format
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.errors import AlreadyExists, GraphmeshError, InvalidInput, InvalidRequest, NotFound
from graphmesh_contracts import struct_value

from tests.integration.client.test_command_line import graphmesh, id_in
from tests.integration.orchestrator.mesh import Mesh, serve_billing, serve_orchestrator

pytestmark = pytest.mark.asyncio(loop_scope="module")

GRAPH = """
from dataclasses import dataclass
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from typing_extensions import TypedDict

class State(TypedDict):
    name: str

@dataclass
class Context:
    tone: str
    mark: str
    loud: bool = False

def greet(state: State, config: RunnableConfig, runtime: Runtime[Context]):
    context, user = runtime.context, config["configurable"].get("user", "no user")
    return {"name": f"{context.tone} {state['name']} from {user}{context.mark if context.loud else ''}"}

graph = StateGraph(State, context_schema=Context)
graph.add_node("greet", greet)
graph.add_edge(START, "greet")
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    folder: Path = tmp_path_factory.mktemp("mesh")
    (folder / "greeting.py").write_text(GRAPH)
    async with serve_billing(folder) as billing, serve_orchestrator(folder, billing) as mesh:
        yield mesh


async def greeting(mesh: Mesh, assistant: str, **options: Any) -> str:
    """Run an assistant of the graph, and return the greeting."""
    run = await mesh.client.create_run("", {"name": "x"}, assistant=assistant, **options)
    return str(struct_value((await mesh.wait(run)).output)["name"])


async def test_run_has_the_configuration_of_its_assistant_under_its_own(mesh: Mesh) -> None:
    made = await mesh.client.assistants.create(
        "greeting",
        name="the dear one",
        context={"tone": "dear", "loud": True},
        configurable={"user": "ada"},
        recursion_limit=7,
    )
    assert await greeting(mesh, "the dear one", context={"mark": "!"}) == "dear x from ada!"
    own: Any = {"context": {"mark": "!", "tone": "hey", "loud": False}, "configurable": {"user": "bob"}}
    assert await greeting(mesh, made.assistant_id, **own) == "hey x from bob"
    [newest, oldest] = await mesh.client.list_runs()
    assert (newest.graph, newest.assistant_id, newest.assistant_version) == ("greeting", made.assistant_id, 1)
    assert oldest.recursion_limit == 7


async def test_runs_follow_the_latest_version_and_keep_their_own(mesh: Mesh) -> None:
    made = await mesh.client.assistants.create("greeting", context={"tone": "dear", "mark": "?"})
    first = await mesh.client.create_run("", {"name": "x"}, assistant=made.assistant_id)
    second = await mesh.client.assistants.update(made.assistant_id, context={"tone": "hey", "mark": "?"})
    assert second.version == 2
    assert await greeting(mesh, made.assistant_id) == "hey x from no user"
    assert await greeting(mesh, made.assistant_id, assistant_version=1) == "dear x from no user"
    with pytest.raises(NotFound, match="version 3"):
        await greeting(mesh, made.assistant_id, assistant_version=3)
    with pytest.raises(InvalidRequest, match="assistant_version"):
        await mesh.client.create_run("greeting", {"name": "x"}, assistant_version=1)
    await mesh.client.assistants.set_latest(made.assistant_id, 1)
    assert await greeting(mesh, made.assistant_id) == "dear x from no user"
    await mesh.client.assistants.delete(made.assistant_id)
    assert (await mesh.client.get_run(first.run_id)).assistant_version == 1
    with pytest.raises(NotFound, match=made.assistant_id):
        await greeting(mesh, made.assistant_id)


@pytest.mark.parametrize(
    ("request_fields", "fields"),
    [
        ({"context": {"tone": 1}}, ["context.tone"]),
        ({"context": {"colour": "red"}}, ["context.colour"]),
        ({"configurable": {"thread_id": "x", "__k": 1}}, ["configurable.__k", "configurable.thread_id"]),
        ({"name": "a\nb"}, ["name"]),
        ({"metadata": {"m": list(range(2000))}}, ["metadata"]),
        ({"context": {"tone": "x" * 70_000}}, ["context"]),
    ],
)
async def test_bad_content_is_refused_by_field_at_creation(
    mesh: Mesh, request_fields: dict[str, Any], fields: list[str]
) -> None:
    request = json_format.ParseDict({"graph": "greeting", **request_fields}, pb.CreateAssistantRequest())
    with pytest.raises(InvalidInput) as refused:
        await mesh.call(pb.AssistantService.CreateAssistant, request)
    assert sorted(violation.field for violation in refused.value.violations) == fields


async def test_what_the_context_lacks_is_refused_when_a_run_begins(mesh: Mesh) -> None:
    made = await mesh.client.assistants.create("greeting", context={"tone": "dear"})
    with pytest.raises(InvalidInput) as refused:
        await mesh.client.create_run("", {"name": "x"}, assistant=made.assistant_id)
    assert [violation.field for violation in refused.value.violations] == ["context.mark"]


@pytest.mark.parametrize("given", [{}, {"graph": "greeting", "assistant": "greeting"}])
async def test_run_names_a_graph_or_an_assistant(mesh: Mesh, given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refused:
        await mesh.call(pb.RunService.CreateRun, pb.CreateRunRequest(**given))
    assert [violation.field for violation in refused.value.violations] == ["graph"]


async def test_an_update_is_checked_as_a_whole(mesh: Mesh) -> None:
    """Another graph has another context; metadata grows with each update."""
    made = await mesh.client.assistants.create("greeting", context={"tone": "dear"}, metadata={"a": "x" * 9000})
    with pytest.raises(InvalidInput):
        await mesh.client.assistants.update(made.assistant_id, graph="loop")
    with pytest.raises(InvalidInput) as refused:
        await mesh.client.assistants.update(made.assistant_id, metadata={"b": "x" * 9000})
    assert "after the change" in str(refused.value)
    with pytest.raises(GraphmeshError) as unknown:
        await mesh.client.assistants.update(made.assistant_id, graph="missing")
    assert unknown.value.reason == "GRAPH_NOT_FOUND"
    merged = await mesh.client.assistants.update(made.assistant_id, metadata={"a": None, "c": 1})
    assert (struct_value(merged.metadata), merged.version) == ({"c": 1}, 2)


async def test_search_filters_by_graph_and_metadata_over_pages(mesh: Mesh) -> None:
    for number in range(5):
        await mesh.client.assistants.create("greeting", metadata={"team": {"id": number % 2, "x": 1}})
    await mesh.client.assistants.create("loop", metadata={"team": {"id": 1}})
    found = [one async for one in mesh.client.assistants.search(graph="greeting", metadata={"team": {"id": 1}})]
    assert len(found) == 2
    request = pb.SearchAssistantsRequest(page_size=4)
    page = await mesh.call(pb.AssistantService.SearchAssistants, request)
    request.page_token = page.next_page_token
    rest = await mesh.call(pb.AssistantService.SearchAssistants, request)
    assert len({one.assistant_id for one in (*page.assistants, *rest.assistants)}) == 6
    assert rest.next_page_token == ""


async def test_assistants_of_another_tenant_are_not_found(mesh: Mesh) -> None:
    made = await mesh.client.assistants.create("greeting", name="mine")
    async with mesh.as_new_tenant() as other:
        for name in (made.assistant_id, "mine"):
            with pytest.raises(NotFound):
                await other.client.create_run("", {"name": "x"}, assistant=name)
        await other.client.assistants.create("greeting", assistant_id=made.assistant_id, name="mine")
    with pytest.raises(AlreadyExists):
        await mesh.client.assistants.create("greeting", name="mine")


async def test_commands_manage_assistants(mesh: Mesh) -> None:
    assert await graphmesh(mesh, "assistants", "list") == "no assistants\n"
    words = ("--name", "[dear]", "--context", '{"tone": "dear", "mark": "!"}', "--metadata", '{"team": "a"}')
    created = await graphmesh(mesh, "assistants", "create", "greeting", *words)
    made = id_in(created, "asst")
    assert created == f"{made} [dear], version 1, of greeting\n"
    assert '"dear x from no user"' in await graphmesh(mesh, "run", "[dear]", '{"name": "x"}', "--assistant")
    assert await graphmesh(mesh, "runs", "--assistant", "[dear]") == await graphmesh(mesh, "runs")
    await graphmesh(mesh, "assistants", "update", "[dear]", "--description", "formal", "--context", '{"tone": "sir"}')
    shown = await graphmesh(mesh, "assistants", "show", "[dear]")
    assert "version 2" in shown
    assert '"tone": "sir"' in shown
    listed = await graphmesh(mesh, "assistants", "versions", "[dear]")
    assert [line.split()[3] for line in listed.splitlines()[1:]] == ["2", "1"]
    assert "version 1" in await graphmesh(mesh, "assistants", "set-latest", "[dear]", "1")
    assert made in await graphmesh(mesh, "assistants", "list", "--metadata", '{"team": "a"}', "--json")
    assert "must be a JSON object" in await graphmesh(mesh, "assistants", "create", "x", "--context", "[1]", exits=2)
    assert await graphmesh(mesh, "assistants", "delete", "[dear]") == f"{made} is deleted\n"
    assert "There is no assistant" in await graphmesh(mesh, "assistants", "show", "[dear]", exits=1)
