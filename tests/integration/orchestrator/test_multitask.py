"""Several runs on one thread, and runs that begin later (B3, B5, B7)."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import NotFound
from graphmesh_orchestrator.errors import InvalidInput, ThreadBusy, WrongGraph

from tests.integration.orchestrator.gates import GATES, PASSED
from tests.integration.orchestrator.kit import Kit, notes

CANCELLED, SUCCESS = pb.RunStatus.RUN_STATUS_CANCELLED, pb.RunStatus.RUN_STATUS_SUCCESS
PENDING, RUNNING = pb.RunStatus.RUN_STATUS_PENDING, pb.RunStatus.RUN_STATUS_RUNNING
ENQUEUE = pb.MultitaskStrategy.MULTITASK_STRATEGY_ENQUEUE
INTERRUPT = pb.MultitaskStrategy.MULTITASK_STRATEGY_INTERRUPT
ROLLBACK = pb.MultitaskStrategy.MULTITASK_STRATEGY_ROLLBACK


class Thread:
    """Gated runs on a thread of a test's own."""

    def __init__(self, kit: Kit) -> None:
        self._kit, self._name = kit, uuid4().hex

    def gate(self, name: str) -> str:
        return f"{self._name} {name}"

    def open(self, *names: str) -> None:
        for name in names:
            GATES[self.gate(name)].set()

    def passed(self) -> list[str]:
        return [name.split()[1] for name in PASSED if name.startswith(self._name)]

    async def create(self, name: str, graph: str = "gated", **fields: Any) -> pb.Run:
        return await self._kit.create(graph, {"name": self.gate(name)}, thread_id=self._name, **fields)

    async def ended(self, run: pb.Run) -> pb.Run:
        return await self._kit.stopped(run.run_id)

    async def begun(self, name: str) -> pb.ThreadState:
        """The state that a new run has written, which is at its gate."""
        before = await self._kit.client.threads.state(self._name)
        await self.create(name)
        async with asyncio.timeout(60):
            while (state := await self._kit.client.threads.state(self._name)).checkpoint_id == before.checkpoint_id:
                await asyncio.sleep(0.01)
        return state


@pytest.fixture
def thread(kit: Kit) -> Thread:
    return Thread(kit)


async def test_a_second_run_is_rejected(thread: Thread) -> None:
    first = await thread.create("a")
    with pytest.raises(ThreadBusy) as busy:
        await thread.create("b")
    assert busy.value.data["run"] == first.run_id
    thread.open("a")
    await thread.ended(first)
    thread.open("b")
    assert (await thread.ended(await thread.create("b"))).status == SUCCESS


async def test_runs_that_are_enqueued_take_their_turns(thread: Thread) -> None:
    """In the order in which they came, each on the state that the one before it has left."""
    first = await thread.create("a")
    queue = [await thread.create(name, multitask_strategy=ENQUEUE) for name in ("b", "c", "d")]
    assert {run.status for run in queue} == {PENDING}
    thread.open("a", "b", "c", "d")
    ends = [await thread.ended(run) for run in queue]
    assert thread.passed() == ["a", "b", "c", "d"]
    assert len(notes(ends[-1])) == 8
    assert (await thread.ended(first)).status == SUCCESS


async def test_who_came_while_others_wait_is_rejected_too(thread: Thread) -> None:
    await thread.create("a")
    await thread.create("b", multitask_strategy=ENQUEUE)
    with pytest.raises(ThreadBusy):
        await thread.create("c")
    thread.open("a", "b")


async def test_an_interrupting_run_takes_the_place_of_all_before_it(thread: Thread) -> None:
    """The one that runs and the one that waits are cancelled, and say by whom; what was reached stays in the state."""
    first = await thread.create("a")
    waiting = await thread.create("b", multitask_strategy=ENQUEUE)
    thread.open("c")
    third = await thread.create("c", multitask_strategy=INTERRUPT)
    assert (await thread.ended(third)).status == SUCCESS
    for run in (first, waiting):
        ended = await thread.ended(run)
        assert (ended.status, third.run_id in ended.error.message) == (CANCELLED, True)
    assert thread.passed() == ["c"]


async def test_a_rollback_takes_back_what_the_run_has_written(kit: Kit, thread: Thread) -> None:
    """The state before it is the state that the new run begins from."""
    thread.open("a")
    await thread.ended(await thread.create("a"))
    await thread.begun("b")
    thread.open("c")
    last = await thread.ended(await thread.create("c", multitask_strategy=ROLLBACK))
    assert [note.split()[-1] for note in notes(last)] == ["a", "done", "c", "done"]


