"""`graphmesh up --reload`: graphs are reloaded while a run is active, and a broken edit changes nothing."""

import asyncio
import json
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from google.rpc.error_details_pb2 import DebugInfo
from graphmesh.orchestrator.v1 import Run, RunStatus
from graphmesh_client import Client
from graphmesh_contracts import struct_value
from graphmesh_local.development_issuer import token_source
from graphmesh_local.state_folder import StateFolder

from tests.integration.processes.mesh_process import graphmesh_up

MESH = """
edge: {port: 18080, services: [orchestrator]}
mesh: {port: 18081}
admin: {port: 18082}
services:
  orchestrator:
    service: graphmesh.orchestrator.v1.RunService
    module: graphmesh_orchestrator
    port: 18100
"""
GRAPH = """
import asyncio
from pathlib import Path
from typing import TypedDict
from langgraph.graph import START, StateGraph

class State(TypedDict, total=False):
    gate: str
    text: str

async def wait(state):
    if state["gate"] == "fail":
        raise ValueError("no gate")
    while not Path(state["gate"]).exists():
        await asyncio.sleep(0.02)

graph = StateGraph(State)
graph.add_node("wait", wait)
graph.add_node("say", lambda state: {"text": "old"})
graph.add_edge(START, "wait")
graph.add_edge("wait", "say")
"""


def edit(path: Path, text: str) -> None:
    """Replace a file at once: `up` must not see a part of it."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


async def printed(process: Process, text: str) -> str:
    """Read the output of `up` until a line has a text, and return the line."""
    assert process.stdout
    async with asyncio.timeout(60):
        while text not in (line := (await process.stdout.readline()).decode()):
            assert line, "it ended"
    return line


def cause(run: Run) -> DebugInfo:
    info = DebugInfo()
    assert any(detail.Unpack(info) for detail in run.error.details)
    return info


async def test_edit_while_the_mesh_starts_is_loaded(tmp_path: Path) -> None:
    """The files are compared with those of before the start: an orchestrator may have loaded what is edited then."""
    mesh, agent, project = tmp_path / "mesh.yaml", tmp_path / "agent.py", tmp_path / "langgraph.json"
    mesh.write_text(MESH)
    agent.write_text(GRAPH)
    project.write_text(json.dumps({"graphs": {"agent": "./agent.py:graph"}}))
    async with graphmesh_up(mesh, tmp_path / "state", "--graphs", str(project), "--reload") as process:
        edit(agent, GRAPH + "# edited\n")
        await printed(process, "agent.py changed: the graphs are reloaded")


def client_of(state: StateFolder, retry_timeout: float) -> Client:
    return Client(state.read().edge, retry_timeout=retry_timeout, token=token_source(state))


@asynccontextmanager
async def calling(state: StateFolder) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Call the orchestrator without retries until the body ends; the function waits for a further response."""
    responses = 0

    async def call() -> None:
        nonlocal responses
        async with client_of(state, 0) as client:
            while True:
                assert await client.list_graphs()
                responses += 1

    async def answered() -> None:
        before = responses
        async with asyncio.timeout(60):
            while responses == before and not task.done():
                await asyncio.sleep(0.02)

    task = asyncio.create_task(call())
    try:
        yield answered
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_graphs_are_reloaded_while_a_run_is_active(tmp_path: Path) -> None:
    """The run resumes with the new code; a failure shows its line to the client and in the output of `up`.

    A client that does not retry notices no edit: neither one that is loaded nor a broken one.
    """
    mesh, agent, project = tmp_path / "mesh.yaml", tmp_path / "app/agent.py", tmp_path / "app/langgraph.json"
    agent.parent.mkdir()
    mesh.write_text(MESH)
    agent.write_text(GRAPH)
    project.write_text(json.dumps({"graphs": {"agent": "./agent.py:graph"}}))
    gate, state = tmp_path / "gate", StateFolder(tmp_path / "state")
    async with graphmesh_up(mesh, state.path, "--graphs", str(project), "--reload") as process:
        async with client_of(state, 60) as client, calling(state) as answered:
            begun = await client.create_run("agent", {"gate": str(gate)})
            edit(agent, GRAPH + "def broken(:\n")
            line = await printed(process, "not reloaded")
            assert "agent.py changed" in line
            assert f"SyntaxError: invalid syntax ({agent}, line 22, column 12)" in line
            edit(agent, GRAPH.replace("old", "new"))
            await printed(process, "agent.py changed: the graphs are reloaded")
            await answered()
            gate.touch()
            ended = await client.wait_run(begun.run_id, timeout=60)
            assert struct_value(ended.output)["text"] == "new"
            failed = await client.wait_run((await client.create_run("agent", {"gate": "fail"})).run_id, timeout=60)
            assert failed.status == RunStatus.RUN_STATUS_ERROR
            assert cause(failed).detail == "ValueError: no gate"
        await printed(process, f"{failed.run_id} of agent ended: NODE_FAILED")
        assert "line 13, in wait" in await printed(process, "agent.py")
