"""Versions of graphs, prompts and tools, and the older versions that a process accepts."""

import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import graphmesh.billing.v1  # noqa: F401
import pytest
from graphmesh_contracts import service
from graphmesh_orchestrator.checkpoints.state_versions import Lineage, Versions, recorded_version, tools_digest
from graphmesh_orchestrator.errors import VersionUnavailable
from graphmesh_orchestrator.graph_loading import loaded_graphs
from graphmesh_orchestrator.project import ProjectError
from graphmesh_orchestrator.registry import Registry
from langgraph.checkpoint.base import Checkpoint
from langgraph.checkpoint.memory import InMemorySaver

from tests.shipping.contract import NAME, contract

SOURCE = """
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

class State(TypedDict):
    name: str

graph = StateGraph(State)
graph.add_node("a", lambda state: {})
graph.add_edge(START, "a")
"""
TO_THREE = "VERSION = 3\nMIGRATIONS = {1: dict, 2: dict}\n"

Load = Callable[..., Awaitable[Registry]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Returns a function that loads graphs from modules that end with the given lines."""

    async def load_graphs(**graphs: str) -> Registry:
        for name, lines in graphs.items():
            (tmp_path / f"{name}.py").write_text(SOURCE + lines)
        registry = tmp_path / "langgraph.json"
        registry.write_text(json.dumps({"graphs": {name: f"./{name}.py:graph" for name in graphs}}))
        async with loaded_graphs(registry, InMemorySaver()) as loaded:
            return loaded

    return load_graphs


async def test_a_graph_without_a_version_is_of_the_first(load: Load) -> None:
    registry = await load(plain="")
    versions = registry.get("plain").versions
    assert (versions.graph, versions.prompts) == (1, "")
    assert registry.served == [("plain", 1)]


async def test_versions_with_migrations_are_accepted(load: Load) -> None:
    """A graph's own version is the first. A gap in the migrations ends the list."""
    registry = await load(three=TO_THREE, gap="VERSION = 4\nMIGRATIONS = {1: dict, 3: dict}\n", two="VERSION = 2\n")
    assert registry.served == [("gap", 4), ("gap", 3), ("three", 3), ("three", 2), ("three", 1), ("two", 2)]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("VERSION = 0\n", "VERSION is 0"),
        ("VERSION = 'two'\n", "VERSION is 'two'"),
        ("VERSION = 2\nMIGRATIONS = {2: dict}\n", r"from \[2\] do not lead to VERSION 2"),
    ],
)
async def test_an_invalid_version_is_refused(load: Load, lines: str, message: str) -> None:
    with pytest.raises(ProjectError, match=message):
        await load(wrong=lines)


async def test_graph_that_would_do_what_its_author_does_not_mean_is_refused(load: Load) -> None:
    lines = "from graphmesh_nodes import escalate, remote\n"
    lines += "from graphmesh.billing.v1 import BillingService\n"
    lines += "charge = remote(BillingService.Charge, request=dict, update=dict, fallback=escalate('a', dict))\n"
    lines += "graph.add_node('charge', charge)\n"
    lines += "graph.add_edge('a', 'charge')\ngraph.add_edge('charge', '__end__')\n"
    with pytest.raises(ProjectError, match="graph wrong: node charge escalates to a, and has edges to __end__"):
        await load(wrong=lines)


async def test_prompts_are_versioned_by_their_content(load: Load, tmp_path: Path) -> None:
    """By the names and contents of all files beside the module."""
    prompts = tmp_path / "prompts" / "v1"
    prompts.mkdir(parents=True)
    digests = []
    for name, text in (("a", "be kind"), ("a", "be quick"), ("b", "be kind")):
        (prompts / name).write_text(text)
        digests.append((await load(plain="")).get("plain").versions.prompts)
    (prompts / "b").unlink()
    (prompts / "a").write_text("be kind")
    assert (await load(plain="")).get("plain").versions.prompts == digests[0]
    assert len(set(digests)) == 3


def test_tools_are_versioned_by_their_contracts(monkeypatch: pytest.MonkeyPatch) -> None:
    """By those of imported tools; the orchestrator's own contract is none of them."""
    before = tools_digest()
    for name in [name for name in sys.modules if name.startswith("graphmesh.orchestrator.")]:
        monkeypatch.delitem(sys.modules, name)
    assert tools_digest() == before
    monkeypatch.delitem(sys.modules, "graphmesh.billing.v1.billing_pb2")
    assert tools_digest() != before


def test_contracts_of_descriptor_sets_are_versioned_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, name = tools_digest(), NAME.replace("acme", "acne")
    (tmp_path / f"{name}.binpb").write_bytes(contract().replace(b"acme", b"acne"))
    monkeypatch.setenv("GRAPHMESH_DESCRIPTOR_SETS", str(tmp_path))
    service(name)
    assert tools_digest() != before


def test_metadata_has_the_versions() -> None:
    metadata = Versions(3, "p", "t").metadata()
    assert metadata == {"graph_version": 3, "prompts_version": "p", "tools_version": "t"}
    assert recorded_version(metadata) == 3  # type: ignore[arg-type]
    assert recorded_version({}) == 1


def test_a_migrated_channel_has_the_newest_version() -> None:
    """LangGraph keeps only channels that have a version; a removed channel has none."""
    before = Checkpoint(
        v=4,
        id="c",
        ts="now",
        channel_values={"name": "Ada", "log": []},
        channel_versions={"name": 2, "log": 5, "branch:to:a": 4},
        versions_seen={},
        updated_channels=["name"],
    )
    lineage = Lineage("g", Versions(2), {1: lambda values: {"first": values["name"], "log": values["log"]}})
    after = lineage.migrated(before, 1)
    assert after["channel_values"] == {"first": "Ada", "log": []}
    assert after["channel_versions"] == {"first": 5, "log": 5, "branch:to:a": 4}
    assert before["channel_values"] == {"name": "Ada", "log": []}


def test_the_error_names_the_accepted_versions() -> None:
    with pytest.raises(VersionUnavailable, match="version 5 of the graph g; served versions are: 2, 1"):
        Lineage("g", Versions(2), {1: dict}).require(5)
