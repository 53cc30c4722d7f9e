"""Runs over gRPC: submission, events, ends."""

import asyncio

import pytest
from google.protobuf import json_format
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.errors import InvalidInput, NotFound
from graphmesh_orchestrator.errors import GraphNotFound, RequestIdReused, ThreadBusy

from tests.integration.orchestrator.mesh import Mesh, notes, reason

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_run_ends_with_the_output_of_its_graph(mesh: Mesh) -> None:
    """And with its effect in the service."""
    invoice_id = await mesh.create_invoice(1000)
    run = await mesh.run("pay", invoice_id=invoice_id, amount=400)
    assert run.status == pb.RunStatus.RUN_STATUS_SUCCESS
    assert notes(run) == ["owes 1000", "charged 400"]
    assert await mesh.count_charges(invoice_id) == 1


@pytest.mark.parametrize("graph", ["pay", "failing", "hanging"])
async def test_waiting_returns_the_stored_run(mesh: Mesh, graph: str) -> None:
    """In every field, whether the run succeeds, fails or is cancelled; the same as GetRun, and as waiting later."""
    given = {"invoice_id": await mesh.create_invoice(), "amount": 5}
    begun = await mesh.client.create_run(graph, given, request_id="r", labels={"team": "a"})
    waiting = asyncio.create_task(mesh.client.wait_run(begun.run_id))
    if graph == "hanging":
        await mesh.client.cancel_run(begun.run_id, "enough")
    assert await waiting == await mesh.client.get_run(begun.run_id) == await mesh.client.wait_run(begun.run_id)