async def test_a_rollback_takes_back_a_parked_run(kit: Kit) -> None:
    first = await kit.create("ask_twice", {"name": "a"}, thread_id="parked")
    await kit.stopped(first.run_id)
    second = await kit.create("ask_twice", {"name": "b"}, thread_id="parked", multitask_strategy=ROLLBACK)
    run = await kit.stopped(second.run_id)
    assert run.status == pb.RunStatus.RUN_STATUS_INTERRUPTED
    for _ in range(2):
        await kit.resume(run.run_id, {asked.interrupt_id: 1 for asked in run.interrupts})
        run = await kit.stopped(second.run_id)
    assert notes(run) == ["begun", "1, 1", "done"]
    assert (await kit.stopped(first.run_id)).status == CANCELLED


async def test_a_run_that_waits_can_be_cancelled(kit: Kit, thread: Thread) -> None:
    """It ends at once, though its turn has not come, and the one that runs is not disturbed."""
    first = await thread.create("a")
    second = await thread.create("b", multitask_strategy=ENQUEUE)
    await kit.client.cancel_run(second.run_id, "too late")
    assert (await thread.ended(second)).status == CANCELLED
    assert (await kit.client.get_run(first.run_id)).status == RUNNING
    thread.open("a")
    assert (await thread.ended(first)).status == SUCCESS
    assert thread.passed() == ["a"]


async def test_a_delayed_run_begins_when_its_time_has_come(kit: Kit, thread: Thread) -> None:
    """Not before; and what is due in an hour is pending, keeps nobody off the thread, and can be cancelled."""
    thread.open("now", "soon")
    later = await thread.create("later", schedule_time=_in(3600))
    soon = await thread.create("soon", schedule_time=_in(1))
    await thread.ended(await thread.create("now"))
    ended = await thread.ended(soon)
    assert ended.start_time.ToDatetime() >= soon.schedule_time.ToDatetime()
    assert (later.status, later.deadline.ToDatetime() > later.schedule_time.ToDatetime()) == (PENDING, True)
    await kit.client.cancel_run(later.run_id, "no more wanted")
    assert (await thread.ended(later)).status == CANCELLED
    assert thread.passed() == ["now", "soon"]


async def test_a_thousand_submissions_are_one_run(kit: Kit, thread: Thread) -> None:
    """A4: of 1,000 concurrent requests with one request_id all get the same run."""
    thread.open("a")
    tries = [thread.create("a", request_id="mine", multitask_strategy=ENQUEUE) for _ in range(1000)]
    assert len({run.run_id for run in await asyncio.gather(*tries)}) == 1
    listed = await kit.channel.unary(
        pb.RunService.ListRuns, pb.ListRunsRequest(graph="gated"), deadline=Deadline.after(10)
    )
    assert len(listed.runs) == 1


async def test_many_runs_at_once_on_one_thread(thread: Thread) -> None:
    """Each of them runs once, one at a time, whatever the order in which their requests came."""
    names = [f"n{number}" for number in range(20)]
    thread.open(*names)
    created = await asyncio.gather(*(thread.create(name, multitask_strategy=ENQUEUE) for name in names))
    ends = [await thread.ended(run) for run in created]
    assert sorted(thread.passed()) == sorted(names)
    assert max(len(notes(run)) for run in ends) == 40


async def test_a_run_without_input_goes_on_from_the_state(kit: Kit, thread: Thread) -> None:
    """There has to be one; and it is not another graph's."""
    with pytest.raises(InvalidInput, match="input"):
        await kit.create("gated", thread_id="nothing")
    thread.open("a")
    first = await thread.ended(await thread.create("a"))
    again = await thread.ended(await kit.create("gated", thread_id=first.thread_id))
    assert (again.status, notes(again)) == (SUCCESS, notes(first))
    with pytest.raises(WrongGraph):
        await thread.create("a", graph="ask_twice")


async def test_a_run_from_an_unknown_checkpoint_is_refused(thread: Thread) -> None:
    thread.open("a")
    await thread.ended(await thread.create("a"))
    with pytest.raises(NotFound, match="checkpoint"):
        await thread.create("b", checkpoint_id="1ef4f797-8335-6428-8001-8a1503f9b875")


def _in(seconds: float) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(datetime.now(UTC) + timedelta(seconds=seconds))
    return timestamp
