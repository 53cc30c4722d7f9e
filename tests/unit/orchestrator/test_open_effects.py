"""The events of a run have every effect that was sent, however the run ends, and its end lists the open ones."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog
from graphmesh.billing.v1 import BillingService, Refund, RefundRequest, RefundResponse
from graphmesh.common.v1 import Money
from graphmesh_chassis.errors import Cancelled, ConnectionLost, NotFound
from graphmesh_nodes import call
from graphmesh_nodes.testing.twin_mesh import Fault
from graphmesh_orchestrator.db.clock import LEASE_SECONDS
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.events import EventKind
from graphmesh_orchestrator.runs.run import Run
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from tests.contract.stored_events import Event
from tests.unit.orchestrator.memory_orchestrator import MemoryOrchestrator, open_orchestrator
from tests.unit.orchestrator.test_executor import a_run

RPC = BillingService.Refund
CENT = Money(currency_code="EUR", amount_minor=1)
REFUNDED = RefundResponse(refund=Refund(refund_id="re_1", charge_id="ch_1", amount=CENT), refundable=CENT)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Rendering tracebacks takes seconds."""
    with structlog.testing.capture_logs():
        yield


class State(TypedDict, total=False):
    refunds: int


async def refund(state: State) -> State:
    request = RefundRequest(charge_id="ch_1", amount=CENT, cause="damaged")
    await call(RPC, request)
    return {"refunds": 1}


async def refund_or_not(state: State) -> State:
    try:
        return await refund(state)
    except ConnectionLost:
        return {"refunds": 0}


def graph_of(node: Any) -> StateGraph[Any, Any, Any, Any]:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    builder.add_node("refund", node)
    builder.add_edge(START, "refund")
    return builder


class Hanging:
    """The service while it processes an effect."""

    def __init__(self) -> None:
        self.received = asyncio.Event()

    async def __call__(self, request: RefundRequest) -> RefundResponse:
        self.received.set()
        await asyncio.Event().wait()
        return REFUNDED


async def calls_of(here: MemoryOrchestrator, run: Run) -> list[Event]:
    return [event for event in await here.events(run) if event.kind is EventKind.TOOL_CALLED]


async def listed(here: MemoryOrchestrator, run: Run) -> list[dict[str, str]]:
    """Return the open effects that the end of a run lists, which is its last event."""
    last = (await here.events(run))[-1]
    assert last.data["status"] == run.status
    effects: list[dict[str, str]] = last.data["open_effects"]
    return effects


async def assert_reported_as_open(here: MemoryOrchestrator, run: Run) -> None:
    """The effect has its event before the end, as one that may have happened, and the end lists it."""
    [called] = await calls_of(here, run)
    assert (called.node, called.data["tool"], called.data["may_have_happened"]) == ("refund", RPC.tool, True)
    assert [one.effect_key for one in here.mesh.calls][:1] == [called.data["effect_key"]]
    effect = {"node": "refund", "tool": RPC.tool, "effect_key": called.data["effect_key"]}
    assert await listed(here, run) == [effect]
    assert (await here.runs.get("acme", run.run_id)).state.open_effects.keys() == {called.data["effect_key"]}


async def test_cancelled_run_reports_the_effect_in_flight() -> None:
    async with open_orchestrator(graph_of(refund)) as here:
        service, worker = Hanging(), here.worker()
        here.mesh.serve(RPC, service)
        run = await worker.submission.create(a_run(input={}))
        await service.received.wait()
        worker.in_flight.cancel(run.run_id, "not wanted any more")
        run = await worker.stopped(run)
        assert run.status is RunStatus.CANCELLED
        await assert_reported_as_open(here, run)


async def test_run_that_exceeds_its_deadline_reports_the_effect_in_flight() -> None:
    async with open_orchestrator(graph_of(refund)) as here:
        here.mesh.serve(RPC, Hanging())
        run = await here.worker().execute(a_run(input={}, deadline=datetime.now(UTC) + timedelta(seconds=3)))
        assert run.status is RunStatus.TIMEOUT
        await assert_reported_as_open(here, run)


async def test_effect_is_recorded_before_it_is_sent() -> None:
    """So it is known even where the process ends during the call."""
    async with open_orchestrator(graph_of(refund)) as here:
        stored: list[Any] = []

        async def service(request: RefundRequest) -> RefundResponse:
            stored.append(here.tables.runs["run_1"]["open_effects"])
            return REFUNDED

        here.mesh.serve(RPC, service)
        run = await here.worker().execute(a_run(input={}))
        [called] = await calls_of(here, run)
        effect = {"node": "refund", "namespace": [], "tool": RPC.tool, "is_reported": False}
        assert stored == [{called.data["effect_key"]: effect}]
        assert (run.status, run.state.open_effects, await listed(here, run)) == (RunStatus.SUCCESS, {}, [])


