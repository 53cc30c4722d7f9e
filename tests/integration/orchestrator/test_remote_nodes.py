"""Remote nodes: effects happen once, failed calls are retried in one place, and fallbacks replace them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.epoch import Epoch
from graphmesh_chassis.errors import GraphmeshError
from graphmesh_nodes import RunContext
from graphmesh_nodes.context import with_run_context
from graphmesh_nodes.errors import WriteAheadRequired
from langgraph.checkpoint.memory import InMemorySaver

from tests.integration.orchestrator import graphs
from tests.integration.orchestrator.mesh import (
    BillingProxy,
    Mesh,
    billing_proxy,
    notes,
    reason,
    serve_billing,
    serve_mesh,
    serve_orchestrator,
)
from tests.integration.orchestrator.node_faults import HANG_AFTER_CHARGE

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


@pytest_asyncio.fixture(loop_scope="module")
async def proxy(shared_mesh: Mesh) -> AsyncIterator[BillingProxy]:
    """A proxy in front of billing."""
    async with billing_proxy(shared_mesh.billing) as proxy:
        yield proxy


@pytest_asyncio.fixture(loop_scope="module")
async def proxied_mesh(proxy: BillingProxy, tmp_path: Path) -> AsyncIterator[Mesh]:
    """An orchestrator that calls billing through the proxy, for a tenant of the test's own."""
    async with (
        serve_orchestrator(tmp_path, proxy.billing, billing_address=proxy.address) as mesh,
        mesh.as_new_tenant() as tenant,
    ):
        yield tenant


def calls_in(events: Sequence[pb.RunEvent]) -> list[pb.ToolCalled]:
    return [event.tool_called for event in events if event.HasField("tool_called")]


async def test_unavailable_service_is_retried_with_the_same_key(proxied_mesh: Mesh, proxy: BillingProxy) -> None:
    """Two refusals, then success: three attempts, one key, one charge."""
    proxy.refusals += [UNAVAILABLE] * 2
    invoice_id = await proxied_mesh.create_invoice()
    run = await proxied_mesh.run("pay_degraded", invoice_id=invoice_id, amount=5)
    assert notes(run) == ["charged 5"]
    assert (len(proxy.keys), len(set(proxy.keys))) == (3, 1)
    assert await proxied_mesh.count_charges(invoice_id) == 1
    assert [call.attempts for call in calls_in(await proxied_mesh.events(run))] == [3]


async def test_policy_limits_the_attempts(proxied_mesh: Mesh, proxy: BillingProxy) -> None:
    """A service that stays unavailable receives max_attempts calls: no other component retries too."""
    proxy.refusals += [UNAVAILABLE] * 20
    run = await proxied_mesh.run("pay_degraded", invoice_id=await proxied_mesh.create_invoice(), amount=5)
    assert run.status == pb.RunStatus.RUN_STATUS_SUCCESS
    assert len(proxy.keys) == 3


async def test_invalid_call_is_not_retried(proxied_mesh: Mesh, proxy: BillingProxy) -> None:
    proxy.refusals += [grpc.StatusCode.INVALID_ARGUMENT] * 3
    run = await proxied_mesh.run("pay_degraded", invoice_id=await proxied_mesh.create_invoice(), amount=5)
    assert run.status == pb.RunStatus.RUN_STATUS_ERROR
    assert len(proxy.keys) == 1


@pytest.mark.parametrize(
    ("graph", "note"),
    [
        ("pay_degraded", "not charged: CONNECTION_LOST"),
        ("pay_instead", "another tool was called"),
        ("pay_escalated", "a person takes over"),
    ],
)
async def test_fallback_replaces_a_failed_call(proxied_mesh: Mesh, proxy: BillingProxy, graph: str, note: str) -> None:
    """The node degrades, calls another tool or escalates to a person, and the run succeeds."""
    proxy.refusals += [UNAVAILABLE] * 3
    run = await proxied_mesh.run(graph, invoice_id=await proxied_mesh.create_invoice(), amount=5)
    assert run.status == pb.RunStatus.RUN_STATUS_SUCCESS
    assert notes(run)[-1] == note


async def test_failed_call_without_a_fallback_ends_the_run(tmp_path: Path) -> None:
    """With the error of the service, not with an internal one."""
    async with serve_mesh(tmp_path) as mesh:
        await mesh.billing.running.server.stop(None)
        run = await mesh.run("pay", invoice_id="in_1", amount=5)
        assert (run.status, reason(run)) == (pb.RunStatus.RUN_STATUS_ERROR, "UNREACHABLE")


