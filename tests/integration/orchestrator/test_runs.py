"""Runs over gRPC: submission, events, ends (A4, B1-B4)."""

import asyncio

import pytest
from google.protobuf import json_format
from google.rpc.error_details_pb2 import ErrorInfo
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import NotFound
from graphmesh_orchestrator.errors import GraphNotFound, InvalidInput, RequestIdReused, ThreadBusy

from tests.integration.orchestrator.kit import Kit, notes


def reason(run: pb.Run) -> str:
    info = ErrorInfo()
    return next((info.reason for detail in run.error.details if detail.Unpack(info)), "")


async def test_a_run_ends_with_the_output_of_its_graph(kit: Kit) -> None:
    """The client gets what the graph returned, and the effect is in the service."""
    invoice = await kit.invoice(1000)
    run = await kit.run("pay", invoice_id=invoice, amount=400)
    assert run.status == pb.RunStatus.RUN_STATUS_SUCCESS
    assert notes(run) == ["owes 1000", "charged 400"]
    assert await kit.charges(invoice) == 1


@pytest.mark.parametrize("graph", ["pay", "failing", "slow"])
async def test_who_waits_is_told_what_is_stored(kit: Kit, graph: str) -> None:
    """In every field, however the run has ended; and also who waits for a run of another process, or comes late."""
    given = {"invoice_id": await kit.invoice(), "amount": 5}
    begun = await kit.client.create_run(graph, given, request_id="r", labels={"team": "a"})
    waiting = asyncio.create_task(kit.client.wait_run(begun.run_id))
    if graph == "slow":
        await kit.client.cancel_run(begun.run_id, "enough")
    assert await waiting == await kit.client.get_run(begun.run_id) == await kit.client.wait_run(begun.run_id)


async def test_events_are_numbered_without_gaps_and_tell_the_story(kit: Kit) -> None:
    """Events run from 1 to last_seq: the run, each node, each tool call with its effect key, the end."""
    run = await kit.run("pay", invoice_id=await kit.invoice(), amount=5)
    events = await kit.events(run.run_id)
    assert [event.seq for event in events] == list(range(1, run.last_seq + 1))
    story = [(event.node, event.WhichOneof("event")) for event in events]
    assert story == [
        ("", "status_changed"),
        ("read", "node_started"),
        ("read", "tool_called"),
        ("read", "node_finished"),
        ("charge", "node_started"),
        ("charge", "tool_called"),
        ("charge", "node_finished"),
        ("", "status_changed"),
    ]
    called = [event.tool_called for event in events if event.HasField("tool_called")]
    assert [(call.tool, call.attempts, bool(call.effect_key)) for call in called] == [
        ("billing.GetInvoice", 1, False),
        ("billing.Charge", 1, True),
    ]


async def test_a_stream_goes_on_from_any_event(kit: Kit) -> None:
    """From every sequence number the rest comes, each event once (B4)."""
    run = await kit.run("pay", invoice_id=await kit.invoice(), amount=5)
    whole = await kit.events(run.run_id)
    for seen in range(run.last_seq + 1):
        assert await kit.events(run.run_id, seen) == whole[seen:]


async def test_a_stream_that_is_opened_early_sees_the_end(kit: Kit) -> None:
    """A client that watches from the start gets the same events as one that comes later."""
    begun = await kit.client.create_run("pay", {"invoice_id": await kit.invoice(), "amount": 5})
    live = await kit.events(begun.run_id)
    assert live == await kit.events(begun.run_id)


async def test_text_of_a_model_is_streamed(kit: Kit) -> None:
    """What a chat model says inside a node comes as text deltas of that node, and they add up."""
    run = await kit.run("talking", invoice_id="in", amount=1)
    said = [event for event in await kit.events(run.run_id) if event.HasField("text_delta")]
    assert {event.node for event in said} == {"talk"}
    assert "".join(event.text_delta.text for event in said) == "ink dries in the feed"


async def test_the_same_request_id_gives_the_same_run(kit: Kit) -> None:
    """A hundred equal submissions at once are one run (A4)."""
    invoice = await kit.invoice()
    runs = await asyncio.gather(
        *(kit.client.create_run("pay", {"invoice_id": invoice, "amount": 5}, request_id="once") for _ in range(100))
    )
    assert len({run.run_id for run in runs}) == 1
    await kit.client.wait_run(runs[0].run_id)
    assert await kit.charges(invoice) == 1


