"""A run whose executions die again and again is executed alone, and ends in a bounded number of them."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog
from graphmesh.billing.v1 import BillingService, Refund, RefundRequest, RefundResponse
from graphmesh.common.v1 import Money
from graphmesh_nodes import call
from graphmesh_orchestrator.db.clock import LEASE_SECONDS
from graphmesh_orchestrator.leases.in_flight import ALONE_SECONDS, ActiveRun, InFlight, Worker
from graphmesh_orchestrator.leases.leases import MAX_TAKEOVERS
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.worker.executor import Bounds
from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

from tests.unit.orchestrator.memory_orchestrator import MemoryOrchestrator, MemoryWorker, error_of, open_orchestrator
from tests.unit.orchestrator.test_executor import a_run

RPC = BillingService.Refund
CENT = Money(currency_code="EUR", amount_minor=1)
REQUEST = RefundRequest(charge_id="ch_1", amount=CENT, cause="damaged")
REFUNDED = RefundResponse(refund=Refund(refund_id="re_1", charge_id="ch_1", amount=CENT), refundable=CENT)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


class State(TypedDict, total=False):
    way: str
    answer: str


inner: StateGraph[Any, Any, Any, Any] = StateGraph(State)
inner.add_node("step", lambda state: {"answer": "step"})
inner.add_edge(START, "step")
SUBGRAPH = inner.compile()


@dataclass
class Deadly:
    """A node whose executions die after they have stored something: the test takes its run over where it waits."""

    entered: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    async def __call__(self, state: State) -> State:
        if not (way := state.get("way")):
            return {}
        match way:
            case "event":
                get_stream_writer()({"at": "the edge"})
            case "effect":
                await call(RPC, REQUEST)
            case "subgraph":
                await SUBGRAPH.ainvoke({})
            case "answer":
                interrupt("sure?")
        self.entered.release()
        await asyncio.Event().wait()
        return {}


def graph_of(node: Callable[..., Any]) -> StateGraph[Any, Any, Any, Any]:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    builder.add_node("deadly", node)
    builder.add_edge(START, "deadly")
    return builder


async def die(here: MemoryOrchestrator, worker: MemoryWorker, run: Run) -> None:
    """End the execution of a run as the death of its worker does."""
    worker.in_flight.lost(run.run_id, run.state.epoch)
    async with asyncio.timeout(60):
        while worker.in_flight.held:
            await asyncio.sleep(0)
    here.advanced += LEASE_SECONDS + 1


@pytest.mark.parametrize("way", ["nothing", "event", "effect", "subgraph", "answer"])
async def test_run_ends_whatever_its_executions_store(way: str) -> None:
    """Only a checkpoint of the run is progress: each execution of a node stores the same events and effects again."""
    deadly = Deadly()
    async with open_orchestrator(graph_of(deadly.__call__)) as here:
        here.mesh.serve(RPC, lambda request: REFUNDED)
        worker = here.worker()
        run = await worker.submission.create(a_run(input={"way": way}))
        if way == "answer":
            run = await worker.stopped(run)
            [question] = (await here.interrupts.open([run.run_id]))[run.run_id]
            await here.interrupts.answer("acme", run.run_id, {question.interrupt_id: "yes"}, "ana")
            run = await worker.claim()
        executions = 0
        while True:
            waiting = asyncio.create_task(deadly.entered.acquire())
            stopped = asyncio.create_task(worker.stopped(run))
            await asyncio.wait((waiting, stopped), return_when=asyncio.FIRST_COMPLETED)
            if stopped.done():
                waiting.cancel()
                break
            stopped.cancel()
            executions += 1
            assert executions < 20
            await die(here, worker, run)
            worker = here.worker(f"worker_{executions}")
            run = await worker.claim()
        ended = stopped.result()
        assert (ended.status, error_of(ended).reason) == (RunStatus.ERROR, "RUN_POISONED")
        assert executions == Bounds().max_takeovers + 1


async def test_worker_admits_no_run_beside_one_that_may_end_its_process() -> None:
    """Until that run has a checkpoint."""
    deadly = Deadly()
    async with open_orchestrator(graph_of(deadly.__call__)) as here:
        worker = here.worker()
        run = await worker.submission.create(a_run(run_id="run_1", input={"way": "nothing"}))
        for number in range(MAX_TAKEOVERS):
            await deadly.entered.acquire()
            await die(here, worker, run)
            worker = here.worker(f"worker_{number}")
            run = await worker.claim()
        await deadly.entered.acquire()
        assert (run.state.takeovers, worker.in_flight.free_capacity) == (MAX_TAKEOVERS, 0)
        other = await worker.submission.create(a_run(run_id="run_2", tenant="quiet", input={}))
        assert other.status is RunStatus.PENDING
        two = here.worker("two")
        await two.claim()
        assert (await two.stopped(other)).status is RunStatus.SUCCESS
        worker.in_flight.cancel(run.run_id, "not wanted any more")
        await worker.stopped(run)
        assert worker.in_flight.free_capacity > 0


def test_worker_admits_runs_again_after_some_time() -> None:
    """A run that hangs keeps no worker from others."""
    now = 0.0
    in_flight = InFlight(Worker(capacity=2), clock=lambda: now)
    run = a_run(takeovers=MAX_TAKEOVERS)
    in_flight.add(ActiveRun(run, "", in_flight.lease(0.0)))
    assert in_flight.free_capacity == 0
    now = ALONE_SECONDS
    assert in_flight.free_capacity == 1


def test_worker_admits_runs_beside_one_with_progress() -> None:
    in_flight = InFlight(Worker(capacity=2), clock=lambda: 0.0)
    active = ActiveRun(a_run(takeovers=MAX_TAKEOVERS), "", in_flight.lease(0.0))
    in_flight.add(active)
    active.takeovers = lambda: 0
    assert in_flight.free_capacity == 1
