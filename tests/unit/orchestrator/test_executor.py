"""The executor without a database: runs succeed, fail, are cancelled, park, resume, and are lost to other workers."""

import asyncio
import operator
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import pytest
import structlog
from google.rpc import status_pb2
from graphmesh_chassis.errors import NotFound
from graphmesh_chassis.identity import Caller
from graphmesh_chassis.status import from_status
from graphmesh_nodes.approval_terms import ApprovalAnswer, ApprovalStatus, ApprovalTerms
from graphmesh_nodes.budget import Limits
from graphmesh_orchestrator.db.clock import LEASE_SECONDS
from graphmesh_orchestrator.notifications.notifier import Topic
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.events import EventKind
from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.webhooks.delivery import DeliveryStatus
from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

from tests.contract import runs
from tests.unit.orchestrator.memory_orchestrator import (
    GRAPH,
    MemoryOrchestrator,
    MemoryWorker,
    error_of,
    open_orchestrator,
)

Node = Any
"""A function, or an object with `__call__`, that LangGraph takes as a node."""


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    """Capture the log: rendering tracebacks takes seconds."""
    with structlog.testing.capture_logs() as entries:
        yield entries


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    answer: Any


def a_run(**fields: Any) -> Run:
    return runs.a_run(**{"graph": GRAPH, "created": datetime.now(UTC), "input": {"log": []}, **fields})


def logs(name: str) -> Node:
    """Return a node that logs its name."""
    return lambda state: {"log": [name]}


def sequence(**nodes: Node) -> StateGraph[Any, Any, Any, Any]:
    """Build a graph of nodes one after another."""
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    before = START
    for name, node in nodes.items():
        builder.add_node(name, node)
        builder.add_edge(before, name)
        before = name
    return builder


def asks(state: State) -> State:
    return {"answer": interrupt("sure?")}


@dataclass
class Gate:
    """A node that waits until it is opened."""

    entered: int = 0
    cancelled: int = 0
    is_open: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, state: State) -> State:
        self.entered += 1
        try:
            await self.is_open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return {"log": ["gate"]}

    async def until_entered(self, times: int = 1) -> None:
        async with asyncio.timeout(60):
            while self.entered < times:
                await asyncio.sleep(0)


async def test_run_succeeds_with_its_events_in_order() -> None:
    async with open_orchestrator(sequence(a=logs("a"), b=logs("b"))) as here:
        worker = here.worker()
        run = await worker.execute(a_run(thread_id="th"))
        assert (run.status, run.state.output) == (RunStatus.SUCCESS, {"log": ["a", "b"]})
        assert (run.state.holds_thread, run.state.error, run.accounting.usage.steps) == (False, None, 2)
        assert run.state.started is not None
        assert run.state.ended is not None
        assert run == await here.runs.get("acme", run.run_id)
        assert await here.trace(run) == ["running", "+a", "-a", "+b", "-b", "success"]
        events = await here.events(run)
        assert (events[0].data["epoch"], events[2].data["update"]) == (1, {"log": ["a"]})
        assert run.accounting.last_seq == len(events)
        assert (worker.freed_threads, worker.in_flight.held) == (1, {})


async def test_next_run_continues_from_the_state_of_the_thread() -> None:
    async with open_orchestrator(sequence(a=logs("a"))) as here:
        worker = here.worker()
        await worker.execute(a_run(run_id="run_1", thread_id="th"))
        run = await worker.execute(a_run(run_id="run_2", thread_id="th"))
        assert run.state.output == {"log": ["a", "a"]}


async def test_custom_events_are_those_of_the_graph() -> None:
    def writes(state: State) -> State:
        get_stream_writer()({"progress": 0.5})
        get_stream_writer()("half")
        return {}

    async with open_orchestrator(sequence(a=writes)) as here:
        run = await here.worker().execute(a_run())
        custom = [event.data for event in await here.events(run) if event.kind is EventKind.CUSTOM]
        assert custom == [{"progress": 0.5}, {"value": "half"}]


