"""Runs that park at an interrupt, and resume with the answers."""

import asyncio
from pathlib import Path

import pytest
from google.protobuf import json_format
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.errors import NotFound
from graphmesh_orchestrator.errors import InterruptAnswered, RunNotInterrupted, ThreadBusy

from tests.integration.orchestrator.mesh import Mesh, notes, serve_billing, serve_orchestrator

pytestmark = pytest.mark.asyncio(loop_scope="module")

INTERRUPTED, SUCCESS = pb.RunStatus.RUN_STATUS_INTERRUPTED, pb.RunStatus.RUN_STATUS_SUCCESS


async def park(mesh: Mesh, graph: str = "ask_twice") -> pb.Run:
    """Create a run, and return it as it waits for answers."""
    run = await mesh.run(graph, name="x")
    assert run.status == INTERRUPTED
    return run


async def answer(mesh: Mesh, run: pb.Run, *answers: object) -> pb.Run:
    """Answer the run's interrupts, and return the run as it ends or parks again."""
    ids = [interrupt.interrupt_id for interrupt in run.interrupts]
    await mesh.resume(run, dict(zip(ids, answers, strict=True)))
    return await mesh.wait(run)


async def test_node_with_two_interrupts_parks_twice(mesh: Mesh) -> None:
    """Under two ids; each answer is used once."""
    run = await park(mesh)
    [first] = run.interrupts
    assert (json_format.MessageToDict(first.value), first.node) == ({"ask": "how many?"}, "ask")
    run = await answer(mesh, run, 3)
    [second] = run.interrupts
    assert second.value.string_value == "sure?"
    assert second.interrupt_id != first.interrupt_id
    run = await answer(mesh, run, "yes")
    assert (run.status, notes(run)) == (SUCCESS, ["begun", "3, yes", "done"])


async def test_parked_run_is_returned_with_its_interrupts_everywhere(mesh: Mesh) -> None:
    created = await mesh.client.create_run("ask_twice", {"name": "x"}, request_id="once")
    parked = await mesh.wait(created)
    assert (parked.status, len(parked.interrupts)) == (INTERRUPTED, 1)
    assert await mesh.client.create_run("ask_twice", {"name": "x"}, request_id="once") == parked
    assert await mesh.client.get_run(parked.run_id) == parked
    cancelled = await mesh.client.cancel_run(parked.run_id, "over")
    assert len(cancelled.interrupts) == (cancelled.status == INTERRUPTED)


async def test_events_of_a_parked_run_continue_without_gaps(mesh: Mesh) -> None:
    """The stream ends with the event of the interrupts; it continues after the answer."""
    run = await park(mesh)
    before = await mesh.events(run)
    assert list(before[-1].status_changed.interrupts) == list(run.interrupts)
    run = await answer(mesh, run, 1)
    run = await answer(mesh, run, 1)
    events = await mesh.events(run)
    assert events[: len(before)] == before
    assert [event.seq for event in events] == list(range(1, run.last_seq + 1))
    assert [event.status_changed.epoch for event in events if event.status_changed.epoch] == [1, 2, 3]


async def test_resumes_when_all_interrupts_are_answered(mesh: Mesh) -> None:
    """With an answer to one of two concurrent interrupts the run stays parked."""
    run = await park(mesh, "ask_both")
    ids = {interrupt.node: interrupt.interrupt_id for interrupt in run.interrupts}
    assert set(ids) == {"left", "right"}
    run = await mesh.resume(run, {ids["left"]: 1})
    assert (run.status, [interrupt.node for interrupt in run.interrupts]) == (INTERRUPTED, ["right"])
    await mesh.resume(run, {ids["right"]: 2})
    run = await mesh.wait(run)
    assert (run.status, sorted(notes(run))) == (SUCCESS, ["done", "left 1", "right 2"])


@pytest.mark.parametrize("graph", ["ask_nested", "ask_invoked"])
async def test_interrupt_of_a_subgraph_is_answered(mesh: Mesh, graph: str) -> None:
    """The subgraph is a node, or a synchronous node invokes it."""
    run = await answer(mesh, await park(mesh, graph), "yes")
    assert (run.status, notes(run)) == (SUCCESS, ["deep yes", "done"])


async def test_graph_invoked_on_the_event_loop_ends_its_run(mesh: Mesh) -> None:
    run = await mesh.run("ask_blocking", name="x")
    assert (run.status, "InvalidStateError" in run.error.message) == (pb.RunStatus.RUN_STATUS_ERROR, True)


async def test_one_of_concurrent_answers_is_accepted(mesh: Mesh) -> None:
    """Repeats of the accepted answer change nothing; different answers are refused."""
    run = await park(mesh)
    [interrupt] = run.interrupts
    attempts = [mesh.resume(run, {interrupt.interrupt_id: number % 2}) for number in range(200)]
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, InterruptAnswered)]
    assert len(refused) == 100
    assert all(isinstance(outcome, pb.Run | InterruptAnswered) for outcome in outcomes)
    assert [open_.value.string_value for open_ in (await mesh.wait(run)).interrupts] == ["sure?"]


async def test_parked_run_survives_restarts(tmp_path: Path) -> None:
    """It consists of rows alone, so any process can resume it."""
    async with serve_billing(tmp_path) as billing:
        async with serve_orchestrator(tmp_path, billing) as mesh:
            run = await park(mesh)
        async with serve_orchestrator(tmp_path, billing) as mesh:
            run = await mesh.wait(run)
            assert [interrupt.node for interrupt in run.interrupts] == ["ask"]
            run = await answer(mesh, run, 1)
        async with serve_orchestrator(tmp_path, billing) as mesh:
            run = await answer(mesh, await mesh.wait(run), 2)
    assert notes(run) == ["begun", "1, 2", "done"]


async def test_parked_run_keeps_its_thread(mesh: Mesh) -> None:
    run = await park(mesh)
    with pytest.raises(ThreadBusy) as busy:
        await mesh.create("ask_twice", {"name": "y"}, thread_id=run.thread_id)
    assert busy.value.data["run"] == run.run_id


async def test_parked_run_can_be_cancelled(mesh: Mesh) -> None:
    """Its thread is free for the next run."""
    run = await park(mesh)
    await mesh.client.cancel_run(run.run_id, "not needed")
    run = await mesh.wait(run)
    assert (run.status, list(run.interrupts)) == (pb.RunStatus.RUN_STATUS_CANCELLED, [])
    again = await mesh.create("ask_twice", {"name": "y"}, thread_id=run.thread_id)
    assert (await mesh.wait(again)).status == INTERRUPTED


async def test_answer_without_an_open_interrupt_is_refused(mesh: Mesh) -> None:
    """The id is unknown, or the run has ended."""
    run = await park(mesh)
    [interrupt] = run.interrupts
    with pytest.raises(NotFound, match="interrupt"):
        await mesh.resume(run, {"unknown": 1})
    await mesh.client.cancel_run(run.run_id, "not needed")
    await mesh.wait(run)
    with pytest.raises(RunNotInterrupted, match="cancelled"):
        await mesh.resume(run, {interrupt.interrupt_id: 1})


async def test_deadline_is_extended_by_the_parked_time(mesh: Mesh) -> None:
    """A run that resumes has as much time left as when it parked."""
    run = await mesh.wait(await mesh.create("ask_twice", {"name": "x"}, timeout={"seconds": 100}))
    left = run.deadline.ToDatetime() - run.create_time.ToDatetime()
    run = await answer(mesh, run, 1)
    assert run.deadline.ToDatetime() - run.create_time.ToDatetime() > left
