"""A run ends in bounded time although its nodes ignore the cancellation, and what they do later changes nothing."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog
from graphmesh.billing.v1 import BillingService, GetInvoiceRequest, Refund, RefundRequest, RefundResponse
from graphmesh.common.v1 import Money
from graphmesh_chassis.errors import ConnectionLost, GraphmeshError
from graphmesh_nodes import call
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.worker.abandoned import TooManyAbandoned, ping_of
from graphmesh_orchestrator.worker.node_threads import NodeThreads, node_threads
from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from tests.unit.orchestrator.memory_orchestrator import MemoryOrchestrator, MemoryWorker, error_of, open_orchestrator
from tests.unit.orchestrator.test_executor import a_run

RPC = BillingService.Refund
CENT = Money(currency_code="EUR", amount_minor=1)
REQUEST = RefundRequest(charge_id="ch_1", amount=CENT, cause="damaged")
REFUNDED = RefundResponse(refund=Refund(refund_id="re_1", charge_id="ch_1", amount=CENT), refundable=CENT)


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    with structlog.testing.capture_logs() as entries:
        yield entries


class State(TypedDict, total=False):
    is_stubborn: bool
    refunds: int


@dataclass
class Stubborn:
    """Nodes that continue after their cancellation, until they are released, and make an effect then."""

    entered: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    errors: list[GraphmeshError] = field(default_factory=list)
    thread_released: threading.Event = field(default_factory=threading.Event)

    async def swallows(self, state: State) -> State:
        if not state.get("is_stubborn"):
            return {"refunds": 0}
        writer = get_stream_writer()
        self.entered.set()
        while not self.released.is_set():
            try:
                await self.released.wait()
            except asyncio.CancelledError:
                continue
        writer({"late": True})
        try:
            await call(RPC, REQUEST)
        except GraphmeshError as error:
            self.errors.append(error)
        finally:
            self.ended.set()
        return {"refunds": 1}

    async def shields(self, state: State) -> State:
        return await asyncio.shield(asyncio.create_task(self.swallows(state)))

    def blocks(self, state: State) -> State:
        if state.get("is_stubborn"):
            self.entered.set()
            assert self.thread_released.wait(100)
        return {"refunds": 0}


@asynccontextmanager
async def orchestrator(node: Any, threads: NodeThreads | None = None) -> AsyncIterator[MemoryOrchestrator]:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    builder.add_node("refund", node)
    builder.add_edge(START, "refund")
    async with open_orchestrator(builder, threads) as here:
        here.mesh.serve(RPC, lambda request: REFUNDED)
        yield here


async def begin(worker: MemoryWorker, stubborn: Stubborn, **fields: Any) -> Run:
    run = await worker.submission.create(a_run(input={"is_stubborn": True}, **fields))
    async with asyncio.timeout(60):
        await stubborn.entered.wait()
    return run


async def other_tenant_runs(worker: MemoryWorker) -> None:
    other = await worker.execute(a_run(run_id="run_other", tenant="quiet", input={}))
    assert other.status is RunStatus.SUCCESS


@pytest.mark.parametrize("node", [Stubborn.swallows, Stubborn.shields], ids=["swallows", "shields"])
async def test_cancelled_run_ends_although_its_node_continues(node: Callable[..., Any]) -> None:
    """The node's event and effect come after the end: they are dropped and refused."""
    stubborn = Stubborn()
    async with orchestrator(node.__get__(stubborn)) as here:
        worker = here.worker()
        run = await begin(worker, stubborn)
        worker.in_flight.cancel(run.run_id, "not wanted any more")
        run = await worker.stopped(run)
        assert (run.status, worker.in_flight.held) == (RunStatus.CANCELLED, {})
        await other_tenant_runs(worker)
        before = await here.events(run)
        stubborn.released.set()
        async with asyncio.timeout(60):
            await stubborn.ended.wait()
        assert (len(stubborn.errors), here.mesh.calls) == (1, [])
        assert await here.events(run) == before
        assert await here.runs.get("acme", run.run_id) == run