async def test_effect_is_not_repeated_after_a_restart(tmp_path: Path) -> None:
    """The process stops between the charge and its checkpoint. The next process repeats the node, not the charge."""
    async with serve_billing(tmp_path) as billing:
        async with serve_orchestrator(tmp_path, billing) as mesh:
            invoice_id = await mesh.create_invoice()
            HANG_AFTER_CHARGE.add(invoice_id)
            begun = await mesh.create("pay_hanging", {"invoice_id": invoice_id, "amount": 7})
            async with asyncio.timeout(60):
                while invoice_id in HANG_AFTER_CHARGE:
                    await asyncio.sleep(0.02)
            assert await mesh.count_charges(invoice_id) == 1
        async with serve_orchestrator(tmp_path, billing) as mesh:
            run = await mesh.wait(begun)
            assert run.status == pb.RunStatus.RUN_STATUS_SUCCESS
            assert notes(run) == ["owes 1000", "charged 7"]
            assert await mesh.count_charges(invoice_id) == 1
            events = await mesh.events(run)
            assert len({call.effect_key for call in calls_in(events) if call.effect_key}) == 1
            assert [event.node for event in events if event.HasField("node_started")] == ["read", "charge", "charge"]
            assert [event.seq for event in events] == list(range(1, run.last_seq + 1))


THREAD: Any = {"configurable": {"thread_id": "t"}}


def input_of(invoice_id: str) -> Any:
    return {"invoice_id": invoice_id, "amount": 5}


def context_of(mesh: Mesh, seconds: float = 60) -> RunContext:
    """The context of a run without an orchestrator, which calls billing directly."""
    return RunContext(mesh.billing.channel, mesh.tenant, "local", "run_1", Deadline.after(seconds))


@pytest.mark.parametrize("durability", ["async", "exit", None])
async def test_effect_without_durable_checkpoints_is_not_sent(mesh: Mesh, durability: Any) -> None:
    """Durability `sync` is required: with any other the key of a repeated effect could differ."""
    invoice_id = await mesh.create_invoice()
    graph = graphs.pay.compile(checkpointer=InMemorySaver())
    with pytest.raises(WriteAheadRequired):
        await graph.ainvoke(input_of(invoice_id), with_run_context(THREAD, context_of(mesh)), durability=durability)
    assert await mesh.count_charges(invoice_id) == 0


async def test_effect_without_a_checkpointer_is_not_sent(mesh: Mesh) -> None:
    """The graph's read, which is no effect, is sent."""
    invoice_id = await mesh.create_invoice()
    with pytest.raises(WriteAheadRequired):
        await graphs.pay.compile().ainvoke(input_of(invoice_id), with_run_context({}, context_of(mesh)))
    assert await mesh.count_charges(invoice_id) == 0


async def test_call_ends_at_the_deadline_of_its_run(mesh: Mesh) -> None:
    """Also where the timeout of the call is longer."""
    graph = graphs.pay_degraded.compile(checkpointer=InMemorySaver())
    given, context = input_of(await mesh.create_invoice()), context_of(mesh, seconds=0)
    state = await graph.ainvoke(given, with_run_context(THREAD, context), durability="sync")
    assert state["notes"] == ["not charged: DEADLINE_EXCEEDED"]


async def test_effect_of_an_earlier_epoch_is_retried_until_its_outcome_is_known(
    mesh: Mesh, proxy: BillingProxy
) -> None:
    """An earlier epoch may have sent it, so it is retried beyond the policy's attempts until the service answers."""
    proxy.refusals += [UNAVAILABLE] * 5
    graph, invoice_id = graphs.pay_degraded.compile(checkpointer=InMemorySaver()), await mesh.create_invoice()
    async with Channel(proxy.address) as channel:
        context = RunContext(channel, mesh.tenant, "local", "run_1", Deadline.after(60), epoch=Epoch(2))
        state = await graph.ainvoke(input_of(invoice_id), with_run_context(THREAD, context), durability="sync")
    assert state["notes"] == ["charged 5"]
    assert len(proxy.keys) == 6


async def test_unknown_outcome_is_reported_as_possible() -> None:
    """The service is down. This epoch has sent nothing, but an earlier one may have: the effect may have happened."""
    errors: list[GraphmeshError] = []

    def update(state: Any, error: GraphmeshError) -> dict[str, list[str]]:
        errors.append(error)
        return {"notes": [error.reason]}

    graph = graphs.pay_with_fallback(update).compile(checkpointer=InMemorySaver())
    async with Channel("127.0.0.1:1") as unreachable:
        context = RunContext(unreachable, "default", "local", "run_1", Deadline.after(1), epoch=Epoch(2))
        await graph.ainvoke(input_of("in_1"), with_run_context(THREAD, context), durability="sync")
    assert [error.may_have_happened for error in errors] == [True]


async def test_later_attempts_do_not_deny_an_earlier_one(proxied_mesh: Mesh, proxy: BillingProxy) -> None:
    """The first attempt fails after it was sent, the others cannot connect: the effect may have happened."""
    proxy.refusals += [UNAVAILABLE]
    proxy.stops_after_refusal = True
    run = await proxied_mesh.run("pay_degraded", invoice_id=await proxied_mesh.create_invoice(), amount=5)
    [called] = calls_in(await proxied_mesh.events(run))
    assert notes(run) == ["not charged: UNREACHABLE"]
    assert called.may_have_happened