async def test_events_are_numbered_without_gaps(mesh: Mesh) -> None:
    """From 1 to last_seq: the run's begin, each node, each tool call with its effect key, the run's end."""
    run = await mesh.run("pay", invoice_id=await mesh.create_invoice(), amount=5)
    events = await mesh.events(run)
    assert [event.seq for event in events] == list(range(1, run.last_seq + 1))
    kinds = [(event.node, event.WhichOneof("event")) for event in events]
    assert kinds == [
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


async def test_stream_resumes_after_any_event(mesh: Mesh) -> None:
    """With each sequence number the remaining events are streamed, each once."""
    run = await mesh.run("pay", invoice_id=await mesh.create_invoice(), amount=5)
    events = await mesh.events(run)
    for seq in range(run.last_seq + 1):
        assert await mesh.events(run, seq) == events[seq:]


async def test_stream_of_a_running_run_ends_with_it(mesh: Mesh) -> None:
    """A client that streams from the beginning gets the same events as one that streams later."""
    begun = await mesh.create("pay", {"invoice_id": await mesh.create_invoice(), "amount": 5})
    live = await mesh.events(begun)
    assert live == await mesh.events(begun)


async def test_text_of_a_model_is_streamed(mesh: Mesh) -> None:
    """The text of a chat model that a node calls is streamed in text deltas of that node."""
    run = await mesh.run("talking", invoice_id="in", amount=1)
    deltas = [event for event in await mesh.events(run) if event.HasField("text_delta")]
    assert {event.node for event in deltas} == {"talk"}
    assert "".join(event.text_delta.text for event in deltas) == "ink dries in the feed"


async def test_run_has_the_modes_that_it_was_created_with(mesh: Mesh) -> None:
    """A stream has all of them or some, and resumes after any event; others are refused by name."""
    modes = [pb.StreamMode.STREAM_MODE_VALUES, pb.StreamMode.STREAM_MODE_TASKS]
    begun = await mesh.create("pay", {"invoice_id": await mesh.create_invoice(), "amount": 5}, stream_modes=modes)
    assert list(begun.stream_modes) == modes
    run = await mesh.wait(begun)
    events = await mesh.events(run)
    assert [event.seq for event in events] == list(range(1, run.last_seq + 1))
    values = [event async for event in mesh.client.stream_run(run.run_id, stream_modes=modes[:1])]
    assert [event.WhichOneof("event") for event in values] == ["status_changed", *["values"] * 3, "status_changed"]
    for event in values:
        left = [one async for one in mesh.client.stream_run(run.run_id, event.seq, stream_modes=modes[:1])]
        assert left == [one for one in values if one.seq > event.seq]
    with pytest.raises(InvalidInput, match=r"stream_modes\[1\]: the run was not created with updates"):
        await anext(mesh.client.stream_run(run.run_id, stream_modes=[modes[0], pb.StreamMode.STREAM_MODE_UPDATES]))
    default = await mesh.run("pay", invoice_id=await mesh.create_invoice(), amount=5)
    assert list(default.stream_modes) == [1, 2, 3]


@pytest.mark.parametrize(("size", "messages"), [(1000, 1), (3, 3), (1, 8), (0, 8)])
async def test_events_are_sent_several_in_a_message(mesh: Mesh, size: int, messages: int) -> None:
    run = await mesh.run("pay", invoice_id=await mesh.create_invoice(), amount=5)
    request = pb.StreamRunRequest(run_id=run.run_id, batch_size=size)
    found = [response async for response in mesh.stream(pb.RunService.StreamRun, request)]
    assert len(found) == messages
    events = [event for response in found for event in ([response.event] if size <= 1 else response.events)]
    assert events == await mesh.events(run)


async def test_heartbeats_are_sent_while_nothing_happens(mesh: Mesh) -> None:
    """They are no events: they have no number, and are not stored."""
    begun = await mesh.create("hanging", {"invoice_id": "in", "amount": 1})
    request = pb.StreamRunRequest(run_id=begun.run_id)
    request.heartbeat_interval.FromMilliseconds(100)
    heartbeats, seqs = [], []
    async with asyncio.timeout(60):
        async for response in mesh.stream(pb.RunService.StreamRun, request):
            if response.HasField("heartbeat"):
                heartbeats.append(response.heartbeat.after_seq)
            else:
                seqs.append(response.event.seq)
            if len(heartbeats) == 3:
                await mesh.client.cancel_run(begun.run_id, "enough")
    assert len(heartbeats) >= 3
    assert set(heartbeats) <= {0, *seqs}
    assert seqs == list(range(1, len(seqs) + 1))
    assert [event.seq for event in await mesh.events(begun)] == seqs


async def test_same_request_id_returns_the_same_run(mesh: Mesh) -> None:
    """A hundred concurrent submissions create one run."""
    invoice_id = await mesh.create_invoice()
    given = {"invoice_id": invoice_id, "amount": 5}
    runs = await asyncio.gather(*(mesh.client.create_run("pay", given, request_id="once") for _ in range(100)))
    assert len({run.run_id for run in runs}) == 1
    await mesh.client.wait_run(runs[0].run_id)
    assert await mesh.count_charges(invoice_id) == 1


async def test_reused_request_id_is_refused(mesh: Mesh) -> None:
    """With another request. The error names the run of the first one."""
    given = {"invoice_id": await mesh.create_invoice(), "amount": 5}
    first = await mesh.client.create_run("pay", given, request_id="r")
    with pytest.raises(RequestIdReused) as refusal:
        await mesh.client.create_run("pay", {"invoice_id": "another", "amount": 5}, request_id="r")
    assert refusal.value.data["run"] == first.run_id


async def test_thread_has_one_run_at_a_time(mesh: Mesh) -> None:
    """The refusal of a second run names the first. Other threads are independent."""
    given = {"invoice_id": "in", "amount": 1}
    first = await mesh.client.create_run("hanging", given, thread_id="t")
    with pytest.raises(ThreadBusy) as refusal:
        await mesh.client.create_run("hanging", given, thread_id="t")
    assert refusal.value.data == {"thread": "t", "run": first.run_id}
    await mesh.client.create_run("hanging", given, thread_id="u")


async def test_unknown_graph_is_refused(mesh: Mesh) -> None:
    """The error names the registered graphs."""
    with pytest.raises(GraphNotFound, match=r"registered are: .*pay"):
        await mesh.client.create_run("nope", {"a": 1})


@pytest.mark.parametrize(
    ("input", "fields"),
    [
        ({"amount": 1}, {"input.invoice_id"}),
        ({"invoice_id": 7, "amount": "x"}, {"input.invoice_id", "input.amount"}),
        ({"invoice_id": "i", "amount": 1, "extra": 1}, {"input.extra"}),
    ],
)
async def test_invalid_input_is_refused(mesh: Mesh, input: dict[str, object], fields: set[str]) -> None:
    """The error names each invalid field."""
    with pytest.raises(InvalidInput) as refusal:
        await mesh.client.create_run("pay", input)
    assert {violation.field for violation in refusal.value.violations} == fields


async def test_loop_ends_at_the_recursion_limit(mesh: Mesh) -> None:
    """With a reason of its own."""
    begun = await mesh.client.create_run("loop", {"invoice_id": "in", "amount": 1}, recursion_limit=5)
    run = await mesh.client.wait_run(begun.run_id)
    assert (run.status, reason(run)) == (pb.RunStatus.RUN_STATUS_ERROR, "RECURSION_LIMIT")


async def test_hanging_run_ends_at_its_deadline(mesh: Mesh) -> None:
    begun = await mesh.client.create_run("hanging", {"invoice_id": "in", "amount": 1}, timeout=0.2)
    run = await mesh.client.wait_run(begun.run_id)
    assert (run.status, reason(run)) == (pb.RunStatus.RUN_STATUS_TIMEOUT, "DEADLINE_EXCEEDED")


async def test_error_of_a_node_is_reported_without_its_message(mesh: Mesh) -> None:
    """The client gets the node and the type of the error. The message may contain customers' data, and is logged."""
    run = await mesh.run("failing", invoice_id="in", amount=1)
    assert (run.status, reason(run)) == (pb.RunStatus.RUN_STATUS_ERROR, "NODE_FAILED")
    assert "KeyError" in run.error.message
    assert "secret" not in str(run)


async def test_run_of_another_tenant_is_not_found(mesh: Mesh) -> None:
    """By GetRun, WaitRun and StreamRun."""
    run = await mesh.run("pay", invoice_id=await mesh.create_invoice(), amount=5)
    with pytest.raises(NotFound):
        await mesh.call(pb.RunService.GetRun, pb.GetRunRequest(run_id=run.run_id), tenant="stranger")
    with pytest.raises(NotFound):
        await mesh.call(pb.RunService.WaitRun, pb.WaitRunRequest(run_id=run.run_id), tenant="stranger")
    with pytest.raises(NotFound):
        await anext(mesh.stream(pb.RunService.StreamRun, pb.StreamRunRequest(run_id=run.run_id), tenant="stranger"))


async def test_wait_ends_after_max_wait(mesh: Mesh) -> None:
    """It returns the run as it is, and the run continues."""
    begun = await mesh.client.create_run("hanging", {"invoice_id": "in", "amount": 1})
    request = pb.WaitRunRequest(run_id=begun.run_id)
    request.max_wait.FromMilliseconds(50)
    response = await mesh.call(pb.RunService.WaitRun, request)
    assert response.run.status in (pb.RunStatus.RUN_STATUS_PENDING, pb.RunStatus.RUN_STATUS_RUNNING)


async def test_graphs_are_listed_with_their_schemas(mesh: Mesh) -> None:
    graphs = {graph.name: graph for graph in await mesh.client.list_graphs()}
    assert "pay" in graphs
    assert set(json_format.MessageToDict(graphs["pay"].input_schema)["properties"]) == {"invoice_id", "amount"}


async def test_refusal_of_a_tool_ends_the_run(mesh: Mesh) -> None:
    """A CallerError is a decision of the service: the run ends with its reason, without the node's fallback."""
    run = await mesh.run("pay_degraded", invoice_id=await mesh.create_invoice(10), amount=11)
    assert (run.status, reason(run)) == (pb.RunStatus.RUN_STATUS_ERROR, "RULE_VIOLATED")


async def test_cancelled_run_ends_with_the_reason(mesh: Mesh) -> None:
    """Its thread is free for the next run."""
    given = {"invoice_id": "in", "amount": 1}
    begun = await mesh.client.create_run("hanging", given, thread_id="t")
    request = pb.CancelRunRequest(run_id=begun.run_id, reason="ordered by mistake")
    await mesh.call(pb.RunService.CancelRun, request)
    run = await mesh.wait(begun)
    assert (run.status, reason(run)) == (pb.RunStatus.RUN_STATUS_CANCELLED, "CANCELLED")
    assert "ordered by mistake" in run.error.message
    assert (await mesh.events(run))[-1].status_changed.status == pb.RunStatus.RUN_STATUS_CANCELLED
    await mesh.client.create_run("hanging", given, thread_id="t")


async def test_cancellation_does_not_change_an_ended_run(mesh: Mesh) -> None:
    run = await mesh.run("pay", invoice_id=await mesh.create_invoice(), amount=5)
    request = pb.CancelRunRequest(run_id=run.run_id, reason="too late")
    assert (await mesh.call(pb.RunService.CancelRun, request)).run == run


async def test_pages_list_each_run_once_newest_first(mesh: Mesh) -> None:
    """Filters and tenants limit the list."""
    begun = [(await mesh.run("pay", invoice_id=await mesh.create_invoice(), amount=5)).run_id for _ in range(5)]
    failed = await mesh.run("failing", invoice_id="in", amount=1)
    listed: list[str] = []
    request = pb.ListRunsRequest(graph="pay", page_size=2)
    while True:
        page = await mesh.call(pb.RunService.ListRuns, request)
        listed += [run.run_id for run in page.runs]
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break
    assert listed == begun[::-1]
    errors = pb.ListRunsRequest(status=pb.RunStatus.RUN_STATUS_ERROR)
    found = await mesh.call(pb.RunService.ListRuns, errors)
    assert [run.run_id for run in found.runs] == [failed.run_id]
    nothing = await mesh.call(pb.RunService.ListRuns, pb.ListRunsRequest(), tenant="stranger")
    assert not nothing.runs
