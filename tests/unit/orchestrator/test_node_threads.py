"""Synchronous nodes of one run do not delay those of another, however many they are."""

import asyncio
import threading
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any

from graphmesh_chassis.admission import RESERVED
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.worker.node_threads import CURRENT_RUN, NodeThreads, node_threads
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from tests.unit.orchestrator.memory_orchestrator import open_orchestrator
from tests.unit.orchestrator.test_executor import a_run

CAPACITY = 30
"""More than asyncio's default executor has threads on small machines."""


class Blocked:
    """Functions that block their threads until they are released."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.begun = threading.Semaphore(0)

    def __call__(self, state: Any = None) -> dict[str, Any]:
        self.begun.release()
        assert self.released.wait(100)
        return {}

    def await_begun(self, times: int) -> None:
        for _ in range(times):
            assert self.begun.acquire(timeout=60)


def submit(threads: NodeThreads, run_id: str, function: Any) -> "Future[Any]":
    """Submit a function as a task of a run does."""

    def as_run() -> "Future[Any]":
        CURRENT_RUN.set(run_id)
        return threads.submit(function)

    return copy_context().run(as_run)


def test_each_run_has_a_thread_of_its_own() -> None:
    blocked = Blocked()
    with NodeThreads(shared=1) as threads:
        calls = [submit(threads, "run_1", blocked) for _ in range(5)]
        blocked.await_begun(2)
        assert submit(threads, "run_2", lambda: "other").result(60) == "other"
        assert threads.submit(lambda: "no run").result(60) == "no run"
        assert not blocked.begun.acquire(blocking=False), "the others wait for a shared thread"
        blocked.released.set()
        assert [call.result(60) for call in calls] == [{}] * 5


def test_shared_threads_are_passed_on() -> None:
    first, second = Blocked(), Blocked()
    with NodeThreads(shared=1) as threads:
        calls = [submit(threads, "run_1", first) for _ in range(2)]
        first.await_begun(2)
        calls += [submit(threads, "run_2", second) for _ in range(2)]
        second.await_begun(1)
        first.released.set()
        second.await_begun(1)
        second.released.set()
        for call in calls:
            call.result(60)


def test_threads_of_an_ended_run_are_not_counted() -> None:
    """Functions that do not return take neither the thread of the run's next execution nor those that runs share."""
    blocked, next_blocked = Blocked(), Blocked()
    with NodeThreads(shared=1) as threads:
        calls = [submit(threads, "run_1", blocked) for _ in range(2)]
        blocked.await_begun(2)
        calls += [submit(threads, "run_2", next_blocked) for _ in range(2)]
        next_blocked.await_begun(1)
        assert set(threads.end_run("run_1")) == set(calls[:2])
        next_blocked.await_begun(1)
        assert submit(threads, "run_1", lambda: "next").result(60) == "next"
        assert threads.end_run("run_1") == []
        for one in (blocked, next_blocked):
            one.released.set()
        assert [call.result(60) for call in calls] == [{}] * 4
        assert submit(threads, "run_2", lambda: "next").result(60) == "next"


def test_cancelled_call_is_not_executed() -> None:
    blocked = Blocked()
    with NodeThreads(shared=0) as threads:
        running = submit(threads, "run_1", blocked)
        blocked.await_begun(1)
        waiting = submit(threads, "run_1", blocked)
        assert waiting.cancel()
        blocked.released.set()
        assert running.result(60) == {}
        assert submit(threads, "run_1", lambda: "next").result(60) == "next"
        assert not blocked.begun.acquire(blocking=False)


def test_error_of_a_function_is_its_callers() -> None:
    with NodeThreads() as threads:
        error = submit(threads, "run_1", lambda: [][1]).exception(20)
        assert isinstance(error, IndexError)


async def test_slow_nodes_of_one_graph_do_not_delay_another_run() -> None:
    """As many runs as the worker executes of a tenant, each with more slow nodes than there are shared threads."""
    blocked = Blocked()

    class State(TypedDict, total=False):
        is_slow: bool

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    slow = [f"slow_{number}" for number in range(5)]
    for name in slow:
        builder.add_node(name, blocked.__call__)
    builder.add_node("quick", lambda state: {})
    builder.add_conditional_edges(START, lambda state: slow if state["is_slow"] else "quick", [*slow, "quick"])
    with node_threads():
        async with open_orchestrator(builder) as here:
            worker = here.worker(capacity=CAPACITY)
            runs = [
                await worker.submission.create(a_run(run_id=f"run_{number}", tenant="slow", input={"is_slow": True}))
                for number in range(CAPACITY - CAPACITY // RESERVED)
            ]
            await asyncio.to_thread(blocked.await_begun, len(runs))
            other = await worker.execute(a_run(run_id="run_quick", tenant="other", input={"is_slow": False}))
            assert other.status is RunStatus.SUCCESS
            assert not blocked.released.is_set()
            blocked.released.set()
            for run in runs:
                assert (await worker.stopped(run)).status is RunStatus.SUCCESS
