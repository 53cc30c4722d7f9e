"""Two questions of one node stay apart, wherever the worker dies between the first answer and the second question."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pytest
import structlog
from graphmesh_orchestrator.checkpoints.encoding import number_writes
from graphmesh_orchestrator.db.clock import LEASE_SECONDS
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.run import Interrupt, Run
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME
from langgraph.types import interrupt

from tests.unit.orchestrator.memory_orchestrator import MemoryOrchestrator, MemoryWorker, open_orchestrator
from tests.unit.orchestrator.test_executor import State, a_run, sequence


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


@dataclass
class AsksTwice:
    """A node that waits between its questions, once."""

    waits: bool
    between: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, state: State) -> State:
        first = interrupt("one?")
        if self.waits and not self.between.is_set():
            self.between.set()
            await asyncio.Event().wait()
        return {"answer": [first, interrupt("two?")]}


async def question(here: MemoryOrchestrator, run: Run) -> Interrupt:
    """Return the only open interrupt of a parked run."""
    assert run.status is RunStatus.INTERRUPTED
    [open_interrupt] = (await here.interrupts.open([run.run_id]))[run.run_id]
    return open_interrupt


async def answer(here: MemoryOrchestrator, worker: MemoryWorker, run: Run, answers: Mapping[str, str]) -> Run:
    """Answer interrupts, and return the run as another worker has claimed it."""
    await here.interrupts.answer("acme", run.run_id, answers, "ana")
    return await worker.claim()


async def die(here: MemoryOrchestrator, worker: MemoryWorker, run: Run) -> None:
    """End the execution of a run as the death of its worker does."""
    worker.in_flight.lost(run.run_id, run.state.epoch)
    async with asyncio.timeout(60):
        while worker.in_flight.held:
            await asyncio.sleep(0)
    here.advanced += LEASE_SECONDS + 1


async def resume_to_the_end(here: MemoryOrchestrator, worker: MemoryWorker, run: Run, first: Interrupt) -> None:
    """Execute a run from the first answer on: it parks on the second question, and has both answers at its end."""
    run = await worker.stopped(run)
    second = await question(here, run)
    assert (second.value, second.interrupt_id == first.interrupt_id) == ("two?", False)
    run = await worker.stopped(await answer(here, worker, run, {second.interrupt_id: "2"}))
    assert (run.status, run.state.output) == (RunStatus.SUCCESS, {"log": [], "answer": ["1", "2"]})


def test_writes_of_a_task_that_was_cut_off_have_no_answers() -> None:
    cancelled = asyncio.CancelledError()
    assert [channel for _, channel, _ in number_writes([(RESUME, ["1"]), (ERROR, cancelled)])] == [ERROR]
    assert [channel for _, channel, _ in number_writes([(INTERRUPT, []), (RESUME, ["1"])])] == [INTERRUPT, RESUME]


async def test_execution_is_cut_off_before_the_second_question() -> None:
    """LangGraph stores the answers that a cancelled task has used, and would use them once more."""
    node = AsksTwice(waits=True)
    async with open_orchestrator(sequence(ask=node.__call__)) as here:
        one, two = here.worker("one"), here.worker("two")
        run = await one.execute(a_run())
        first = await question(here, run)
        run = await answer(here, one, run, {first.interrupt_id: "1"})
        await node.between.wait()
        await die(here, one, run)
        await resume_to_the_end(here, two, await two.claim(), first)


async def test_worker_dies_after_the_second_question_and_before_the_run_parks(monkeypatch: pytest.MonkeyPatch) -> None:
    """LangGraph's writes have the second question by then, the rows of the run have not."""
    async with open_orchestrator(sequence(ask=AsksTwice(waits=False).__call__)) as here:
        one, two = here.worker("one"), here.worker("two")
        run = await one.execute(a_run())
        first = await question(here, run)
        parking = asyncio.Event()

        async def hangs(*_: object) -> None:
            parking.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(one.suspension, "interrupts_of", hangs)
        run = await answer(here, one, run, {first.interrupt_id: "1"})
        await parking.wait()
        await die(here, one, run)
        await resume_to_the_end(here, two, await two.claim(), first)
