"""Invalid requests are refused by field and rule, and begin no run."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.errors import GraphmeshError

from tests.integration.orchestrator.mesh import Mesh

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAN, INFINITY = float("nan"), float("inf")


def violations_of(error: pytest.ExceptionInfo[GraphmeshError]) -> dict[str, str]:
    """Return the violated rule by field."""
    return {violation.field: violation.description for violation in error.value.violations}


@pytest.mark.parametrize(
    ("input", "fields"),
    [
        ({"name": NAN}, {"input.name"}),
        ({"name": "x", "notes": [1, INFINITY, {"deep": -INFINITY}]}, {"input.notes[1]", "input.notes[2].deep"}),
    ],
)
async def test_numbers_that_are_not_finite_are_refused_in_inputs(
    mesh: Mesh, input: dict[str, Any], fields: set[str]
) -> None:
    with pytest.raises(GraphmeshError) as refused:
        await mesh.create("ask_twice", input)
    assert refused.value.reason == "INVALID_REQUEST"
    assert violations_of(refused) == dict.fromkeys(fields, "has to be a finite number")
    assert not await mesh.client.list_runs()


async def test_numbers_that_are_not_finite_are_refused_in_answers(mesh: Mesh) -> None:
    """The run stays parked."""
    run = await mesh.run("ask_twice", name="x")
    [interrupt] = run.interrupts
    with pytest.raises(GraphmeshError) as refused:
        await mesh.resume(run, {interrupt.interrupt_id: NAN})
    assert list(violations_of(refused)) == [f"answers[{interrupt.interrupt_id}]"]
    assert (await mesh.client.get_run(run.run_id)).interrupts == run.interrupts


async def test_numbers_that_are_not_finite_are_refused_in_states(mesh: Mesh) -> None:
    await mesh.client.threads.create("th", graph="gated")
    with pytest.raises(GraphmeshError) as refused:
        await mesh.client.threads.update_state("th", {"notes": [NAN]}, as_node="gate")
    assert list(violations_of(refused)) == ["values.notes[0]"]


@pytest.mark.parametrize(
    "schedule_time", [datetime.max.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC) - timedelta(seconds=60)]
)
async def test_a_schedule_time_out_of_range_is_refused(mesh: Mesh, schedule_time: datetime) -> None:
    with pytest.raises(GraphmeshError) as refused:
        await mesh.client.create_run("ask_twice", {"name": "x"}, schedule_time=schedule_time)
    assert refused.value.reason == "INVALID_REQUEST"
    assert list(violations_of(refused)) == ["schedule_time"]


async def test_an_input_that_does_not_fit_in_a_response_is_refused(mesh: Mesh) -> None:
    """A run is returned with its input and its output in one message, which an input of 15 MiB would exceed."""
    with pytest.raises(GraphmeshError) as refused:
        await mesh.client.create_run("ask_twice", {"name": "x" * 15 * 1024 * 1024})
    assert list(violations_of(refused)) == ["input"]
    assert not await mesh.client.list_runs()


async def test_runs_with_large_inputs_can_be_listed(mesh: Mesh) -> None:
    """A page is limited by the size of a message, whatever the page size; each run is listed once."""
    big = "x" * 3 * 1024 * 1024
    begun = [(await mesh.client.create_run("ask_twice", {"name": big})).run_id for _ in range(6)]
    first = await mesh.call(pb.RunService.ListRuns, pb.ListRunsRequest(page_size=50))
    assert len(first.runs) == 1
    assert [run.run_id for run in await mesh.client.list_runs()] == begun[::-1]


async def test_approvals_of_large_calls_can_be_listed(mesh: Mesh) -> None:
    """A page is limited by the size of a message; each approval is listed once."""
    for number in range(6):
        run = await mesh.run("approved_by_rule", invoice_id=str(number) + "x" * 1_500_000, amount=1000)
        assert run.status == pb.RunStatus.RUN_STATUS_INTERRUPTED
    first = await mesh.call(pb.ApprovalService.ListApprovals, pb.ListApprovalsRequest())
    assert len(first.approvals) == 1
    listed = await mesh.client.approvals.find()
    assert [one.question[len("Charge 1000 of ")] for one in listed] == list("012345")


async def test_a_refused_update_without_a_node_names_the_assumed_node(mesh: Mesh) -> None:
    await mesh.client.threads.create("th", graph="gated")
    with pytest.raises(GraphmeshError) as refused:
        await mesh.client.threads.update_state("th", {"notes": ["by hand"]})
    assert violations_of(refused) == {
        "values.notes": "is not a known field",
        "as_node": "is not stated, and the last node that wrote is __start__",
    }


@pytest.mark.parametrize("url", ["ftp://hooks.example.com/x", "https://me:secret@hooks.example.com/x"])
async def test_an_invalid_webhook_url_is_refused_with_the_rule(mesh: Mesh, url: str) -> None:
    """And without its password."""
    with pytest.raises(GraphmeshError, match="http or https address, without user") as refused:
        await mesh.client.create_run("ask_twice", {"name": "x"}, webhook_url=url)
    assert refused.value.reason == "WEBHOOK_NOT_ALLOWED"
    assert "secret" not in str(refused.value)