async def test_run_that_is_cancelled_after_the_death_of_its_worker_reports_the_effect() -> None:
    """The worker that ends it executes nothing, and has not sent it."""
    async with open_orchestrator(graph_of(refund)) as here:
        service, one, two = Hanging(), here.worker("one"), here.worker("two")
        here.mesh.serve(RPC, service)
        run = await one.submission.create(a_run(input={}))
        await service.received.wait()
        here.advanced = LEASE_SECONDS + 1
        await here.runs.request_cancellation("acme", run.run_id, "over")
        run = await two.stopped(await two.claim())
        assert (run.status, run.state.epoch) == (RunStatus.CANCELLED, 2)
        await assert_reported_as_open(here, run)
        one.in_flight.lost(run.run_id, run.state.epoch)


async def test_next_worker_resolves_the_effect() -> None:
    async with open_orchestrator(graph_of(refund)) as here:
        service, one, two = Hanging(), here.worker("one"), here.worker("two")
        here.mesh.serve(RPC, service)
        run = await one.submission.create(a_run(input={}))
        await service.received.wait()
        here.advanced = LEASE_SECONDS + 1
        here.mesh.serve(RPC, lambda request: REFUNDED)
        run = await two.stopped(await two.claim())
        assert (run.status, await listed(here, run)) == (RunStatus.SUCCESS, [])
        assert len(await calls_of(here, run)) == 1
        one.in_flight.lost(run.run_id, run.state.epoch)


async def test_success_lists_an_effect_whose_outcome_stayed_open() -> None:
    """The graph handled the error; that does not tell whether the effect happened."""
    async with open_orchestrator(graph_of(refund_or_not)) as here:
        here.mesh.serve(RPC, lambda request: REFUNDED)
        here.mesh.fail(RPC, Fault(ConnectionLost(), None, after_execution=True))
        run = await here.worker().execute(a_run(input={}))
        assert (run.status, run.state.output) == (RunStatus.SUCCESS, {"refunds": 0})
        await assert_reported_as_open(here, run)


async def test_refused_effect_is_not_open() -> None:
    async with open_orchestrator(graph_of(refund)) as here:
        here.mesh.serve(RPC, _refuses)
        run = await here.worker().execute(a_run(input={}))
        [called] = await calls_of(here, run)
        assert (run.status, called.data["may_have_happened"]) == (RunStatus.ERROR, False)
        assert (run.state.open_effects, await listed(here, run)) == ({}, [])


async def test_effect_that_was_not_sent_is_not_reported() -> None:
    """The run was cancelled while the effect was being recorded."""
    async with open_orchestrator(graph_of(refund)) as here:
        here.mesh.serve(RPC, lambda request: REFUNDED)
        worker = here.worker()
        run = await worker.submission.create(a_run(input={}))

        async def cancel() -> None:
            worker.in_flight.cancel(run.run_id, "over")
            for _ in range(100):
                await asyncio.sleep(0)

        await _before_batch_with(here, lambda entry: bool(entry.run.get("open_effects")), cancel)
        run = await worker.stopped(run)
        assert (run.status, here.mesh.calls) == (RunStatus.CANCELLED, [])
        assert (await calls_of(here, run), await listed(here, run), run.state.open_effects) == ([], [], {})


async def test_call_that_outlives_its_run_is_not_sent() -> None:
    """A node may shield its calls from its own cancellation; after the end of the run nothing may be sent."""
    refused: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
    ended = asyncio.Event()

    async def shielded(state: State) -> State:
        async def later() -> None:
            await ended.wait()
            try:
                await refund(state)
            except BaseException as error:
                refused.set_result(error)

        refused.later = asyncio.create_task(later())  # type: ignore[attr-defined]
        return {"refunds": 0}

    async with open_orchestrator(graph_of(shielded)) as here:
        here.mesh.serve(RPC, lambda request: REFUNDED)
        run = await here.worker().execute(a_run(input={}))
        ended.set()
        assert isinstance(await refused, Cancelled)
        assert (here.mesh.calls, (await here.events(run))[-1].data["status"]) == ([], RunStatus.SUCCESS)


async def _before_batch_with(here: MemoryOrchestrator, matches: Callable[[Any], bool], action: Any) -> None:
    """Run an action before the first batch with such an entry is written, and return when it is about to be."""
    reached = asyncio.Event()

    async def check() -> None:
        if any(matches(entry) for entry in here.writer.batches[-1]):
            reached.set()
            await action()
        else:
            here.writer.before_next(check)

    here.writer.before_next(check)
    async with asyncio.timeout(60):
        await reached.wait()


def _refuses(request: RefundRequest) -> RefundResponse:
    raise NotFound(resource="charge", id=request.charge_id)