async def test_a_request_id_with_another_body_is_refused(kit: Kit) -> None:
    """The refusal names the run of the first body, and begins nothing (A4)."""
    first = await kit.client.create_run("pay", {"invoice_id": await kit.invoice(), "amount": 5}, request_id="r")
    with pytest.raises(RequestIdReused) as refusal:
        await kit.client.create_run("pay", {"invoice_id": "another", "amount": 5}, request_id="r")
    assert refusal.value.data["run"] == first.run_id


async def test_a_thread_has_one_run_at_a_time(kit: Kit) -> None:
    """A second run on a busy thread is refused, and told which run has it; other threads are free."""
    first = await kit.client.create_run("slow", {"invoice_id": "in", "amount": 1}, thread_id="t")
    with pytest.raises(ThreadBusy) as refusal:
        await kit.client.create_run("slow", {"invoice_id": "in", "amount": 1}, thread_id="t")
    assert refusal.value.data == {"thread": "t", "run": first.run_id}
    await kit.client.create_run("slow", {"invoice_id": "in", "amount": 1}, thread_id="u")


async def test_an_unknown_graph_is_refused_with_the_known_ones(kit: Kit) -> None:
    with pytest.raises(GraphNotFound, match=r"registered are: .*pay"):
        await kit.client.create_run("nope", {"a": 1})


@pytest.mark.parametrize(
    ("input", "fields"),
    [
        ({"amount": 1}, {"input.invoice_id"}),
        ({"invoice_id": 7, "amount": "x"}, {"input.invoice_id", "input.amount"}),
        ({"invoice_id": "i", "amount": 1, "extra": 1}, {"input.extra"}),
    ],
)
async def test_input_is_checked_at_the_door(kit: Kit, input: dict[str, object], fields: set[str]) -> None:
    """A bad input is refused before a run is stored, and every bad field is named (B1)."""
    with pytest.raises(InvalidInput) as refusal:
        await kit.client.create_run("pay", input)
    assert {violation.field for violation in refusal.value.violations} == fields


async def test_a_loop_ends_at_the_recursion_limit(kit: Kit) -> None:
    """The run ends with a reason of its own, not as an accident (B2)."""
    begun = await kit.client.create_run("loop", {"invoice_id": "in", "amount": 1}, recursion_limit=5)
    run = await kit.client.wait_run(begun.run_id)
    assert (run.status, reason(run)) == (pb.RunStatus.RUN_STATUS_ERROR, "RECURSION_LIMIT")


async def test_a_run_ends_at_its_deadline(kit: Kit) -> None:
    """A run that hangs is ended as TIMEOUT when its own time is over."""
    begun = await kit.client.create_run("slow", {"invoice_id": "in", "amount": 1}, timeout=0.2)
    run = await kit.client.wait_run(begun.run_id)
    assert (run.status, reason(run)) == (pb.RunStatus.RUN_STATUS_TIMEOUT, "DEADLINE_EXCEEDED")


async def test_a_node_that_raises_is_named_and_its_secrets_are_not(kit: Kit) -> None:
    """The client learns the node and the type of the error; the text of it stays in the log."""
    run = await kit.run("failing", invoice_id="in", amount=1)
    assert (run.status, reason(run)) == (pb.RunStatus.RUN_STATUS_ERROR, "NODE_FAILED")
    assert "KeyError" in run.error.message
    assert "secret" not in str(run)


async def test_runs_of_another_tenant_are_not_there(kit: Kit) -> None:
    """Neither read, nor waited for, nor streamed."""
    run = await kit.run("pay", invoice_id=await kit.invoice(), amount=5)
    stranger = [("x-graphmesh-tenant", "stranger")]
    for rpc, request in (
        (pb.RunService.GetRun, pb.GetRunRequest(run_id=run.run_id)),
        (pb.RunService.WaitRun, pb.WaitRunRequest(run_id=run.run_id)),
    ):
        with pytest.raises(NotFound):
            await kit.channel.unary(rpc, request, deadline=Deadline.after(30), headers=stranger)  # type: ignore[misc]
    stream = kit.channel.stream(
        pb.RunService.StreamRun, pb.StreamRunRequest(run_id=run.run_id), deadline=Deadline.after(30), headers=stranger
    )
    with pytest.raises(NotFound):
        await anext(stream)


