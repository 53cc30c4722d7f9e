"""Factories of graphs are called for each run with its config, as LangGraph's own server calls them."""

import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from graphmesh_chassis.errors import InvalidInput
from graphmesh_orchestrator.graph_loading import loaded_graphs
from graphmesh_orchestrator.project import ProjectError
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.runs.server_keys import RunUser
from langgraph.checkpoint.memory import InMemorySaver

from tests.contract import runs
from tests.unit.orchestrator.memory_orchestrator import GRAPH, MemoryOrchestrator, error_of, open_orchestrator

MODULE = """
from __future__ import annotations
import asyncio
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from langgraph_sdk.runtime import ServerRuntime
from typing_extensions import TypedDict

log = []

class State(TypedDict):
    name: str

class Other(TypedDict):
    word: str

@dataclass
class Context:
    tone: str = "hello"

def built(word, state=State, field="name"):
    def greet(given):
        if given[field] == "fail":
            raise KeyError("greet")
        return {field: f"{word} {given[field]}"}
    return StateGraph(state, context_schema=Context).add_node("greet", greet).add_edge(START, "greet")

def plain():
    log.append("plain")
    return built("hi")

def with_config(config):
    return built(config["configurable"].get("word", "hi"))

async def asynchronous(config: RunnableConfig):
    return built(config["configurable"].get("word", "hi")).compile()

@asynccontextmanager
async def managed(config: RunnableConfig):
    word = config["configurable"].get("word", "")
    log.append(f"open {word}")
    try:
        yield built(word)
    except KeyError:
        log.append("failed")
    finally:
        log.append(f"close {word}")

@contextmanager
def in_thread(config):
    yield built(config["configurable"].get("word", "hi")).compile()

def with_runtime(runtime: ServerRuntime[Context]):
    found = runtime.execution_runtime
    return built(f"{found.context.tone} {type(found.store).__name__}" if found else runtime.access_context)

def with_user(runtime: ServerRuntime[Context], config):
    if not runtime.execution_runtime:
        return built("no user")
    user = runtime.ensure_user()
    assert user is config["configurable"]["langgraph_auth_user"]
    assert (user["identity"], user.is_authenticated, "permissions" in user) == (user.identity, True, False)
    def seen(state, runtime: Runtime[Context]):
        info = runtime.server_info
        return {"name": f"{user.identity} {info.user.identity} {info.graph_id} {info.assistant_id}"}
    return StateGraph(State, context_schema=Context).add_node("seen", seen).add_edge(START, "seen")

def with_permissions(runtime: ServerRuntime[Context]):
    return built(runtime.user.permissions if runtime.user else "no user")

def both(config: RunnableConfig, runtime: ServerRuntime, *, loud: bool = False):
    assert runtime.store is not None
    return built(config["configurable"].get("tone", "hi"))

def needs(config):
    return built(config["configurable"]["word"])

def fails(config):
    return built("hi") if "user" not in config["configurable"] else 1 / 0

def wrong(config):
    return built("hi") if "user" not in config["configurable"] else ["no graph"]

@asynccontextmanager
async def fails_to_close(config):
    yield built("hi")
    if "run_id" in config["configurable"]:
        raise OSError("close")

def changes(config):
    return built("x", Other, "word") if config["configurable"].get("kind") == "other" else built("hi")

async def hangs(config):
    await asyncio.sleep(60 if "run_id" in config["configurable"] else 0)
    return built("hi")

def unknown(config, model):
    return built("hi")
"""


@pytest.fixture(autouse=True)
def imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Remove what the project adds to the process, and do not log."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    with structlog.testing.capture_logs():
        yield
    sys.modules.pop("agent", None)


@asynccontextmanager
async def orchestrator(folder: Path, factory: str) -> AsyncIterator[MemoryOrchestrator]:
    """An orchestrator with the graph of a factory."""
    (folder / "agent.py").write_text(MODULE)
    file = folder / "langgraph.json"
    file.write_text(json.dumps({"graphs": {GRAPH: f"./agent.py:{factory}"}}))
    async with open_orchestrator(file) as here:
        yield here


def a_run(number: int = 1, **fields: Any) -> Run:
    defaults = {"graph": GRAPH, "created": datetime.now(UTC), "input": {"name": "ada"}, "recursion_limit": 0}
    return runs.a_run(**{"run_id": f"run_{number}", "thread_id": f"th_{number}", **defaults, **fields})


async def output(here: MemoryOrchestrator, run: Run) -> Any:
    ended = await here.worker().execute(run)
    assert ended.status is RunStatus.SUCCESS, error_of(ended)
    return ended.state.output


@pytest.mark.parametrize("factory", ["with_config", "asynchronous", "managed", "in_thread"])
async def test_factory_gets_the_config_of_each_run(tmp_path: Path, factory: str) -> None:
    async with orchestrator(tmp_path, factory) as here:
        assert await output(here, a_run(1, configurable={"word": "salut"})) == {"name": "salut ada"}
        assert await output(here, a_run(2, configurable={"word": "ciao"})) == {"name": "ciao ada"}


async def test_factory_without_parameters_is_called_once(tmp_path: Path) -> None:
    async with orchestrator(tmp_path, "plain") as here:
        for number in (1, 2):
            assert await output(here, a_run(number)) == {"name": "hi ada"}
        assert sys.modules["agent"].log == ["plain"]


