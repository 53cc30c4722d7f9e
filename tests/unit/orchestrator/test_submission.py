"""Runs are checked before they are stored, and begin where there is capacity."""

from datetime import UTC, datetime
from typing import Any

import pytest
from graphmesh_chassis.errors import InvalidInput, NotFound
from graphmesh_orchestrator.errors import GraphNotFound, WebhookNotAllowed
from graphmesh_orchestrator.notifications.notifier import Topic
from graphmesh_orchestrator.run_status import RunStatus
from langgraph.graph import START, StateGraph
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from tests.unit.orchestrator.memory_orchestrator import MemoryWorker, open_orchestrator
from tests.unit.orchestrator.test_executor import a_run


class State(TypedDict):
    amount: int


@pytest.fixture
def graph() -> StateGraph[Any, Any, Any, Any]:
    builder = StateGraph(State)
    builder.add_node("double", lambda state: {"amount": 2 * state["amount"]})
    builder.add_edge(START, "double")
    return builder


def notifications(worker: MemoryWorker) -> list[str]:
    """Collect the notifications that a run can be claimed."""
    received: list[str] = []
    worker.notifier.on(Topic.CLAIM, received.append)
    return received


@pytest.mark.parametrize(
    ("fields", "error", "field"),
    [
        ({"graph": "unknown"}, GraphNotFound, ""),
        ({"input": {"amount": "1"}}, InvalidInput, "input.amount"),
        ({"input": {"amount": 1, "colour": "red"}}, InvalidInput, "input.colour"),
        ({"input": None}, InvalidInput, "input"),
        ({"checkpoint_id": "1ef"}, NotFound, ""),
        ({"webhook_url": "https://evil.org"}, WebhookNotAllowed, ""),
    ],
)
async def test_invalid_run_is_not_stored(
    graph: StateGraph[Any, Any, Any, Any], fields: dict[str, Any], error: type[Exception], field: str
) -> None:
    async with open_orchestrator(graph) as here:
        worker = here.worker()
        with pytest.raises(error) as refused:
            await worker.submission.create(a_run(**{"input": {"amount": 1}, **fields}))
        if isinstance(refused.value, InvalidInput):
            assert [violation.field for violation in refused.value.violations] == [field]
        assert (here.tables.runs, here.tables.threads, worker.in_flight.held) == ({}, {}, {})


async def test_run_begins_in_the_process_that_creates_it(graph: StateGraph[Any, Any, Any, Any]) -> None:
    async with open_orchestrator(graph) as here:
        worker = here.worker()
        received = notifications(worker)
        run = await worker.submission.create(a_run(input={"amount": 1}))
        assert (run.status, worker.in_flight.held, received) == (RunStatus.RUNNING, {"run_1": 1}, [])
        assert run.state.versions.keys() == {"prompts", "tools"}
        assert (await worker.stopped(run)).state.output == {"amount": 2}


async def test_run_without_input_continues_the_thread(graph: StateGraph[Any, Any, Any, Any]) -> None:
    async with open_orchestrator(graph) as here:
        worker = here.worker()
        await worker.execute(a_run(run_id="run_1", thread_id="th", input={"amount": 1}))
        run = await worker.execute(a_run(run_id="run_2", thread_id="th", input=None))
        assert (run.status, run.state.output) == (RunStatus.SUCCESS, {"amount": 2})


class Order(BaseModel):
    """A state that a node gets only with all its fields."""

    order_id: str = Field(alias="orderId")
    note: str = ""
    model_config = ConfigDict(populate_by_name=True)


async def test_input_may_lack_what_the_thread_has() -> None:
    builder = StateGraph(Order)
    builder.add_node("one", lambda state: {"note": f"{state.note} of {state.order_id}"})
    builder.add_edge(START, "one")
    async with open_orchestrator(builder) as here:
        worker = here.worker()
        with pytest.raises(InvalidInput):
            await worker.submission.create(a_run(run_id="run_1", thread_id="th", input={"note": "first"}))
        await worker.execute(a_run(run_id="run_2", thread_id="th", input={"orderId": "7"}))
        run = await worker.submission.create(a_run(run_id="run_3", thread_id="th", input={"note": "second"}))
        assert (await worker.stopped(run)).state.output == {"order_id": "7", "note": "second of 7"}


async def test_repeated_request_begins_nothing(graph: StateGraph[Any, Any, Any, Any]) -> None:
    async with open_orchestrator(graph) as here:
        worker = here.worker()
        first = await worker.submission.create(a_run(run_id="run_1", input={"amount": 1}, request_id="r"))
        again = await worker.submission.create(a_run(run_id="run_2", input={"amount": 1}, request_id="r"))
        assert (first.run_id, again.run_id, list(worker.in_flight.held)) == ("run_1", "run_1", ["run_1"])
        await worker.stopped(first)


@pytest.mark.parametrize(("capacity", "delay"), [(0, 0.0), (1, 3600.0)])
async def test_run_that_cannot_begin_is_announced(
    graph: StateGraph[Any, Any, Any, Any], capacity: int, delay: float
) -> None:
    """To other workers, where this one has no free capacity, and to the queue, where the run waits for its time."""
    async with open_orchestrator(graph) as here:
        worker = here.worker(capacity=capacity)
        received = notifications(worker)
        due = datetime.now(UTC).timestamp() + delay if delay else 0
        run = await worker.submission.create(a_run(input={"amount": 1}, due=due))
        assert (run.status, worker.in_flight.held, received) == (RunStatus.PENDING, {}, [""])
