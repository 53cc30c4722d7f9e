"""Several runs on one thread: multitask strategies, delayed runs, rollbacks."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.errors import InvalidInput, NotFound
from graphmesh_contracts import struct_value
from graphmesh_orchestrator.errors import ThreadBusy, WrongGraph

from tests.integration.orchestrator.gates import GATES, PASSED
from tests.integration.orchestrator.mesh import Mesh, notes, reason

pytestmark = pytest.mark.asyncio(loop_scope="module")

CANCELLED, SUCCESS = pb.RunStatus.RUN_STATUS_CANCELLED, pb.RunStatus.RUN_STATUS_SUCCESS
PENDING, RUNNING = pb.RunStatus.RUN_STATUS_PENDING, pb.RunStatus.RUN_STATUS_RUNNING
ENQUEUE = pb.MultitaskStrategy.MULTITASK_STRATEGY_ENQUEUE
INTERRUPT = pb.MultitaskStrategy.MULTITASK_STRATEGY_INTERRUPT
ROLLBACK = pb.MultitaskStrategy.MULTITASK_STRATEGY_ROLLBACK


class Thread:
    """Runs on a new thread, each of which waits at a gate of its own."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh, self.id = mesh, uuid4().hex

    def gate(self, name: str) -> str:
        return f"{self.id} {name}"

    def open(self, *names: str) -> None:
        for name in names:
            GATES[self.gate(name)].set()

    def passed(self) -> list[str]:
        """The gates in the order in which runs passed them."""
        return [name.split()[1] for name in PASSED if name.startswith(self.id)]

    async def create(self, name: str, graph: str = "gated", **fields: Any) -> pb.Run:
        """Create a run that waits at the gate `name`."""
        return await self._mesh.create(graph, {"name": self.gate(name)}, thread_id=self.id, **fields)

    async def wait(self, run: pb.Run) -> pb.Run:
        return await self._mesh.wait(run)

    async def state_at_gate(self, name: str) -> pb.ThreadState:
        """Create a run that waits at the gate, and return the state that it has written."""
        before = await self._mesh.client.threads.state(self.id)
        await self.create(name)
        async with asyncio.timeout(60):
            while (state := await self._mesh.client.threads.state(self.id)).checkpoint_id == before.checkpoint_id:
                await asyncio.sleep(0.01)
        return state


@pytest.fixture
def thread(mesh: Mesh) -> Thread:
    return Thread(mesh)


async def test_second_run_is_rejected(thread: Thread) -> None:
    first = await thread.create("a")
    with pytest.raises(ThreadBusy) as busy:
        await thread.create("b")
    assert busy.value.data["run"] == first.run_id
    thread.open("a")
    await thread.wait(first)
    thread.open("b")
    assert (await thread.wait(await thread.create("b"))).status == SUCCESS


async def test_enqueued_runs_execute_in_order_of_creation(thread: Thread) -> None:
    """Each begins from the state in which the run before it has ended."""
    first = await thread.create("a")
    queue = [await thread.create(name, multitask_strategy=ENQUEUE) for name in ("b", "c", "d")]
    assert {run.status for run in queue} == {PENDING}
    thread.open("a", "b", "c", "d")
    ends = [await thread.wait(run) for run in queue]
    assert thread.passed() == ["a", "b", "c", "d"]
    assert len(notes(ends[-1])) == 8
    assert (await thread.wait(first)).status == SUCCESS


async def test_run_is_rejected_while_others_are_enqueued(thread: Thread) -> None:
    await thread.create("a")
    await thread.create("b", multitask_strategy=ENQUEUE)
    with pytest.raises(ThreadBusy):
        await thread.create("c")
    thread.open("a", "b")


async def test_interrupting_run_cancels_all_before_it(thread: Thread) -> None:
    """Both the running and the pending one; their errors name the interrupting run."""
    first = await thread.create("a")
    second = await thread.create("b", multitask_strategy=ENQUEUE)
    thread.open("c")
    third = await thread.create("c", multitask_strategy=INTERRUPT)
    assert (await thread.wait(third)).status == SUCCESS
    for run in (first, second):
        ended = await thread.wait(run)
        assert (ended.status, third.run_id in ended.error.message) == (CANCELLED, True)
    assert thread.passed() == ["c"]


async def test_rollback_deletes_the_state_of_the_run(thread: Thread) -> None:
    """The new run begins from the state before the run that is rolled back."""
    thread.open("a")
    await thread.wait(await thread.create("a"))
    await thread.state_at_gate("b")
    thread.open("c")
    last = await thread.wait(await thread.create("c", multitask_strategy=ROLLBACK))
    assert [note.split()[-1] for note in notes(last)] == ["a", "done", "c", "done"]