async def test_runtime_has_the_typed_context_and_the_store_of_the_run(tmp_path: Path) -> None:
    async with orchestrator(tmp_path, "with_runtime") as here:
        assert await output(here, a_run(context={"tone": "dear"})) == {"name": "dear TenantStore ada"}


async def test_graph_knows_the_caller_of_its_run(tmp_path: Path) -> None:
    """In the factory, in the nodes, and in their config."""
    async with orchestrator(tmp_path, "with_user") as here:
        run = a_run(assistant_id="asst_1")
        assert await output(here, run) == {"name": f"{run.identity.subject} {run.identity.subject} {GRAPH} asst_1"}


async def test_permissions_of_the_caller_are_refused_by_name(tmp_path: Path) -> None:
    async with orchestrator(tmp_path, "with_permissions") as here:
        here.shows_causes = True
        failed = error_of(await here.worker().execute(a_run()))
        assert (failed.reason, failed.data["cause"]) == ("GRAPH_FACTORY_FAILED", "AttributeError")
        with pytest.raises(AttributeError, match="permissions of a run's caller are not known"):
            _ = RunUser(a_run().identity).permissions


@pytest.mark.parametrize("key", ["langgraph_auth_user", "langgraph_auth_user_id", "run_id", "graph_id", "thread_id"])
async def test_caller_cannot_pretend_to_be_another(tmp_path: Path, key: str) -> None:
    async with orchestrator(tmp_path, "with_user") as here:
        with pytest.raises(InvalidInput, match=rf"configurable\.{key}: is set by the orchestrator"):
            await here.worker().execute(a_run(configurable={key: "root"}))


async def test_context_is_in_the_configurable_of_the_factory(tmp_path: Path) -> None:
    async with orchestrator(tmp_path, "both") as here:
        assert await output(here, a_run(context={"tone": "dear"})) == {"name": "dear ada"}


async def test_context_manager_is_closed_after_each_run_and_sees_its_error(tmp_path: Path) -> None:
    """It cannot turn the failure of the run into a success."""
    async with orchestrator(tmp_path, "managed") as here:
        log = sys.modules["agent"].log
        log.clear()
        await output(here, a_run(1, configurable={"word": "a"}))
        assert log == ["open a", "close a"]
        failed = await here.worker().execute(a_run(2, configurable={"word": "b"}, input={"name": "fail"}))
        assert (error_of(failed).reason, log[2:]) == ("NODE_FAILED", ["open b", "failed", "close b"])


async def test_factory_that_needs_the_config_of_a_run_is_loaded(tmp_path: Path) -> None:
    """Its schemas are not known: a run is checked when its graph is made."""
    async with orchestrator(tmp_path, "needs") as here:
        assert await output(here, a_run(1, configurable={"word": "salut"})) == {"name": "salut ada"}
        wrong = await here.worker().execute(a_run(2, configurable={"word": "salut"}, input={"nome": "ada"}))
        assert [one.field for one in error_of(wrong).violations] == ["input.nome"]
        failed = await here.worker().execute(a_run(3))
        assert error_of(failed).data == {"graph": GRAPH, "cause": "KeyError"}


@pytest.mark.parametrize(
    ("factory", "cause"),
    [
        ("fails", "ZeroDivisionError"),
        ("wrong", "is a list, and neither a StateGraph nor a workflow, nor a factory of one"),
        ("fails_to_close", "OSError"),
    ],
)
async def test_error_of_a_factory_ends_the_run(tmp_path: Path, factory: str, cause: str) -> None:
    async with orchestrator(tmp_path, factory) as here:
        ended = await here.worker().execute(a_run(configurable={"user": "ada"}))
        error = error_of(ended)
        assert (ended.status, error.reason) == (RunStatus.ERROR, "GRAPH_FACTORY_FAILED")
        assert error.data["cause"] == cause


async def test_input_is_checked_against_the_graph_of_the_run(tmp_path: Path) -> None:
    async with orchestrator(tmp_path, "changes") as here:
        other = {"configurable": {"kind": "other"}}
        assert await output(here, a_run(1, input={"word": "y"}, **other)) == {"word": "x y"}
        with pytest.raises(InvalidInput):
            await here.worker().execute(a_run(2, input={"word": "y"}))
        refused = await here.worker().execute(a_run(3, input={"name": "y"}, **other))
        assert error_of(refused).reason == "INVALID_INPUT"


async def test_deadline_of_the_run_holds_for_the_factory(tmp_path: Path) -> None:
    async with orchestrator(tmp_path, "hangs") as here:
        created = datetime.now(UTC)
        ended = await here.worker().execute(a_run(created=created, deadline=created + timedelta(seconds=0.3)))
        assert ended.status is RunStatus.TIMEOUT


async def test_parameter_that_langgraph_does_not_pass_is_refused(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(MODULE)
    file = tmp_path / "langgraph.json"
    file.write_text(json.dumps({"graphs": {"agent": "./agent.py:unknown"}}))
    with pytest.raises(ProjectError, match="its factory unknown has the parameter model"):
        async with loaded_graphs(file, InMemorySaver()):
            pass