async def test_a_wait_ends_with_the_run_as_it_is(kit: Kit) -> None:
    """WaitRun with max_wait returns a run that still runs, and the run goes on."""
    begun = await kit.client.create_run("slow", {"invoice_id": "in", "amount": 1})
    request = pb.WaitRunRequest(run_id=begun.run_id)
    request.max_wait.FromMilliseconds(50)
    response = await kit.channel.unary(pb.RunService.WaitRun, request, deadline=Deadline.after(10))
    assert response.run.status in (pb.RunStatus.RUN_STATUS_PENDING, pb.RunStatus.RUN_STATUS_RUNNING)


async def test_graphs_are_listed_with_their_schemas(kit: Kit) -> None:
    graphs = {graph.name: graph for graph in await kit.client.list_graphs()}
    assert "pay" in graphs
    assert set(json_format.MessageToDict(graphs["pay"].input_schema)["properties"]) == {"invoice_id", "amount"}


async def test_a_refused_call_of_a_tool_ends_the_run_with_that_error(kit: Kit) -> None:
    """A CallerError is the service's decision: the run ends with its reason and nothing falls back."""
    run = await kit.run("pay_degraded", invoice_id=await kit.invoice(10), amount=11)
    assert (run.status, reason(run)) == (pb.RunStatus.RUN_STATUS_ERROR, "RULE_VIOLATED")


async def test_a_cancelled_run_ends_with_the_reason(kit: Kit) -> None:
    """The run ends as CANCELLED, says why, and its thread is free again (B6)."""
    begun = await kit.client.create_run("slow", {"invoice_id": "in", "amount": 1}, thread_id="t")
    request = pb.CancelRunRequest(run_id=begun.run_id, reason="ordered by mistake")
    await kit.channel.unary(pb.RunService.CancelRun, request, deadline=Deadline.after(30))
    run = await kit.client.wait_run(begun.run_id, timeout=10)
    assert (run.status, reason(run)) == (pb.RunStatus.RUN_STATUS_CANCELLED, "CANCELLED")
    assert "ordered by mistake" in run.error.message
    assert (await kit.events(run.run_id))[-1].status_changed.status == pb.RunStatus.RUN_STATUS_CANCELLED
    await kit.client.create_run("slow", {"invoice_id": "in", "amount": 1}, thread_id="t")


async def test_cancelling_an_ended_run_changes_nothing(kit: Kit) -> None:
    """It stays as it ended."""
    run = await kit.run("pay", invoice_id=await kit.invoice(), amount=5)
    request = pb.CancelRunRequest(run_id=run.run_id, reason="too late")
    response = await kit.channel.unary(pb.RunService.CancelRun, request, deadline=Deadline.after(30))
    assert response.run == run


async def test_runs_are_listed_newest_first_in_pages(kit: Kit) -> None:
    """Every run once, over pages of two; filters let only what they say through."""
    begun = [(await kit.run("pay", invoice_id=await kit.invoice(), amount=5)).run_id for _ in range(5)]
    failed = await kit.run("failing", invoice_id="in", amount=1)
    listed: list[str] = []
    request = pb.ListRunsRequest(graph="pay", page_size=2)
    while True:
        page = await kit.channel.unary(pb.RunService.ListRuns, request, deadline=Deadline.after(30))
        listed += [run.run_id for run in page.runs]
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break
    assert listed == begun[::-1]
    errors = pb.ListRunsRequest(status=pb.RunStatus.RUN_STATUS_ERROR)
    found = await kit.channel.unary(pb.RunService.ListRuns, errors, deadline=Deadline.after(30))
    assert [run.run_id for run in found.runs] == [failed.run_id]
    stranger = [("x-graphmesh-tenant", "stranger")]
    nothing = await kit.channel.unary(
        pb.RunService.ListRuns, pb.ListRunsRequest(), deadline=Deadline.after(30), headers=stranger
    )
    assert not nothing.runs