async def test_rollback_of_a_parked_run(mesh: Mesh) -> None:
    first = await mesh.create("ask_twice", {"name": "a"}, thread_id="parked")
    await mesh.wait(first)
    second = await mesh.create("ask_twice", {"name": "b"}, thread_id="parked", multitask_strategy=ROLLBACK)
    run = await mesh.wait(second)
    assert run.status == pb.RunStatus.RUN_STATUS_INTERRUPTED
    for _ in range(2):
        await mesh.resume(run, {interrupt.interrupt_id: 1 for interrupt in run.interrupts})
        run = await mesh.wait(second)
    assert notes(run) == ["begun", "1, 1", "done"]
    assert (await mesh.wait(first)).status == CANCELLED


async def test_run_from_a_checkpoint_that_its_rollback_deletes_fails(mesh: Mesh, thread: Thread) -> None:
    """It does not begin without a state. The thread keeps the state before the run that is rolled back."""
    thread.open("a", "c")
    first = await thread.wait(await thread.create("a"))
    deleted = await thread.state_at_gate("b")
    last = await thread.wait(await thread.create("c", multitask_strategy=ROLLBACK, checkpoint_id=deleted.checkpoint_id))
    assert (last.status, reason(last)) == (pb.RunStatus.RUN_STATUS_ERROR, "RESOURCE_NOT_FOUND")
    state = await mesh.client.threads.state(first.thread_id)
    assert struct_value(state.values)["notes"] == [thread.gate("a"), "done"]


async def test_pending_run_can_be_cancelled(mesh: Mesh, thread: Thread) -> None:
    """It ends at once, before its turn; the running one continues."""
    first = await thread.create("a")
    second = await thread.create("b", multitask_strategy=ENQUEUE)
    await mesh.client.cancel_run(second.run_id, "too late")
    assert (await thread.wait(second)).status == CANCELLED
    assert (await mesh.client.get_run(first.run_id)).status == RUNNING
    thread.open("a")
    assert (await thread.wait(first)).status == SUCCESS
    assert thread.passed() == ["a"]


async def test_delayed_run_begins_when_it_is_due(mesh: Mesh, thread: Thread) -> None:
    """Until then it is pending, does not occupy the thread, and can be cancelled."""
    thread.open("now", "soon")
    later = await thread.create("later", schedule_time=_in(3600))
    now = await thread.create("now")
    soon = await thread.create("soon", schedule_time=_in(1))
    await thread.wait(now)
    ended = await thread.wait(soon)
    assert ended.start_time.ToDatetime() >= soon.schedule_time.ToDatetime()
    assert (later.status, later.deadline.ToDatetime() > later.schedule_time.ToDatetime()) == (PENDING, True)
    await mesh.client.cancel_run(later.run_id, "not needed any more")
    assert (await thread.wait(later)).status == CANCELLED
    assert thread.passed() == ["now", "soon"]


async def test_thousand_concurrent_submissions_create_one_run(mesh: Mesh, thread: Thread) -> None:
    """They have one request id, and all return the same run."""
    thread.open("a")
    attempts = [thread.create("a", request_id="mine", multitask_strategy=ENQUEUE) for _ in range(1000)]
    assert len({run.run_id for run in await asyncio.gather(*attempts)}) == 1
    listed = await mesh.call(pb.RunService.ListRuns, pb.ListRunsRequest(graph="gated"))
    assert len(listed.runs) == 1


async def test_concurrently_created_runs_execute_one_at_a_time(thread: Thread) -> None:
    """Each of them once, in any order."""
    names = [f"n{number}" for number in range(20)]
    thread.open(*names)
    created = await asyncio.gather(*(thread.create(name, multitask_strategy=ENQUEUE) for name in names))
    ends = [await thread.wait(run) for run in created]
    assert sorted(thread.passed()) == sorted(names)
    assert max(len(notes(run)) for run in ends) == 40


async def test_run_without_input_continues_from_the_state(mesh: Mesh, thread: Thread) -> None:
    """It is refused where the thread has no state, or the state of another graph."""
    with pytest.raises(InvalidInput, match="input"):
        await mesh.create("gated", thread_id="nothing")
    thread.open("a")
    first = await thread.wait(await thread.create("a"))
    again = await thread.wait(await mesh.create("gated", thread_id=first.thread_id))
    assert (again.status, notes(again)) == (SUCCESS, notes(first))
    with pytest.raises(WrongGraph):
        await thread.create("a", graph="ask_twice")


async def test_run_from_an_unknown_checkpoint_is_refused(thread: Thread) -> None:
    thread.open("a")
    await thread.wait(await thread.create("a"))
    with pytest.raises(NotFound, match="checkpoint"):
        await thread.create("b", checkpoint_id="1ef4f797-8335-6428-8001-8a1503f9b875")


def _in(seconds: float) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(datetime.now(UTC) + timedelta(seconds=seconds))
    return timestamp