async def test_failing_node_ends_the_run(logged: list[MutableMapping[str, Any]]) -> None:
    """The error names the node and the type; the cause is in the log alone."""

    def fails(state: State) -> State:
        raise ValueError("a secret of the customer")

    async with open_orchestrator(sequence(a=logs("a"), b=fails)) as here:
        run = await here.worker().execute(a_run())
        assert (run.status, run.state.output) == (RunStatus.ERROR, None)
        assert error_of(run).reason == "NODE_FAILED"
        assert error_of(run).data == {"node": "b", "type": "ValueError"}
        assert "secret" not in error_of(run).message
        [entry] = [entry for entry in logged if entry["event"] == "run ended"]
        assert repr(entry["exc_info"].__cause__) == "ValueError('a secret of the customer')"
        assert await here.trace(run) == ["running", "+a", "-a", "+b", "-b", "error"]
        failed = (await here.events(run))[-2]
        assert failed.data == {"cached": False, "error": status_pb2.Status.FromString(run.state.error or b"")}


def refuses(state: State) -> State:
    raise NotFound(resource="invoice", id="inv_1")


async def test_failed_node_with_an_error_handler_has_its_end() -> None:
    graph: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    graph.add_node("refuses", refuses, error_handler=lambda state: {"log": ["handled"]})
    graph.add_edge(START, "refuses")
    async with open_orchestrator(graph) as here:
        run = await here.worker().execute(a_run())
        assert (run.status, run.state.output) == (RunStatus.SUCCESS, {"log": ["handled"]})
        [failed, handled] = [event for event in await here.events(run) if event.kind is EventKind.NODE_FINISHED]
        assert (failed.node, from_status(failed.data["error"]).reason) == ("refuses", "RESOURCE_NOT_FOUND")
        assert "update" not in failed.data
        assert "error" not in handled.data


async def test_node_that_is_cancelled_as_another_fails_has_its_end() -> None:
    async def waits(state: State) -> State:
        await asyncio.Event().wait()
        return {}

    graph: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    for name, node in {"waits": waits, "refuses": refuses}.items():
        graph.add_node(name, node)
        graph.add_edge(START, name)
    async with open_orchestrator(graph) as here:
        run = await here.worker().execute(a_run())
        ends = [event for event in await here.events(run) if event.kind is EventKind.NODE_FINISHED]
        errors = {event.node: from_status(event.data["error"]).reason for event in ends}
        assert (run.status, errors) == (RunStatus.ERROR, {"refuses": "RESOURCE_NOT_FOUND", "waits": "NODE_FAILED"})


async def test_error_of_the_mesh_ends_the_run_as_it_is() -> None:
    async with open_orchestrator(sequence(a=refuses)) as here:
        run = await here.worker().execute(a_run())
        assert (error_of(run).reason, error_of(run).data["id"]) == ("RESOURCE_NOT_FOUND", "inv_1")


async def test_cancelled_run_cancels_its_node() -> None:
    gate = Gate()
    async with open_orchestrator(sequence(gate=gate)) as here:
        worker = here.worker()
        run = await worker.submission.create(a_run())
        await gate.until_entered()
        worker.in_flight.cancel(run.run_id, "not wanted any more")
        run = await worker.stopped(run)
        assert (run.status, gate.cancelled) == (RunStatus.CANCELLED, 1)
        assert "not wanted any more" in error_of(run).message
        assert await here.trace(run) == ["running", "+gate", "cancelled"]


async def test_run_that_is_cancelled_before_it_begins_executes_nothing() -> None:
    async with open_orchestrator(sequence(a=logs("a"))) as here:
        worker = here.worker()
        await here.runs.add(a_run(), "")
        await here.runs.request_cancellation("acme", "run_1", "over")
        run = await worker.stopped(await worker.claim())
        assert run.status is RunStatus.CANCELLED
        assert await here.trace(run) == ["running", "cancelled"]


