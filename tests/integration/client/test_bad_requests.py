"""What is wrong with a request is said by field and rule, and nothing is begun by it (B1)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import GraphmeshError

from tests.integration.orchestrator.kit import Kit

NAN, INFINITY = float("nan"), float("inf")


def said_of(error: pytest.ExceptionInfo[GraphmeshError]) -> dict[str, str]:
    """What is said of each field."""
    return {violation.field: violation.description for violation in error.value.violations}


@pytest.mark.parametrize(
    ("input", "places"),
    [
        ({"name": NAN}, {"input.name"}),
        ({"name": "x", "notes": [1, INFINITY, {"deep": -INFINITY}]}, {"input.notes[1]", "input.notes[2].deep"}),
    ],
)
async def test_numbers_that_json_has_not_are_named(kit: Kit, input: dict[str, Any], places: set[str]) -> None:
    with pytest.raises(GraphmeshError) as refused:
        await kit.create("ask_twice", input)
    assert refused.value.reason == "INVALID_REQUEST"
    assert said_of(refused) == dict.fromkeys(places, "has to be a finite number")
    assert not await kit.client.list_runs()


async def test_such_an_answer_is_named_and_the_run_still_waits(kit: Kit) -> None:
    run = await kit.run("ask_twice", name="x")
    [asked] = run.interrupts
    with pytest.raises(GraphmeshError) as refused:
        await kit.resume(run.run_id, {asked.interrupt_id: NAN})
    assert list(said_of(refused)) == [f"answers[{asked.interrupt_id}]"]
    assert (await kit.client.get_run(run.run_id)).interrupts == run.interrupts


async def test_such_a_state_is_named(kit: Kit) -> None:
    await kit.client.threads.create("th", graph="gated")
    with pytest.raises(GraphmeshError) as refused:
        await kit.client.threads.update_state("th", {"notes": [NAN]}, as_node="gate")
    assert list(said_of(refused)) == ["values.notes[0]"]


@pytest.mark.parametrize(
    "schedule_time", [datetime.max.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC) - timedelta(seconds=60)]
)
async def test_a_time_after_all_years_is_named(kit: Kit, schedule_time: datetime) -> None:
    with pytest.raises(GraphmeshError) as refused:
        await kit.client.create_run("ask_twice", {"name": "x"}, schedule_time=schedule_time)
    assert refused.value.reason == "INVALID_REQUEST"
    assert list(said_of(refused)) == ["schedule_time"]


async def test_an_input_is_refused_that_no_answer_could_tell(kit: Kit) -> None:
    """A run is told with its input and its output in one message: nobody could read a run with an input of 15 MiB."""
    with pytest.raises(GraphmeshError) as refused:
        await kit.client.create_run("ask_twice", {"name": "x" * 15 * 1024 * 1024})
    assert list(said_of(refused)) == ["input"]
    assert not await kit.client.list_runs()


async def test_runs_with_large_inputs_can_be_listed(kit: Kit) -> None:
    """A page is what a message holds, however many runs were asked for; each run is listed once."""
    big = "x" * 3 * 1024 * 1024
    begun = [(await kit.client.create_run("ask_twice", {"name": big})).run_id for _ in range(6)]
    first = await kit.channel.unary(
        pb.RunService.ListRuns, pb.ListRunsRequest(page_size=50), deadline=Deadline.after(60)
    )
    assert len(first.runs) == 1
    assert [run.run_id for run in await kit.client.list_runs()] == begun[::-1]


async def test_approvals_of_large_calls_can_be_listed(kit: Kit) -> None:
    """A page is what a message holds; each approval is listed once."""
    for number in range(6):
        run = await kit.run("approved_by_rule", invoice_id=str(number) + "x" * 1_500_000, amount=1000)
        assert run.status == pb.RunStatus.RUN_STATUS_INTERRUPTED
    first = await kit.channel.unary(
        pb.ApprovalService.ListApprovals, pb.ListApprovalsRequest(), deadline=Deadline.after(60)
    )
    assert len(first.approvals) == 1
    listed = await kit.client.approvals.find()
    assert [one.question[len("Charge 1000 of ")] for one in listed] == list("012345")


async def test_an_update_without_a_node_says_what_it_was_held_against(kit: Kit) -> None:
    await kit.client.threads.create("th", graph="gated")
    with pytest.raises(GraphmeshError) as refused:
        await kit.client.threads.update_state("th", {"notes": ["by hand"]})
    assert said_of(refused) == {
        "values.notes": "is not a known field",
        "as_node": "is not stated, and the last that wrote is __start__",
    }


@pytest.mark.parametrize("url", ["ftp://hooks.example.com/x", "https://me:secret@hooks.example.com/x"])
async def test_an_address_that_nobody_can_call_is_told_apart_from_one_that_is_not_allowed(kit: Kit, url: str) -> None:
    with pytest.raises(GraphmeshError, match="http or https address, without user") as refused:
        await kit.client.create_run("ask_twice", {"name": "x"}, webhook_url=url)
    assert refused.value.reason == "WEBHOOK_NOT_ALLOWED"
    assert "secret" not in str(refused.value)
