"""A langgraph.json is read as LangGraph's own tools read it, and what is not honoured is refused by name."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from graphmesh_orchestrator.graph_loading import loaded_graphs
from graphmesh_orchestrator.project import Project, ProjectError
from graphmesh_orchestrator.registry import Graph
from langgraph.checkpoint.memory import InMemorySaver
from structlog.testing import capture_logs

MODULE = '''"""Greets.

And more.
"""
from contextlib import asynccontextmanager, contextmanager
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

class State(TypedDict):
    name: str

builder = StateGraph(State)
builder.add_node("greet", lambda state: {"name": "hello " + state["name"]})
builder.add_edge(START, "greet")
compiled = builder.compile()
closed = []

def factory():
    return builder

def with_config(config):
    return builder.compile(name=config["configurable"].get("name"))

async def asynchronous():
    return builder.compile()

@contextmanager
def managed():
    yield builder
    closed.append("managed")

@asynccontextmanager
async def managed_asynchronously(config):
    yield builder.compile()
    closed.append("managed_asynchronously")
'''
FORMS = ["builder", "compiled", "factory", "with_config", "asynchronous", "managed", "managed_asynchronously"]


@pytest.fixture(autouse=True)
def imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a project adds to the process is removed after the test."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    modules, environment = set(sys.modules), dict(os.environ)
    yield
    for name in sys.modules.keys() - modules:
        del sys.modules[name]
    os.environ.clear()
    os.environ.update(environment)


def write(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


async def load(folder: Path, **keys: Any) -> dict[str, Graph]:
    """The graphs of a langgraph.json with these keys in the folder."""
    path = folder / "langgraph.json"
    write(path, json.dumps({"dependencies": ["."], **keys}))
    async with loaded_graphs(path, InMemorySaver()) as registry:
        return {graph.name: graph for graph in registry.all()}


async def greeting(graph: Graph, name: str = "ada") -> Any:
    return (await graph.compiled.ainvoke({"name": name}, {"configurable": {"thread_id": "1"}}))["name"]


@pytest.mark.parametrize("form", FORMS)
async def test_every_form_of_a_graph_runs(tmp_path: Path, form: str) -> None:
    write(tmp_path / "agent.py", MODULE)
    graphs = await load(tmp_path, graphs={"agent": f"./agent.py:{form}"})
    assert await greeting(graphs["agent"]) == "hello ada"
    assert graphs["agent"].description == "Greets."


async def test_modules_and_synchronous_factories_run_event_loops_of_their_own(tmp_path: Path) -> None:
    """As a module that reads the tools of a server when it is imported."""
    run = "import asyncio\nasyncio.run(asyncio.sleep(0))\n"
    factory = f"def factory():\n    {run.splitlines()[1]}\n    return builder\n"
    write(tmp_path / "agent.py", MODULE.replace("def factory():\n    return builder\n", factory) + run)
    assert await greeting((await load(tmp_path, graphs={"agent": "./agent.py:factory"}))["agent"]) == "hello ada"


async def test_factories_are_closed(tmp_path: Path) -> None:
    write(tmp_path / "agent.py", MODULE)
    await load(tmp_path, graphs={name: f"./agent.py:{name}" for name in ("managed", "managed_asynchronously")})
    assert sys.modules["agent"].closed == ["managed_asynchronously", "managed"]


async def test_object_form_has_a_description(tmp_path: Path) -> None:
    write(tmp_path / "agent.py", MODULE)
    entry = {"path": "./agent.py:builder", "description": "Greets people"}
    assert (await load(tmp_path, graphs={"agent": entry}))["agent"].description == "Greets people"


@pytest.mark.parametrize(
    ("entry", "file"),
    [
        ("./agent.py:graph", "agent.py"),
        ("agent.py:graph", "agent.py"),
        ("./src/shop/agents/agent.py:graph", "src/shop/agents/agent.py"),
        ("shop.agents.agent:graph", "src/shop/agents/agent.py"),
        ("./agents/agent.py:graph", "agents/agent.py"),
    ],
)
async def test_modules_import_their_siblings(tmp_path: Path, entry: str, file: str) -> None:
    """Beside a file, in a nested package by relative and absolute names, and in folders without __init__.py."""
    write(tmp_path / "greetings.py", "HELLO = 'hi '")
    write(tmp_path / "src/shop/__init__.py")
    write(tmp_path / "src/shop/words.py", "HELLO = 'hi '")
    write(tmp_path / "src/shop/agents/__init__.py")
    source = "from ..words import HELLO" if "shop" in entry else "from greetings import HELLO"
    write(tmp_path / file, MODULE.replace('"hello "', "HELLO") + f"{source}\ngraph = builder")
    assert await greeting((await load(tmp_path, graphs={"agent": entry}))["agent"]) == "hi ada"


async def test_a_file_has_the_name_by_which_it_is_imported(tmp_path: Path) -> None:
    """So its classes are one, for the module itself, for its siblings, and for states that a program has stored."""
    write(tmp_path / "src/team/agent.py", MODULE + "from .tools import State as Same\nassert Same is State\n")
    write(tmp_path / "src/team/tools.py", "from team.agent import State")
    await load(tmp_path, graphs={"agent": "./src/team/agent.py:builder"})
    assert sys.modules["team.agent"].State.__module__ == "team.agent"


async def test_a_file_whose_name_is_taken_has_another(tmp_path: Path) -> None:
    write(tmp_path / "json.py", MODULE)
    await load(tmp_path, graphs={"agent": "./json.py:builder"})
    assert sys.modules["json"] is json
    assert sys.modules["graphmesh_graph_json"].State.__module__ == "graphmesh_graph_json"


async def test_a_file_is_executed_once_for_all_its_graphs(tmp_path: Path) -> None:
    write(tmp_path / "agent.py", MODULE)
    graphs = await load(tmp_path, graphs={"a": "./agent.py:builder", "b": "./agent.py:compiled"})
    assert vars(graphs["a"].compiled)["builder"] is vars(graphs["b"].compiled)["builder"]


@pytest.mark.parametrize("env", [{"WORD": "salut "}, ".env"])
async def test_graphs_have_the_variables_of_the_project(tmp_path: Path, env: Any) -> None:
    """From a mapping or a file; a variable of the process itself wins."""
    write(tmp_path / ".env", "# a comment\nWORD='salut '\nHOME=elsewhere\n")
    write(tmp_path / "agent.py", MODULE.replace('"hello "', "__import__('os').environ['WORD']"))
    home = os.environ.get("HOME")
    graphs = await load(tmp_path, graphs={"agent": "./agent.py:builder"}, env=env)
    assert await greeting(graphs["agent"]) == "salut ada"
    assert os.environ.get("HOME") == home


async def test_keys_of_images_are_logged(tmp_path: Path) -> None:
    write(tmp_path / "agent.py", MODULE)
    with capture_logs() as logs:
        await load(tmp_path, graphs={"agent": "./agent.py:builder"}, image_distro="wolfi", dockerfile_lines=["RUN x"])
    assert [log["keys"] for log in logs] == [["dockerfile_lines", "image_distro"]]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"auth": {"path": "./auth.py:auth"}}, "auth is not supported: callers are identified at the edge"),
        ({"store": {"index": {}}}, "store.index.embed is required"),
        ({"store": {"index": {"embed": "openai:x", "dims": 2}}}, "store.index.embed: openai:x cannot be loaded"),
        ({"store": {"index": {"embed": "./no.py:x", "dims": 2}}}, "store.index.embed: ./no.py:x cannot be loaded"),
        ({"store": {"ttl": {"default_ttl": 0}}}, "store.ttl.default_ttl: Input should be greater than 0"),
        ({"store": {"ttl": {"omit_expired": False}}}, "store.ttl.omit_expired: Input should be True"),
        ({"store": {"tll": {}}}, "store.tll is not a known key"),
        ({"http": {"app": "./app.py:app"}}, "http is not supported"),
        ({"graph": {}}, "graph is not a known key"),
        ({"graphs": {}}, "graphs: Dictionary should have at least 1 item"),
        ({"graphs": {"agent": {"path": "./agent.py:builder", "speed": 1}}}, "graphs.agent.speed is not a known key"),
        ({"graphs": {"agent": {"description": "x"}}}, "graphs.agent.path is required"),
        ({"graphs": {"agent": "./agent.py:nothing"}}, "graph agent: ./agent.py has no nothing"),
        ({"graphs": {"agent": "./agent.py:closed"}}, "graph agent: is a list, and neither a StateGraph nor a workflow"),
        ({"graphs": {"agent": "./agent.py:fails"}}, "graph agent: its factory fails failed: ZeroDivisionError"),
        ({"graphs": {"agent": "./missing.py:graph"}}, "graph agent: ./missing.py cannot be imported"),
        (
            {"graphs": {"agent": "./exits.py:graph"}},
            "graph agent: ./exits.py cannot be imported: SystemExit",
        ),
        ({"graphs": {"agent": "nowhere.agent:graph"}}, "cannot be imported: ModuleNotFoundError"),
        ({"graphs": {"a/b": "./agent.py:builder"}}, r"graphs\.a/b.*: String should match pattern"),
        ({"env": {"GRAPHMESH_MESH": "x"}}, "env: GRAPHMESH_MESH is a setting of graphmesh"),
        ({"env": ["A"]}, "env: Input should be a valid dictionary"),
        ({"python_version": "3.99"}, "python_version: is 3.99, and graphmesh runs on Python 3."),
        ({"python_version": "three"}, "python_version: 'three' is not a version"),
        ({"dependencies": ["./elsewhere"]}, "dependencies: there is no folder"),
        ({"dependencies": ["no-such-package>=2"]}, "not installed where the orchestrator runs: no-such-package>=2"),
        ({"dependencies": ["langgraph<1"]}, "not installed where the orchestrator runs: langgraph<1"),
        ({"dependencies": ["./project"]}, "not installed where the orchestrator runs: no-such-package"),
        ({"dependencies": ["./lines"]}, "uv pip install --python .* 'other-package==1'"),
    ],
)
async def test_what_is_not_honoured_is_refused_by_name(tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    write(tmp_path / "agent.py", MODULE + "def fails():\n    return 1 / 0\n")
    write(tmp_path / "exits.py", "import sys; sys.exit(3)")
    write(tmp_path / "project/pyproject.toml", '[project]\ndependencies = ["langgraph", "no-such-package"]')
    write(tmp_path / "lines/requirements.txt", "# tools\nlanggraph  # graphs\nother-package==1\n")
    with pytest.raises(ProjectError, match=message):
        await load(tmp_path, **{"graphs": {"agent": "./agent.py:builder"}, **keys})


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
async def test_a_file_that_is_no_project_is_refused(tmp_path: Path, text: str) -> None:
    write(tmp_path / "langgraph.json", text)
    with pytest.raises(ProjectError, match=r"langgraph\.json: "):
        async with loaded_graphs(tmp_path / "langgraph.json", InMemorySaver()):
            pass


BROKEN = {
    "syntax": ("x = 1\ndef (", r"cannot be imported: SyntaxError: .* \(.*agent\.py, line 2, column \d+\)"),
    "import": ("import os\nimport nothing_here", r"ModuleNotFoundError: No module named 'nothing_here' \(.*, line 2\)"),
    "raises": ("def f():\n    raise ValueError('a\\nb')\nf()", r"ValueError: a b \(.*agent\.py, line 2\)"),
    "uncompilable": (
        "from langgraph.graph import StateGraph\nbuilder = StateGraph(dict)",
        r"graph agent: ValueError: Graph must have an entrypoint",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
async def test_a_broken_module_is_reported_with_its_line(tmp_path: Path, kind: str) -> None:
    """In one line."""
    source, message = BROKEN[kind]
    write(tmp_path / "agent.py", source)
    with pytest.raises(ProjectError, match=message) as refusal:
        await load(tmp_path, graphs={"agent": "./agent.py:builder"})
    assert "\n" not in str(refusal.value)


async def test_a_wrong_key_is_reported_with_its_line(tmp_path: Path) -> None:
    text = '{\n  "graphs": {\n    "agent": {\n      "path": "./agent.py:g",\n      "pathe": 1\n    }\n  }\n}'
    write(tmp_path / "langgraph.json", text)
    with pytest.raises(ProjectError, match=r"json: line 5: graphs\.agent\.pathe is not a known key"):
        Project.read(tmp_path / "langgraph.json")


async def test_file_of_variables_may_be_absent(tmp_path: Path) -> None:
    """A project that was just cloned has none; the log says so."""
    write(tmp_path / "agent.py", MODULE)
    with capture_logs() as logs:
        assert await load(tmp_path, graphs={"agent": "./agent.py:builder"}, env="./none.env")
    assert "env: there is no file" in logs[0]["event"]


def test_graphs_run_without_keys_that_are_named(tmp_path: Path) -> None:
    keys = {"graphs": {"Deep Researcher": "./agent.py:builder"}, "auth": {"path": "a"}, "http": {"app": "b"}}
    write(tmp_path / "langgraph.json", json.dumps(keys))
    project = Project.read(tmp_path / "langgraph.json", ["auth", "http"])
    assert [notice.partition(": ")[2] for notice in project.notices] == [
        "the graphs run without auth",
        "the graphs run without http",
    ]
    with pytest.raises(ProjectError, match=r"http is not supported: .*graphmesh up --without http"):
        Project.read(tmp_path / "langgraph.json", ["auth"])


async def test_unused_keys_may_be_empty(tmp_path: Path) -> None:
    write(tmp_path / "agent.py", MODULE)
    assert await load(tmp_path, graphs={"agent": "./agent.py:builder"}, store=None, auth={}, http={})


STORES = (
    MODULE
    + """
