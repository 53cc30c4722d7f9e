"""The cause of a failed run: shown to clients in development, through the author's own code, without secrets."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any, TypedDict

import grpc
import pytest
from google.rpc.error_details_pb2 import DebugInfo
from google.rpc.status_pb2 import Status
from graphmesh_chassis.errors import NotFound
from graphmesh_orchestrator.errors import NodeFailed
from graphmesh_orchestrator.worker.causes import MAX_LINE, MAX_LINES, cause_of, masked
from langgraph.graph import START, StateGraph

from tests.contract import runs
from tests.unit.orchestrator.memory_orchestrator import GRAPH, open_orchestrator


class State(TypedDict, total=False):
    name: str


def lookup(state: State) -> State:
    return {"name": {"ada": "Ada"}[state["name"]]}


async def details_of(node: Any, shows_causes: bool) -> list[DebugInfo]:
    """Run a graph of one node that fails. Returns the causes in the run's error."""
    graph = StateGraph(State)
    graph.add_node("lookup", node)
    graph.add_edge(START, "lookup")
    async with open_orchestrator(graph) as orchestrator:
        orchestrator.shows_causes = shows_causes
        run = await orchestrator.worker().execute(runs.a_run(graph=GRAPH, input={"name": "bob"}))
    assert run.state.error is not None
    found = [DebugInfo(), DebugInfo()]
    return [info for detail in Status.FromString(run.state.error).details if detail.Unpack(info := found.pop())]


async def test_a_failure_has_the_line_of_the_authors_code() -> None:
    """And no frame of LangGraph, asyncio or graphmesh."""
    [cause] = await details_of(lookup, shows_causes=True)
    frames = [entry for entry in cause.stack_entries if entry.startswith("  File ")]
    assert len(frames) == 1
    assert "test_causes.py" in frames[0]
    assert frames[0].endswith("in lookup")
    assert '{"ada": "Ada"}[state["name"]]' in "\n".join(cause.stack_entries)
    assert cause.detail == "KeyError: 'bob'"


async def test_a_failure_has_no_cause_outside_of_development() -> None:
    assert await details_of(lookup, shows_causes=False) == []


def fail(error: BaseException) -> BaseException:
    """Return the failure of a node that raised `error`."""
    try:
        try:
            raise error
        except BaseException as raised:
            raise NodeFailed(node="x", type="y") from raised
    except NodeFailed as failed:
        return failed


def text_of(error: BaseException, *packages: str) -> str:
    cause = cause_of(error, packages)
    assert cause is not None
    return "\n".join([*cause.stack_entries, cause.detail])


def test_the_causes_of_an_exception_precede_it() -> None:
    def node() -> None:
        try:
            json.loads("{")
        except ValueError as error:
            raise RuntimeError("no settings") from error

    with pytest.raises(RuntimeError) as raised:
        node()
    text = text_of(raised.value)
    assert text.index("JSONDecodeError") < text.index("direct cause") < text.index("RuntimeError: no settings")
    assert "json/decoder.py" not in text


def library(folder: Path, source: str) -> Any:
    """Execute a module of a library that is installed in a folder of its own, and return its namespace."""
    file = folder / "site-packages/acme/agents.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source)
    namespace: dict[str, Any] = {"__name__": "acme.agents"}
    exec(compile(source, str(file), "exec"), namespace)
    return SimpleNamespace(**namespace)


LIBRARY = """
def inner(value):
    raise ValueError(value)

def outer(call):
    return call()

def raising(value):
    return inner(value)
"""


def test_of_libraries_only_the_line_that_raised_is_shown(tmp_path: Path) -> None:
    """Not those between the author's functions."""
    acme = library(tmp_path, LIBRARY)

    def node() -> None:
        acme.outer(tool)

    def tool() -> None:
        acme.raising("odd")

    with pytest.raises(ValueError, match="odd") as raised:
        node()
    lines = [line.strip() for line in text_of(raised.value).splitlines() if line.startswith("  File")]
    assert [line.rpartition(" in ")[2] for line in lines] == [
        "test_of_libraries_only_the_line_that_raised_is_shown",
        "node",
        "tool",
        "inner",
    ]


def test_failure_outside_of_the_authors_code_names_the_library(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="odd") as raised:
        library(tmp_path, LIBRARY + "raising('odd')\n")
    error = NodeFailed(node="x", type="y")
    error.__cause__ = raised.value.with_traceback(innermost(raised.value))
    text = text_of(error)
    assert text.splitlines()[0] == "Raised by a library:"
    assert "in inner" in text
    assert text.endswith("ValueError: odd")
    assert text_of(error, "acme").startswith("Traceback (of the graph's own code")


def innermost(error: BaseException) -> TracebackType:
    """Return the traceback below the frames of this module."""
    trace = error.__traceback__
    while trace and "site-packages/acme" not in trace.tb_frame.f_code.co_filename:
        trace = trace.tb_next
    assert trace
    return trace


def test_a_refusal_of_a_service_has_no_frames_of_grpc() -> None:
    """Its reason and message are the error of the run."""
    error = NotFound()
    error.__cause__ = grpc.RpcError()
    assert cause_of(error) is None


def test_members_of_a_group_are_shown() -> None:
    assert "  | ValueError: first" in text_of(fail(ExceptionGroup("two", [ValueError("first"), ValueError("other")])))


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def chained(length: int) -> BaseException:
    error: BaseException = ValueError("0")
    for number in range(1, length):
        following = ValueError(str(number))
        following.__cause__, error = error, following
    return error


def deep(depth: int) -> None:
    if depth:
        deep(depth - 1)
    raise ValueError("x" * 10_000_000 + "\n" * 10_000)


HOSTILE: dict[str, Callable[[], BaseException]] = {
    "long": lambda: ValueError("x" * 10_000_000),
    "lines": lambda: ValueError("\n" * 100_000),
    "unprintable": Unprintable,
    "chain": lambda: chained(10_000),
    "group": lambda: ExceptionGroup("g", [OSError()] * 9999),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_cause_is_bounded(name: str) -> None:
    cause = cause_of(fail(HOSTILE[name]()))
    assert cause is not None
    assert len(cause.stack_entries) < MAX_LINES
    assert all(len(line) <= MAX_LINE for line in (*cause.stack_entries, cause.detail))


def test_the_innermost_frames_of_a_deep_traceback_are_shown() -> None:
    with pytest.raises(ValueError, match="x") as raised:
        deep(500)
    assert text_of(raised.value).count("in deep") <= 12


def test_secrets_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-abcdefgh")
    monkeypatch.setenv("SHORT_KEY", "a")
    text = text_of(fail(ValueError("sk-abcdefgh is refused by https://me:hunter2@example.com/a")))
    assert "sk-abcdefgh" not in text
    assert "hunter2" not in text
    assert "https://***@example.com/a" in text
    assert masked("a b") == "a b"
