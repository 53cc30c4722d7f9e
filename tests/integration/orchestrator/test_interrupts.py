"""Runs that park on a question and go on with the answer (B8, C1)."""

import asyncio
from pathlib import Path

import pytest
from google.protobuf import json_format
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.errors import NotFound
from graphmesh_orchestrator.errors import InterruptAnswered, RunNotInterrupted, ThreadBusy

from tests.integration.orchestrator.kit import Kit, billing_of, notes, orchestrating

INTERRUPTED, SUCCESS = pb.RunStatus.RUN_STATUS_INTERRUPTED, pb.RunStatus.RUN_STATUS_SUCCESS


async def parked(kit: Kit, graph: str = "ask_twice") -> pb.Run:
    begun = await kit.create(graph, {"name": "x"})
    run = await kit.stopped(begun.run_id)
    assert run.status == INTERRUPTED
    return run


async def answered(kit: Kit, run: pb.Run, *answers: object) -> pb.Run:
    """The run as it stops next, after its open questions have got these answers."""
    ids = [asked.interrupt_id for asked in run.interrupts]
    await kit.resume(run.run_id, dict(zip(ids, answers, strict=True)))
    return await kit.stopped(run.run_id)


async def test_a_question_after_the_other(kit: Kit) -> None:
    """A node that asks twice parks twice, under two ids; every answer is used once."""
    run = await parked(kit)
    [first] = run.interrupts
    assert (json_format.MessageToDict(first.value), first.node) == ({"ask": "how many?"}, "ask")
    run = await answered(kit, run, 3)
    [second] = run.interrupts
    assert second.value.string_value == "sure?"
    assert second.interrupt_id != first.interrupt_id
    run = await answered(kit, run, "yes")
    assert (run.status, notes(run)) == (SUCCESS, ["begun", "3, yes", "done"])


async def test_events_of_a_parked_run_go_on_without_a_gap(kit: Kit) -> None:
    """The stream ends at the question, which it tells, and goes on after the answer (B4)."""
    run = await parked(kit)
    before = await kit.events(run.run_id)
    assert list(before[-1].status_changed.interrupts) == list(run.interrupts)
    run = await answered(kit, run, 1)
    run = await answered(kit, run, 1)
    events = await kit.events(run.run_id)
    assert events[: len(before)] == before
    assert [event.seq for event in events] == list(range(1, run.last_seq + 1))
    assert [event.status_changed.epoch for event in events if event.status_changed.epoch] == [1, 2, 3]


async def test_the_run_goes_on_when_all_is_answered(kit: Kit) -> None:
    """Two nodes ask at once; with one answer the run stays parked, with the other it ends."""
    run = await parked(kit, "ask_both")
    ids = {asked.node: asked.interrupt_id for asked in run.interrupts}
    assert set(ids) == {"left", "right"}
    run = await kit.resume(run.run_id, {ids["left"]: 1})
    assert (run.status, [asked.node for asked in run.interrupts]) == (INTERRUPTED, ["right"])
    await kit.resume(run.run_id, {ids["right"]: 2})
    run = await kit.stopped(run.run_id)
    assert (run.status, sorted(notes(run))) == (SUCCESS, ["done", "left 1", "right 2"])


async def test_a_question_of_a_subgraph(kit: Kit) -> None:
    run = await answered(kit, await parked(kit, "ask_nested"), "down")
    assert notes(run) == ["deep down", "done"]


async def test_of_many_answers_one_holds(kit: Kit) -> None:
    """The first holds; the same again changes nothing; another one is told."""
    run = await parked(kit)
    [asked] = run.interrupts
    tries = [kit.resume(run.run_id, {asked.interrupt_id: number % 2}) for number in range(200)]
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, InterruptAnswered)]
    assert len(refused) == 100
    assert all(isinstance(outcome, pb.Run | InterruptAnswered) for outcome in outcomes)
    assert [one.value.string_value for one in (await kit.stopped(run.run_id)).interrupts] == ["sure?"]


async def test_a_parked_run_survives_a_restart(tmp_path: Path) -> None:
    """It is rows and nothing else: the process that parked it is gone (C1)."""
    async with billing_of(tmp_path) as billing:
        async with orchestrating(tmp_path, billing) as kit:
            run = await parked(kit)
        async with orchestrating(tmp_path, billing) as kit:
            run = await kit.stopped(run.run_id)
            assert [asked.node for asked in run.interrupts] == ["ask"]
            run = await answered(kit, run, 1)
        async with orchestrating(tmp_path, billing) as kit:
            run = await answered(kit, await kit.stopped(run.run_id), 2)
    assert notes(run) == ["begun", "1, 2", "done"]


async def test_a_parked_run_keeps_its_thread(kit: Kit) -> None:
    run = await parked(kit)
    with pytest.raises(ThreadBusy) as busy:
        await kit.create("ask_twice", {"name": "y"}, thread_id=run.thread_id)
    assert busy.value.data["run"] == run.run_id


async def test_a_parked_run_can_be_cancelled(kit: Kit) -> None:
    run = await parked(kit)
    await kit.client.cancel_run(run.run_id, "nobody cares")
    run = await kit.stopped(run.run_id)
    assert (run.status, list(run.interrupts)) == (pb.RunStatus.RUN_STATUS_CANCELLED, [])
    again = await kit.create("ask_twice", {"name": "y"}, thread_id=run.thread_id)
    assert (await kit.stopped(again.run_id)).status == INTERRUPTED


async def test_answers_to_nothing_are_told(kit: Kit) -> None:
    run = await parked(kit)
    [asked] = run.interrupts
    with pytest.raises(NotFound, match="interrupt"):
        await kit.resume(run.run_id, {"unknown": 1})
    await kit.client.cancel_run(run.run_id, "over")
    await kit.stopped(run.run_id)
    with pytest.raises(RunNotInterrupted, match="cancelled"):
        await kit.resume(run.run_id, {asked.interrupt_id: 1})


async def test_the_deadline_stands_still_while_parked(kit: Kit) -> None:
    """A run's time is for its work: what it has left when it parks is what it has left when it goes on (B6)."""
    begun = await kit.create("ask_twice", {"name": "x"}, timeout={"seconds": 100})
    run = await kit.stopped(begun.run_id)
    left = run.deadline.ToDatetime() - run.create_time.ToDatetime()
    run = await answered(kit, run, 1)
    assert run.deadline.ToDatetime() - run.create_time.ToDatetime() > left
