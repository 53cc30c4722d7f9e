"""Pictures of graphs, in the README.md beside each: Mermaid, which GitHub and editors draw."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from graphmesh_orchestrator.graph_loading import made_graphs
from graphmesh_orchestrator.project import Project
from langgraph.checkpoint.memory import InMemorySaver

BEGIN, END = "<!-- graph -->", "<!-- /graph -->"


def pictures(project_file: Path) -> Mapping[Path, str]:
    """Return the new text of each README.md beside a graph's file that has the markers of a picture.

    Raises:
        ProjectError: the project, or a graph in it, is wrong.
    """
    drawn = asyncio.run(_drawn(project_file))
    readmes = {name: project_file.parent / entry.source for name, entry in Project.read(project_file).graphs.items()}
    files = {name: path.with_name("README.md") for name, path in readmes.items()}
    return {
        file: _with_picture(file.read_text(encoding="utf-8"), drawn[name])
        for name, file in files.items()
        if file.is_file() and BEGIN in file.read_text(encoding="utf-8")
    }


async def _drawn(project_file: Path) -> Mapping[str, str]:
    async with made_graphs(project_file) as graphs:
        registry = graphs.registry(InMemorySaver())
        return {graph.name: graph.compiled.get_graph(xray=True).draw_mermaid() for graph in registry.all()}


def _with_picture(text: str, picture: str) -> str:
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n```mermaid\n{picture.strip()}\n```\n\n{END}{after}"
