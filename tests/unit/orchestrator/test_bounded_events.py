"""A graph writes events no faster than they are stored: sync nodes wait, and what waits to be stored is bounded."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from graphmesh_nodes import record_validation
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.events import EventKind
from graphmesh_orchestrator.worker import event_bounds
from graphmesh_orchestrator.worker.event_bounds import MAX_PENDING_BYTES, MAX_PENDING_EVENTS
from graphmesh_orchestrator.worker.graph_stream import ASYNC_FACTOR
from langgraph.config import get_stream_writer

from tests.contract.stored_events import events_of_rows
from tests.unit.orchestrator.memory_orchestrator import error_of, open_orchestrator
from tests.unit.orchestrator.test_executor import Gate, a_run, sequence

EVENT_BYTES = 100_000
MOST_BYTES = 2 * MAX_PENDING_BYTES + 4 * EVENT_BYTES
"""On the way to the event loop, pending in the journal, and a few more than that."""


def writes(count: int, size: int, written: list[int]) -> Callable[[Any], Any]:
    """Return a synchronous node that writes so many events."""

    def write(state: Any) -> Any:
        writer = get_stream_writer()
        for number in range(count):
            writer({"number": number, "text": "x" * size})
            written.append(number)
        return {}

    return write


async def test_sync_node_waits_until_its_events_are_stored() -> None:
    written: list[int] = []
    async with open_orchestrator(sequence(a=writes(100, EVENT_BYTES, written))) as here:
        worker = here.worker()
        with here.writer.held():
            run = await worker.submission.create(a_run())
            before = -1
            while before != len(written) or not written:
                before = len(written)
                await asyncio.sleep(0.3)
            assert len(written) * EVENT_BYTES <= MOST_BYTES
        run = await worker.stopped(run)

        assert (run.status, len(written)) == (RunStatus.SUCCESS, 100)
        stored = events_of_rows(here.tables.events[run.run_id].values())
        assert [event.data["number"] for event in stored if event.kind is EventKind.CUSTOM] == list(range(100))


async def test_cancelled_run_ends_while_its_node_waits_for_room() -> None:
    written: list[int] = []
    node_ended = threading.Event()

    def write(state: Any) -> Any:
        try:
            return writes(100, EVENT_BYTES, written)(state)
        finally:
            node_ended.set()

    async with open_orchestrator(sequence(a=write)) as here:
        worker = here.worker()
        with here.writer.held():
            run = await worker.submission.create(a_run())
            while len(written) * EVENT_BYTES < MAX_PENDING_BYTES:
                await asyncio.sleep(0.01)
            worker.in_flight.cancel(run.run_id, "over")
            assert await asyncio.to_thread(node_ended.wait, 10)
        assert (await worker.stopped(run)).status is RunStatus.CANCELLED


def write_event(number: int) -> None:
    get_stream_writer()({"number": number})


def write_check(number: int) -> None:
    record_validation("number", [str(number)])


@pytest.mark.parametrize("write_one", [write_event, write_check])
async def test_async_node_that_does_not_await_is_ended(write_one: Callable[[int], None]) -> None:
    async def write(state: Any) -> Any:
        for number in range(ASYNC_FACTOR * MAX_PENDING_EVENTS + 2):
            write_one(number)
        return {}

    async with open_orchestrator(sequence(a=write)) as here:
        run = await here.worker().execute(a_run())

        assert (run.status, error_of(run).reason) == (RunStatus.ERROR, "VALUE_NOT_STORABLE")
        assert "await between events" in error_of(run).message


async def test_events_of_a_run_are_bounded_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_bounds, "MAX_BYTES", 1_000_000)
    written: list[int] = []
    async with open_orchestrator(sequence(a=writes(100, EVENT_BYTES, written))) as here:
        run = await here.worker().execute(a_run())

        assert error_of(run).reason == "VALUE_NOT_STORABLE"
        assert "events of the run have more than 1000000 bytes" in error_of(run).message
        assert len([event for event in await here.events(run) if event.kind is EventKind.CUSTOM]) < 10


async def test_waiting_run_delays_no_other() -> None:
    gate = Gate()
    written: list[int] = []
    async with open_orchestrator(sequence(a=writes(50, EVENT_BYTES, written), gate=gate)) as here:
        worker = here.worker()
        first = await worker.submission.create(a_run(run_id="run_1", thread_id="one"))
        second = await worker.submission.create(a_run(run_id="run_2", thread_id="two", tenant="other"))
        await gate.until_entered(2)
        gate.is_open.set()
        assert [(await worker.stopped(run)).status for run in (first, second)] == [RunStatus.SUCCESS] * 2
