"""A service and a graph in two folders outside of this repository join a mesh, from wheels only."""

import asyncio
import json
import os
import venv
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
import yaml
from graphmesh_local.state_folder import StateFolder

from tests.acceptance.wheel_environment import ROOT, WheelEnvironment

pytestmark = pytest.mark.timeout(600)

SERVICE = "acme.parcels.v1.ParcelsService"
GRAPH = """
from typing import TypedDict

from graphmesh_nodes import remote, service, stream
from langgraph.graph import START, StateGraph

ParcelsService = service("acme.parcels.v1.ParcelsService")


class Request(TypedDict):
    title: str


class State(Request, total=False):
    parcel_id: str
    exported: list[str]


async def export(state: State) -> dict[str, list[str]]:
    responses = [one async for one in stream(ParcelsService.ExportParcels, ParcelsService.ExportParcels.request())]
    return {"exported": [one.parcel.title for one in responses]}


graph = StateGraph(State, input_schema=Request)
graph.add_node(
    "create",
    remote(
        ParcelsService.CreateParcel,
        request=lambda state: ParcelsService.CreateParcel.request(title=state["title"]),
        update=lambda state, response: {"parcel_id": response.parcel.parcel_id},
    ),
)
graph.add_node("export", export)
graph.add_edge(START, "create")
graph.add_edge("create", "export")
"""
PARCELS = {
    "service": SERVICE,
    "descriptor_set": "parcels.binpb",
    "port": 18200,
    "python": ".venv/bin/python",
    "module": "parcels_service",
    "folder": ".",
}


def make_service(environment: WheelEnvironment, folder: Path) -> None:
    """Make the team's repository, with an environment of its own, its descriptor set and its file for a mesh."""
    environment.run("graphmesh", "new-service", "parcels", "--team", "acme", "--out", folder, cwd=folder.parent)
    descriptors = ("graphmesh", "protos", "descriptors", "parcels.binpb", "--protos", "contracts/protos")
    environment.run(*descriptors, cwd=folder)
    venv.create(folder / ".venv", symlinks=True)
    [packages] = (folder / ".venv/lib").glob("python*/site-packages")
    [wheels] = (environment.folder / "lib").glob("python*/site-packages")
    (packages / "team.pth").write_text(f"{wheels}\n{folder / 'contracts/gen'}\n")
    (folder / "mesh.yaml").write_text(yaml.safe_dump({"services": {"parcels": PARCELS}}))


def make_graph(folder: Path) -> None:
    """Make the repository of the graph's author, with a mesh that the service joins."""
    folder.mkdir()
    (folder / "parcels.py").write_text(GRAPH)
    graphs = {"dependencies": ["."], "graphs": {"parcels": "./parcels.py:graph"}}
    (folder / "langgraph.json").write_text(json.dumps(graphs))
    orchestrator = yaml.safe_load((ROOT / "deploy/mesh.yaml").read_text())["services"]["orchestrator"]
    listeners = {name: {"port": port} for name, port in (("edge", 18080), ("mesh", 18081), ("admin", 18082))}
    mesh = {**listeners, "include": ["../team/mesh.yaml"], "services": {"orchestrator": orchestrator}}
    (folder / "mesh.yaml").write_text(yaml.safe_dump(mesh))


@asynccontextmanager
async def graphmesh_up(environment: WheelEnvironment, folder: Path) -> AsyncIterator[None]:
    """Run `graphmesh up` in a folder until the body ends."""
    options = ("--free-ports", "--mesh", "mesh.yaml", "--graphs", "langgraph.json")
    process = await asyncio.create_subprocess_exec(
        *(environment.program("graphmesh"), "up", *options),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=STDOUT,
        cwd=folder,
        env={**environment.variables, "COLUMNS": "200"},
    )
    assert process.stdout
    try:
        lines: list[bytes] = []
        async with asyncio.timeout(200):
            while not lines or b"Ctrl-C" not in lines[-1]:
                lines.append(await process.stdout.readline())
                assert lines[-1], b"".join(lines).decode()
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def test_a_service_and_a_graph_join_from_wheels_only(wheel_environment: WheelEnvironment, tmp_path: Path) -> None:
    """Each runs in its own environment; that of the graph has no code of the service."""
    team, author = tmp_path / "team", tmp_path / "author"
    make_service(wheel_environment, team)
    make_graph(author)
    async with graphmesh_up(wheel_environment, author):
        processes = StateFolder(author / ".graphmesh").read().processes
        commands = {name: psutil.Process(one.pid).cmdline() for name, one in processes.items() if name != "envoy"}
        command = ("graphmesh", "run", "parcels", '{"title": "Ink"}')
        output = await asyncio.to_thread(wheel_environment.run, *command, cwd=author)
    assert {name: os.path.normpath(command[0]) for name, command in commands.items()} == {
        "parcels": str(team / ".venv/bin/python"),
        "orchestrator": str(wheel_environment.program("python")),
    }
    assert json.loads(output[output.index("{\n") :])["exported"] == ["Ink"]