async def test_attempts_and_reads_after_the_end_are_not_sent() -> None:
    """A shielded call whose first attempt was cut off with its connection is not tried again."""
    received, released, errors = asyncio.Event(), asyncio.Event(), list[str]()

    async def cut_off(request: RefundRequest) -> RefundResponse:
        received.set()
        await released.wait()
        raise ConnectionLost()

    async def refund_and_read() -> None:
        calls = (
            call(RPC, REQUEST),
            call(BillingService.GetInvoice, GetInvoiceRequest(invoice_id="in_1")),
        )
        for one in calls:
            try:
                await one
            except GraphmeshError as error:
                errors.append(error.reason)

    async def node(state: State) -> State:
        await asyncio.shield(asyncio.create_task(refund_and_read()))
        return {}

    async with orchestrator(node) as here:
        here.mesh.serve(RPC, cut_off)
        worker = here.worker()
        run = await worker.submission.create(a_run(input={}))
        async with asyncio.timeout(60):
            await received.wait()
            worker.in_flight.cancel(run.run_id, "not wanted any more")
            run = await worker.stopped(run)
            assert len(run.state.open_effects) == 1
            released.set()
            while len(errors) < 2:
                await asyncio.sleep(0)
        assert (errors, len(here.mesh.calls)) == (["FENCED", "FENCED"], 1)


async def test_deadline_ends_a_run_whose_node_continues() -> None:
    stubborn = Stubborn()
    async with orchestrator(stubborn.swallows) as here:
        worker = here.worker()
        run = await begin(worker, stubborn, deadline=datetime.now(UTC) + timedelta(seconds=3))
        run = await worker.stopped(run)
        assert (run.status, error_of(run).reason) == (RunStatus.TIMEOUT, "DEADLINE_EXCEEDED")
        assert worker.in_flight.held == {}
        stubborn.released.set()


async def test_thread_that_does_not_return_delays_no_end() -> None:
    """It takes a place of the worker until it returns, and no place of other threads."""
    stubborn = Stubborn()
    with node_threads() as threads:
        async with orchestrator(stubborn.blocks, threads) as here:
            worker = here.worker(capacity=2)
            run = await begin(worker, stubborn)
            worker.in_flight.cancel(run.run_id, "not wanted any more")
            run = await worker.stopped(run)
            assert (run.status, worker.in_flight.abandoned) == (RunStatus.CANCELLED, 1)
            await other_tenant_runs(worker)
            stubborn.thread_released.set()
            async with asyncio.timeout(60):
                while worker.in_flight.abandoned:
                    await asyncio.sleep(0)


@pytest.mark.parametrize("node", [Stubborn.swallows, Stubborn.shields, Stubborn.blocks])
async def test_drain_is_not_delayed_by_nodes_that_continue(node: Callable[..., Any]) -> None:
    """The run is released, not ended: another worker executes it."""
    stubborn = Stubborn()
    with node_threads() as threads:
        async with orchestrator(node.__get__(stubborn), threads) as here:
            worker = here.worker()
            run = await begin(worker, stubborn)
            async with asyncio.timeout(60):
                await worker.executor.drain(0)
            [again] = await here.worker("two").leases.claim(here.registry.served, 1)
            assert (again.run_id, again.state.takeovers) == (run.run_id, 0)
            stubborn.released.set()
            stubborn.thread_released.set()


async def test_abandoned_node_keeps_its_place_until_it_ends(logged: list[MutableMapping[str, Any]]) -> None:
    """It is logged with its graph, and the worker is not ready while half of its capacity is lost."""
    stubborn = Stubborn()
    async with orchestrator(stubborn.swallows) as here:
        worker = here.worker(capacity=2)
        ping = ping_of(worker.in_flight)
        run = await begin(worker, stubborn)
        await ping()
        worker.in_flight.cancel(run.run_id, "not wanted any more")
        await worker.stopped(run)
        assert worker.in_flight.free_capacity == 1
        with pytest.raises(TooManyAbandoned):
            await ping()
        [entry] = [entry for entry in logged if entry["event"] == "execution abandoned"]
        assert (entry["graph"], entry["nodes"], entry["abandoned"]) == ("pay", ["refund"], 1)
        stubborn.released.set()
        async with asyncio.timeout(60):
            while worker.in_flight.free_capacity < 2:
                await asyncio.sleep(0)
        await ping()
