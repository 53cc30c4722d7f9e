"""Code of a graph that asks the process to exit fails its run, and no other run of the process."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import pytest
import structlog
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.worker.graph_exits import ExitRequested, exits_contained
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from tests.unit.orchestrator.memory_orchestrator import error_of, open_orchestrator
from tests.unit.orchestrator.test_executor import Gate, a_run

Raises = Callable[..., Any]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Rendering tracebacks takes seconds."""
    with structlog.testing.capture_logs():
        yield


class Unforeseen(BaseException):
    """An exception that `except Exception` does not catch."""


def sync_node(exits: Raises) -> StateGraph[Any, Any, Any, Any]:
    return _graph(node=lambda state: exits())


def async_node(exits: Raises) -> StateGraph[Any, Any, Any, Any]:
    async def node(state: Any) -> Any:
        await asyncio.sleep(0)
        return exits()

    return _graph(node=node)


def task_of_a_node(exits: Raises) -> StateGraph[Any, Any, Any, Any]:
    async def inner() -> Any:
        return exits()

    async def node(state: Any) -> Any:
        return await asyncio.create_task(inner())

    return _graph(node=node)


def edge(exits: Raises) -> StateGraph[Any, Any, Any, Any]:
    graph = _graph()
    graph.add_conditional_edges("node", lambda state: exits() if state["is_attacked"] else END)
    return graph


def reducer(exits: Raises) -> StateGraph[Any, Any, Any, Any]:
    def reduce(old: Any, new: Any) -> Any:
        return exits() if new == "node" else new

    return _graph(reduce=reduce)


def subgraph(exits: Raises) -> StateGraph[Any, Any, Any, Any]:
    return _graph(node=async_node(exits).compile())


def _graph(node: Any = None, reduce: Any = lambda old, new: new) -> StateGraph[Any, Any, Any, Any]:
    """Build a graph that is attacked where its input says so, else waits at `gate`."""

    class State(TypedDict, total=False):
        is_attacked: bool
        value: Annotated[str, reduce]

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    builder.add_node("node", node or _node)
    builder.add_node("gate", gate)
    builder.add_conditional_edges(START, lambda state: "node" if state["is_attacked"] else "gate", ["node", "gate"])
    return builder


def _node(state: Any) -> Any:
    return {"value": "node"}


async def gate(state: Any) -> Any:
    await GATES[-1](state)
    return {"value": "gate"}


GATES: list[Gate] = []


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, asyncio.CancelledError, Unforeseen])
@pytest.mark.parametrize("graph_of", [sync_node, async_node, task_of_a_node, edge, reducer, subgraph])
async def test_exit_fails_its_run_alone(graph_of: Callable[[Raises], Any], error: type[BaseException]) -> None:
    """A run of another tenant, which the same process executes meanwhile, succeeds."""

    def exits() -> Any:
        raise error(3)

    GATES.append(Gate())
    with exits_contained():
        async with open_orchestrator(graph_of(exits)) as here:
            worker = here.worker()
            other = await worker.submission.create(a_run(run_id="run_2", tenant="other", input={"is_attacked": False}))
            await GATES[-1].until_entered()
            run = await worker.execute(a_run(input={"is_attacked": True}))
            assert (run.status, error_of(run).reason) == (RunStatus.ERROR, "NODE_FAILED")
            assert error_of(run).data["type"].removeprefix("Node") == error.__name__  # LangGraph has NodeCancelledError
            GATES[-1].is_open.set()
            assert (await worker.stopped(other)).status is RunStatus.SUCCESS


async def test_task_that_is_cancelled_before_it_begins_leaves_no_coroutine() -> None:
    """As a task without containment: a coroutine that was never awaited is reported as an error of its author."""

    async def never() -> None:
        raise AssertionError

    with exits_contained():
        task = asyncio.create_task(never(), name="never")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.get_name() == "never"


async def test_exit_is_the_cause_of_its_error() -> None:
    async def leave() -> None:
        raise SystemExit(3)

    with exits_contained():
        with pytest.raises(ExitRequested) as raised:
            await asyncio.create_task(leave())
        assert isinstance(raised.value.__cause__, SystemExit)
    assert asyncio.get_running_loop().get_task_factory() is None