from langgraph.store.memory import InMemoryStore

class Mine(InMemoryStore):
    pass

memory = builder.compile(store=InMemoryStore())
mine = builder.compile(store=Mine())
def embed(texts):
    return [[1.0, 0.0] for _ in texts]

def index(**changes):
    return InMemoryStore(index={"dims": 2, "embed": embed, **changes})

indexed = builder.compile(store=index())
again = builder.compile(store=index())
larger = builder.compile(store=index(dims=3))
outer = StateGraph(State)
outer.add_node("inner", mine)
outer.add_edge(START, "inner")
"""
)


async def test_store_in_memory_is_replaced(tmp_path: Path) -> None:
    """It would be that of all tenants."""
    write(tmp_path / "agent.py", STORES)
    graphs = await load(tmp_path, graphs={"agent": "./agent.py:memory"})
    assert graphs["agent"].compiled.store is None
    assert await greeting(graphs["agent"]) == "hello ada"


@pytest.mark.parametrize(
    ("graph", "message"),
    [("mine", "the store Mine"), ("outer", "the store Mine")],
)
async def test_other_stores_are_refused_by_name(tmp_path: Path, graph: str, message: str) -> None:
    write(tmp_path / "agent.py", STORES)
    with pytest.raises(ProjectError, match=f"graph agent: it is compiled with .*{message}"):
        await load(tmp_path, graphs={"agent": f"./agent.py:{graph}"})


async def test_times_to_live_of_the_store_are_read(tmp_path: Path) -> None:
    write(tmp_path / "agent.py", MODULE)
    ttl = {"default_ttl": 60, "refresh_on_read": False, "sweep_interval_minutes": 5}
    keys = {"graphs": {"agent": "./agent.py:builder"}, "store": {"ttl": ttl}}
    write(tmp_path / "langgraph.json", json.dumps(keys))
    async with loaded_graphs(tmp_path / "langgraph.json", InMemorySaver()) as registry:
        assert registry.store_ttl == {"default_ttl": 60, "refresh_on_read": False}


async def store_index(folder: Path, store: dict[str, Any], *names: str) -> Any:
    """The index of the store of a project with these graphs."""
    write(folder / "agent.py", STORES)
    graphs = {name: f"./agent.py:{name}" for name in names}
    write(folder / "langgraph.json", json.dumps({"graphs": graphs, "store": store}))
    async with loaded_graphs(folder / "langgraph.json", InMemorySaver()) as registry:
        return registry.store_index


async def test_index_of_a_graphs_store_is_that_of_the_project(tmp_path: Path) -> None:
    index = await store_index(tmp_path, {}, "compiled", "indexed", "again")
    assert (index["dims"], index["embed"](["a"])) == (2, [[1.0, 0.0]])
    assert await store_index(tmp_path, {}, "compiled", "memory") is None


async def test_different_indexes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="graph larger: its store has another index than that of indexed"):
        await store_index(tmp_path, {}, "compiled", "indexed", "larger")


async def test_index_of_the_project_is_loaded_from_its_file(tmp_path: Path) -> None:
    stated = {"index": {"embed": "./agent.py:embed", "dims": 5, "fields": ["text"]}}
    index = await store_index(tmp_path, stated, "indexed", "larger")
    assert (index["dims"], index["fields"]) == (5, ["text"])
    assert await index["embed"].aembed_query("a") == [1.0, 0.0]