async def test_deadline_ends_the_run() -> None:
    gate = Gate()
    async with open_orchestrator(sequence(gate=gate)) as here:
        run = await here.worker().execute(a_run(deadline=datetime.now(UTC) + timedelta(seconds=3)))
        assert (run.status, error_of(run).reason, gate.cancelled) == (RunStatus.TIMEOUT, "DEADLINE_EXCEEDED", 1)


async def test_timeout_of_a_node_is_not_the_deadline_of_the_run() -> None:
    async def times_out(state: State) -> State:
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()
        return {}

    async with open_orchestrator(sequence(a=times_out)) as here:
        run = await here.worker().execute(a_run())
        assert (run.status, error_of(run).data) == (RunStatus.ERROR, {"node": "a", "type": "TimeoutError"})


async def test_recursion_limit_ends_the_run() -> None:
    loop = sequence(a=logs("a"))
    loop.add_edge("a", "a")
    async with open_orchestrator(loop) as here:
        run = await here.worker().execute(a_run(recursion_limit=3))
        assert (run.status, error_of(run).reason) == (RunStatus.ERROR, "RECURSION_LIMIT")
        assert (await here.trace(run)).count("-a") == 3


async def test_exhausted_budget_ends_the_run_after_its_superstep() -> None:
    async with open_orchestrator(sequence(a=logs("a"), b=logs("b"), c=logs("c"))) as here:
        run = await here.worker().execute(a_run(limits=Limits(max_steps=2)))
        assert (run.status, error_of(run).reason) == (RunStatus.ERROR, "STEP_LIMIT")
        assert await here.trace(run) == ["running", "+a", "-a", "+b", "-b", "error"]


async def test_run_that_a_limit_ends_has_the_output_of_its_last_superstep() -> None:
    async with open_orchestrator(sequence(a=logs("a"), b=logs("b"), c=logs("c"))) as here:
        run = await here.worker().execute(a_run(limits=Limits(max_steps=2)))
        assert run.state.output == {"log": ["a", "b"]}


async def test_interrupted_run_parks_as_rows_alone() -> None:
    async with open_orchestrator(sequence(a=logs("a"), ask=asks)) as here:
        worker = here.worker()
        run = await worker.execute(a_run())
        assert (run.status, run.state.holds_thread, run.state.ended) == (RunStatus.INTERRUPTED, True, None)
        assert worker.in_flight.held == {}
        [question] = (await here.interrupts.open([run.run_id]))[run.run_id]
        assert (question.node, question.value, question.approval_id) == ("ask", "sure?", "")
        [*_, parked] = await here.events(run)
        assert [one["interrupt_id"] for one in parked.data["interrupts"]] == [question.interrupt_id]
        assert await worker.leases.claim(here.registry.served, 1) == []


async def test_answered_run_resumes_on_any_worker() -> None:
    async with open_orchestrator(sequence(a=logs("a"), ask=asks, b=logs("b"))) as here:
        run = await here.worker("one").execute(a_run())
        [question] = (await here.interrupts.open([run.run_id]))[run.run_id]
        await here.interrupts.answer("acme", run.run_id, {question.interrupt_id: "yes"}, "ana")
        two = here.worker("two")
        run = await two.stopped(await two.claim())
        assert (run.status, run.state.epoch) == (RunStatus.SUCCESS, 2)
        assert run.state.output == {"log": ["a", "b"], "answer": "yes"}
        assert await here.trace(run) == [
            *("running", "+a", "-a", "+ask", "interrupted"),
            *("running", "+ask", "-ask", "+b", "-b", "success"),
        ]


async def test_run_parks_again_on_what_is_still_open() -> None:
    """A worker may die after an answer and before the run is stored; the answers are rows."""

    def asks_twice(state: State) -> State:
        return {"answer": [interrupt("one?"), interrupt("two?")]}

    async with open_orchestrator(sequence(ask=asks_twice)) as here:
        worker = here.worker()
        run = await worker.execute(a_run())
        for answer in ("1", "2"):
            [question] = (await here.interrupts.open([run.run_id]))[run.run_id]
            await here.interrupts.answer("acme", run.run_id, {question.interrupt_id: answer}, "ana")
            run = await worker.stopped(await worker.claim())
            if answer == "1":
                assert run.status is RunStatus.INTERRUPTED
        assert (run.status, run.state.output) == (RunStatus.SUCCESS, {"log": [], "answer": ["1", "2"]})


