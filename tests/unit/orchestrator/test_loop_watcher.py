"""A node that blocks the event loop is named in the log while it does."""

import asyncio
import time
from collections.abc import MutableMapping
from typing import Annotated, Any

import structlog
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.worker.graph_exits import exits_contained
from graphmesh_orchestrator.worker.loop_watcher import BLOCKED, LoopWatcher, WatchIntervals
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from tests.unit.orchestrator.memory_orchestrator import GRAPH, open_orchestrator
from tests.unit.orchestrator.test_executor import a_run, logs, sequence

Logged = list[MutableMapping[str, Any]]
INTERVALS = WatchIntervals(beat=0.01, blocked=0.1)


def compute(logged: Logged) -> None:
    """Block until it is reported."""
    ends = time.monotonic() + 60
    while not blocks(logged) and time.monotonic() < ends:
        pass


def blocks(logged: Logged, function: str = "compute") -> Logged:
    """Return the reports of a function. On a loaded machine others block the loop too."""
    found = [entry for entry in logged if entry["event"] == BLOCKED and entry["run"]]
    return [entry for entry in found if any(frame.endswith(f" {function}") for frame in entry["frames"])]


async def watched(graph: StateGraph[Any, Any, Any, Any], **fields: Any) -> str:
    """Execute a run while the loop is watched, and return its id."""
    with exits_contained():
        return await executed(graph, **fields)


async def executed(graph: StateGraph[Any, Any, Any, Any], **fields: Any) -> str:
    async with open_orchestrator(graph) as here:
        worker = here.worker()
        watching = asyncio.create_task(LoopWatcher(worker.in_flight, INTERVALS).run())
        run = await worker.execute(a_run(**fields))
        watching.cancel()
        assert run.status is RunStatus.SUCCESS
        return run.run_id


async def test_blocking_node_is_named() -> None:
    with structlog.testing.capture_logs() as logged:

        async def slow(state: Any) -> Any:
            compute(logged)
            return {}

        run_id = await watched(sequence(quick=logs("quick"), slow=slow))

        [entry] = blocks(logged)
        assert (entry["graph"], entry["run"], entry["node"]) == (GRAPH, run_id, "slow")
        assert any(frame.endswith(" compute") for frame in entry["frames"])


async def test_blocking_reducer_is_attributed_to_its_run() -> None:
    with structlog.testing.capture_logs() as logged:

        def add(before: list[str], more: list[str]) -> list[str]:
            if more:
                compute(logged)
            return [*before, *more]

        class State(TypedDict, total=False):
            log: Annotated[list[str], add]

        graph = StateGraph(State)
        graph.add_node("quick", lambda state: {"log": ["x"]})
        graph.add_edge(START, "quick")
        run_id = await watched(graph)

        [entry] = blocks(logged)
        assert (entry["graph"], entry["run"]) == (GRAPH, run_id)


async def test_sync_node_that_computes_blocks_nothing() -> None:
    with structlog.testing.capture_logs() as logged:

        def slow(state: Any) -> Any:
            ends = time.thread_time() + 0.3
            while time.thread_time() < ends:
                pass
            return {}

        await watched(sequence(slow=slow))

        assert not blocks(logged, "slow")
