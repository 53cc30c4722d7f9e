"""Queries reach sql through Envoy: from a node of a graph, and from the command line."""

import json
import sys
from asyncio.subprocess import PIPE, create_subprocess_exec
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from graphmesh.orchestrator.v1 import RunStatus
from graphmesh_local.spawning import Spawner

from tests.acceptance.local_mesh import LocalMesh, output, start_mesh
from tests.acceptance.mesh_file import mesh_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

GRAPH = """
from contextlib import aclosing

from graphmesh.sql.v1 import Parameter, RunQueryRequest, SqlService
from graphmesh_nodes import stream
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    query: str
    names: list[str]
    cached: bool


async def ask(state: State) -> State:
    request = RunQueryRequest(query=state["query"], parameters=[Parameter(int64_value=3)])
    async with aclosing(stream(SqlService.RunQuery, request)) as parts:
        found = [part async for part in parts]
    names = [row.values[0].string_value for part in found for row in part.rows.rows]
    return {"names": names, "cached": found[-1].summary.HasField("cache_age")}


graph = StateGraph(State).add_node("ask", ask).add_edge(START, "ask").compile()
"""
QUERY = "SELECT name FROM dim_product WHERE product_id < $1 ORDER BY product_id"


@pytest_asyncio.fixture(loop_scope="session")
async def mesh(tmp_path: Path, spawn: Spawner) -> AsyncIterator[LocalMesh]:
    (tmp_path / "warehouse_graph.py").write_text(GRAPH)
    (tmp_path / "langgraph.json").write_text(
        json.dumps({"dependencies": ["."], "graphs": {"ask": "./warehouse_graph.py:graph"}})
    )
    settings = {
        "GRAPHMESH_ORCHESTRATOR_GRAPHS": str(tmp_path / "langgraph.json"),
        "GRAPHMESH_SQL_SAMPLE": str(tmp_path / "warehouse.db"),
    }
    async with start_mesh(tmp_path, spawn, mesh_of(tmp_path, "orchestrator", "sql"), settings) as mesh:
        yield mesh


async def graphmesh_sql(mesh: LocalMesh, *words: str) -> tuple[int | None, str, str]:
    state = str(mesh.running.folder.path)
    process = await create_subprocess_exec(
        sys.executable, "-m", "graphmesh_cli", "sql", *words, "--state", state, stdout=PIPE, stderr=PIPE
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_graph_and_command_query_the_warehouse_through_envoy(mesh: LocalMesh) -> None:
    """A refused query ends its run by its reason, and does not open the breaker."""
    async with mesh.client() as client:
        begun = await client.create_run("ask", {"query": QUERY})
        answered = output(await client.wait_run(begun.run_id, timeout=60))
        refusals = [await client.create_run("ask", {"query": "SELECT name FROM sqlite_master"}) for _ in range(6)]
        ended = [await client.wait_run(run.run_id, timeout=60) for run in refusals]
    code, rows, notes = await graphmesh_sql(mesh, QUERY, "-p", "3", "--json")
    assert (code, [json.loads(row)["name"] for row in rows.splitlines()]) == (0, answered["names"]), notes
    assert len(answered["names"]) == 2
    assert {run.status for run in ended} == {RunStatus.RUN_STATUS_ERROR}
    assert all("QUERY_REFUSED" in str(run.error) for run in ended)
    code, rows, notes = await graphmesh_sql(mesh, "DELETE FROM dim_product")
    assert (code, rows, "QUERY_REFUSED" in notes) == (1, "", True)