async def test_approval_is_an_interrupt_with_terms_and_expiry() -> None:
    terms = ApprovalTerms("billing.Charge", {}, "d1", "Really?", [], ttl=60)

    def asks_approval(state: State) -> State:
        answer = ApprovalAnswer.from_resume(interrupt(terms.to_interrupt()))
        return {"answer": answer and answer.status}

    async with open_orchestrator(sequence(ask=asks_approval)) as here:
        worker = here.worker()
        run = await worker.execute(a_run())
        [approval] = await here.approvals.find("acme", ApprovalStatus.PENDING, run.run_id, None, 10)
        assert (approval.terms, approval.node, bool(approval.checkpoint_id)) == (terms, "ask", True)
        assert approval.expires == pytest.approx(here.tables.clock() + 60, abs=10)
        await here.approvals.answer(Caller("acme", "ana", None), approval.approval_id, ApprovalStatus.APPROVED, "")
        run = await worker.stopped(await worker.claim())
        assert run.state.output == {"log": [], "answer": "approved"}


async def test_worker_that_has_lost_its_lease_stores_nothing() -> None:
    """It is fenced when it continues; the next epoch executes the node again and ends the run."""
    gates = [Gate(), Gate()]

    async def gate(state: State) -> State:
        return await gates[sum(one.entered for one in gates)](state)

    async with open_orchestrator(sequence(a=logs("a"), gate=gate)) as here:
        one, two = here.worker("one"), here.worker("two")
        run = await one.submission.create(a_run())
        await gates[0].until_entered()
        await until_stored(here, run, "-a", "+gate")
        here.advanced = LEASE_SECONDS + 1
        await two.claim()
        await gates[1].until_entered()
        await until_stored(here, run, "running", "+gate")
        before = await here.trace(run)
        gates[0].is_open.set()
        async with asyncio.timeout(60):
            while one.in_flight.held:
                await asyncio.sleep(0)
        assert await here.trace(run) == before
        assert (await here.runs.get("acme", run.run_id)).state.ended is None
        gates[1].is_open.set()
        run = await two.stopped(run)
        assert (run.status, run.state.epoch, run.state.output) == (RunStatus.SUCCESS, 2, {"log": ["a", "gate"]})


async def test_lost_lease_cancels_the_execution() -> None:
    gate = Gate()
    async with open_orchestrator(sequence(gate=gate)) as here:
        worker = here.worker()
        run = await worker.submission.create(a_run())
        await gate.until_entered()
        task = asyncio.create_task(worker.in_flight.ended("acme", run.run_id))
        await asyncio.sleep(0)
        worker.in_flight.lost(run.run_id, run.state.epoch)
        assert await task is None
        assert gate.cancelled == 1
        assert (await here.runs.get("acme", run.run_id)).status is RunStatus.RUNNING


async def test_run_that_is_cancelled_before_its_first_step_ends() -> None:
    """As where the cancellation is stored just after the run was claimed."""
    async with open_orchestrator(sequence(a=logs("a"))) as here:
        worker = here.worker("one")
        run = await here.runs.add(a_run(), "one")
        worker.executor.begin(run, time.monotonic())
        worker.in_flight.cancel(run.run_id, "enough")
        assert (await worker.stopped(run)).status is RunStatus.CANCELLED
        assert await here.trace(run) == ["running", "cancelled"]


