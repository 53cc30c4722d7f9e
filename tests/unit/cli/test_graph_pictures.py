"""Pictures of graphs in the README.md beside them."""

from pathlib import Path

from graphmesh_cli.app import app
from typer.testing import CliRunner

GRAPH = """
from langgraph.graph import START, StateGraph

inner = StateGraph(dict)
inner.add_node("deep", lambda state: state)
inner.add_edge(START, "deep")
graph = StateGraph(dict)
graph.add_node("outer", inner.compile())
graph.add_edge(START, "outer")
"""


def test_pictures_are_drawn_once_and_are_fresh_then(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(GRAPH)
    readme, project = tmp_path / "README.md", tmp_path / "langgraph.json"
    readme.write_text("# Agent\n\n<!-- graph -->\nold\n<!-- /graph -->\n\nMore.\n")
    project.write_text('{"dependencies": ["."], "graphs": {"agent": "./agent.py:graph"}}')
    command = ["render", "pictures", str(project)]
    assert "not fresh" in CliRunner().invoke(app, [*command, "--check"]).output
    assert CliRunner().invoke(app, command).exit_code == 0
    text = readme.read_text()
    assert "deep" in text.partition("```mermaid")[2]
    assert "old" not in text
    assert (text.startswith("# Agent\n"), text.endswith("<!-- /graph -->\n\nMore.\n")) == (True, True)
    assert CliRunner().invoke(app, [*command, "--check"]).exit_code == 0
