"""Interrupts in every store: a parked run resumes with the last answer, which is used once."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from graphmesh_chassis.errors import ApprovalRequired, NotFound
from graphmesh_contracts import APPROVAL_KEY
from graphmesh_orchestrator.errors import InterruptAnswered, RunNotInterrupted
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.run import Interrupt, Run

from tests.contract import runs
from tests.contract.orchestrator.stores import NOW, Stores, a_question

HALF_AN_HOUR = timedelta(minutes=30)


async def parked(stores: Stores, *interrupt_ids: str, number: int = 1, **columns: Any) -> Run:
    """Park a run for half an hour on interrupts with these ids, and return it as it was before."""
    run = await stores.begun(runs.a_run(f"run_{number}"))
    questions = [
        a_question(run.run_id, interrupt_id, created=NOW + timedelta(seconds=ordinal), **columns)
        for ordinal, interrupt_id in enumerate(interrupt_ids)
    ]
    await stores.park(run, *questions, ago=HALF_AN_HOUR)
    return run


async def status(stores: Stores) -> RunStatus:
    return (await stores.runs.get("acme", "run_1")).status


async def test_open_interrupts_are_returned_by_run_the_oldest_first(stores: Stores) -> None:
    await parked(stores, "b", "a")
    await parked(stores, "c", number=2)
    await stores.interrupts.answer("acme", "run_2", {"c": 1}, "ana")
    found = await stores.interrupts.open(["run_1", "run_2"])
    assert found == {"run_1": [Interrupt("b", "ask", "sure?"), Interrupt("a", "ask", "sure?")], "run_2": []}


async def test_interrupts_of_a_thread_are_those_of_the_run_that_holds_it(stores: Stores) -> None:
    run = await parked(stores, "a")
    thread_id = run.identity.thread_id
    assert await stores.interrupts.of_thread("acme", thread_id) == {"a": Interrupt("a", "ask", "sure?")}
    assert await stores.interrupts.of_thread("other", thread_id) == {}
    await stores.interrupts.answer("acme", "run_1", {"a": 1}, "ana")
    assert await stores.interrupts.of_thread("acme", thread_id) == {}


async def test_last_answer_resumes_the_run(stores: Stores) -> None:
    """Any worker can claim it then; its deadline is extended by the time that it was parked."""
    before = await parked(stores, "a", "b")
    run = await stores.interrupts.answer("acme", "run_1", {"a": {"n": 1}}, "ana")
    assert (run.status, await stores.claimed()) == (RunStatus.INTERRUPTED, [])
    run = await stores.interrupts.answer("acme", "run_1", {"b": None}, "ben")
    assert (run.status, run.state.parked) == (RunStatus.PENDING, None)
    assert HALF_AN_HOUR <= run.state.deadline - before.state.deadline < 2 * HALF_AN_HOUR
    assert run == await stores.runs.get("acme", "run_1")
    assert await stores.interrupts.answers("run_1") == {"a": {"n": 1}, "b": None}
    assert await stores.claimed() == ["run_1"]


async def test_time_of_the_last_answer_is_known(stores: Stores) -> None:
    await parked(stores, "a", "b")
    assert await stores.interrupts.last_answered("run_1") is None
    before = datetime.now(UTC)
    await stores.interrupts.answer("acme", "run_1", {"a": 1}, "ana")
    first = await stores.interrupts.last_answered("run_1")
    await stores.interrupts.answer("acme", "run_1", {"b": 1}, "ana")
    last = await stores.interrupts.last_answered("run_1")
    assert first
    assert last
    assert before <= first <= last


async def test_concurrent_last_answers_resume_the_run(stores: Stores) -> None:
    """Of two last answers, one reads the other."""
    await parked(stores, *map(str, range(10)))
    await asyncio.gather(
        *(stores.interrupts.answer("acme", "run_1", {str(number): number}, "ana") for number in range(10))
    )
    assert await status(stores) is RunStatus.PENDING


async def test_same_answer_again_changes_nothing(stores: Stores) -> None:
    await parked(stores, "a", "b")
    for _ in range(2):
        await stores.interrupts.answer("acme", "run_1", {"a": "yes"}, "ana")
    await stores.interrupts.answer("acme", "run_1", {"b": "yes"}, "ana")
    assert await stores.claimed() == ["run_1"]
    run = await stores.interrupts.answer("acme", "run_1", {"a": "yes"}, "ana")
    assert run.status is RunStatus.RUNNING


async def test_request_without_answers_changes_nothing(stores: Stores) -> None:
    """Also where a run parks without a question."""
    await parked(stores)
    assert (await stores.interrupts.answer("acme", "run_1", {}, "ana")).status is RunStatus.INTERRUPTED


async def test_other_answer_is_refused(stores: Stores) -> None:
    """With it, all answers of the request."""
    await parked(stores, "a", "b")
    await stores.interrupts.answer("acme", "run_1", {"a": "yes"}, "ana")
    with pytest.raises(InterruptAnswered, match="ana"):
        await stores.interrupts.answer("acme", "run_1", {"b": "yes", "a": "no"}, "ben")
    assert await stores.interrupts.answers("run_1") == {"a": "yes"}


async def test_run_that_is_not_parked_takes_no_answer(stores: Stores) -> None:
    await parked(stores, "a")
    await stores.runs.request_cancellation("acme", "run_1", "over")
    with pytest.raises(RunNotInterrupted, match="pending"):
        await stores.interrupts.answer("acme", "run_1", {"a": "yes"}, "ana")
    assert await stores.interrupts.answers("run_1") == {}


async def test_answer_to_an_approval_is_refused(stores: Stores) -> None:
    """Only an approver answers it; neither is an answer accepted that has the form of an approval's."""
    await parked(stores, "a", approval_id="apr", approval={})
    with pytest.raises(ApprovalRequired):
        await stores.interrupts.answer("acme", "run_1", {"a": True}, "ana")
    await parked(stores, "b", number=2)
    with pytest.raises(ApprovalRequired):
        await stores.interrupts.answer("acme", "run_2", {"b": {APPROVAL_KEY: {}}}, "ana")


@pytest.mark.parametrize(("tenant", "run_id", "interrupt_id"), [("other", "run_1", "a"), ("acme", "run_1", "b")])
async def test_answer_without_an_interrupt_is_refused(
    stores: Stores, tenant: str, run_id: str, interrupt_id: str
) -> None:
    await parked(stores, "a")
    with pytest.raises(NotFound):
        await stores.interrupts.answer(tenant, run_id, {interrupt_id: "yes"}, "ana")
    assert await status(stores) is RunStatus.INTERRUPTED