async def test_drained_run_is_released_after_its_superstep() -> None:
    """Another worker resumes it from its checkpoint: no node is executed twice."""
    gate = Gate()
    async with open_orchestrator(sequence(gate=gate, b=logs("b"))) as here:
        one, two = here.worker("one"), here.worker("two")
        run = await one.submission.create(a_run())
        await gate.until_entered()
        draining = asyncio.create_task(one.executor.drain(10))
        await asyncio.sleep(0)
        assert (one.in_flight.free_capacity, one.in_flight.claimant(GRAPH, "acme")) == (0, "")
        gate.is_open.set()
        await draining
        assert (await here.runs.get("acme", run.run_id)).status is RunStatus.RUNNING
        run = await two.stopped(await two.claim())
        assert (run.status, run.state.output, gate.entered) == (RunStatus.SUCCESS, {"log": ["gate", "b"]}, 1)
        assert await here.trace(run) == ["running", "+gate", "-gate", "running", "+b", "-b", "success"]


async def test_run_that_begins_while_its_worker_drains_is_released_too() -> None:
    """Its creation was under way."""
    async with open_orchestrator(sequence(a=logs("a"))) as here:
        one, two = here.worker("one"), here.worker("two")
        run = await here.runs.add(a_run(), "one")
        await one.executor.drain(10)
        one.executor.begin(run, time.monotonic())
        assert await one.in_flight.ended("acme", run.run_id) is None
        await one.executor.drain(0)
        run = await two.stopped(await two.claim())
        assert (run.status, run.state.takeovers) == (RunStatus.SUCCESS, 0)
        assert await here.trace(run) == ["running", "running", "+a", "-a", "success"]


async def test_run_that_does_not_drain_in_time_is_cut_off() -> None:
    """It does not end; another worker repeats its superstep."""
    gate = Gate()
    async with open_orchestrator(sequence(gate=gate)) as here:
        worker = here.worker()
        run = await worker.submission.create(a_run())
        await gate.until_entered()
        await worker.executor.drain(0.01)
        assert gate.cancelled == 1
        assert (await here.runs.get("acme", run.run_id)).status is RunStatus.RUNNING
        assert await here.trace(run) == ["running", "+gate"]
        assert [claimed.run_id for claimed in await here.worker("two").leases.claim(here.registry.served, 1)] == [
            run.run_id
        ]


async def test_end_is_stored_with_the_delivery_of_its_webhook() -> None:
    async with open_orchestrator(sequence(a=logs("a"))) as here:
        run = await here.worker().execute(a_run(webhook_url="https://hooks.example.com/runs"))
        [delivery] = await here.deliveries.find("acme", {}, None, 10)
        assert (delivery.run_id, delivery.status) == (run.run_id, DeliveryStatus.PENDING)
        [entry] = [entry for batch in here.writer.batches for entry in batch if entry.deliveries]
        assert entry.run["status"] == RunStatus.SUCCESS


async def test_run_outlasts_an_unavailable_database() -> None:
    async with open_orchestrator(sequence(a=logs("a"))) as here:
        here.writer.fail(3)
        run = await here.worker().execute(a_run())
        assert (run.status, len(await here.events(run))) == (RunStatus.SUCCESS, 4)


async def test_full_worker_notifies_of_free_capacity() -> None:
    """Runs that were created meanwhile wait to be claimed."""
    gate = Gate()
    async with open_orchestrator(sequence(gate=gate)) as here:
        worker = here.worker(capacity=1)
        first = await worker.submission.create(a_run(run_id="run_1"))
        second = await worker.submission.create(a_run(run_id="run_2"))
        assert (first.status, second.status) == (RunStatus.RUNNING, RunStatus.PENDING)
        with notified(worker, Topic.CLAIM) as notifications:
            gate.is_open.set()
            await worker.stopped(first)
            assert notifications
        await worker.claim()
        assert (await worker.stopped(second)).status is RunStatus.SUCCESS


@contextmanager
def notified(worker: MemoryWorker, topic: Topic) -> Iterator[list[str]]:
    """Collect the notifications of a topic."""
    notifications: list[str] = []
    worker.notifier.on(topic, notifications.append)
    yield notifications


async def until_stored(here: MemoryOrchestrator, run: Run, *events: str) -> None:
    """Wait until these are the last events that are stored."""
    async with asyncio.timeout(60):
        while (await here.trace(run))[-len(events) :] != list(events):
            await asyncio.sleep(0.005)
