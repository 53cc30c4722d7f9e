"""Remote nodes: effects once, retries with one owner, fallbacks (D1, D4, D5, D7, E1, E4)."""

import asyncio
from collections.abc import AsyncIterator
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
from graphmesh_nodes.errors import WriteAheadRequired
from langgraph.checkpoint.memory import InMemorySaver

from tests.integration.orchestrator import graphs
from tests.integration.orchestrator.crashes import HANGS
from tests.integration.orchestrator.kit import Faults, Kit, billing_of, faulty, notes, orchestrating, running
from tests.integration.orchestrator.test_runs import reason


@pytest_asyncio.fixture
async def flaky(tmp_path: Path) -> AsyncIterator[tuple[Kit, Faults]]:
    """An orchestrator whose calls pass `Faults`."""
    async with running(tmp_path) as plain, faulty(plain.billing) as (faults, address):
        folder = tmp_path / "flaky"
        folder.mkdir()
        async with orchestrating(folder, plain.billing, mesh=address) as kit:
            yield kit, faults


def calls(events: list[pb.RunEvent]) -> list[pb.ToolCalled]:
    return [event.tool_called for event in events if event.HasField("tool_called")]


async def test_a_busy_service_is_asked_again_with_the_same_key(flaky: tuple[Kit, Faults]) -> None:
    """Two refusals, then success: three attempts, one key, one charge."""
    kit, faults = flaky
    faults.refusals += [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAVAILABLE]
    invoice = await kit.invoice()
    run = await kit.run("pay_degraded", invoice_id=invoice, amount=5)
    assert notes(run) == ["charged 5"]
    assert (len(faults.keys), len(set(faults.keys))) == (3, 1)
    assert await kit.charges(invoice) == 1
    assert [call.attempts for call in calls(await kit.events(run.run_id))] == [3]


async def test_attempts_end_with_the_policy(flaky: tuple[Kit, Faults]) -> None:
    """A service that stays down sees max_attempts calls, not one more: nothing above tries again."""
    kit, faults = flaky
    faults.refusals += [grpc.StatusCode.UNAVAILABLE] * 20
    run = await kit.run("pay_degraded", invoice_id=await kit.invoice(), amount=5)
    assert run.status == pb.RunStatus.RUN_STATUS_SUCCESS
    assert len(faults.keys) == 3


async def test_a_wrong_call_is_made_once(flaky: tuple[Kit, Faults]) -> None:
    """INVALID_ARGUMENT is not tried again: the same call would be as wrong."""
    kit, faults = flaky
    faults.refusals += [grpc.StatusCode.INVALID_ARGUMENT] * 3
    run = await kit.run("pay_degraded", invoice_id=await kit.invoice(), amount=5)
    assert run.status == pb.RunStatus.RUN_STATUS_ERROR
    assert len(faults.keys) == 1


@pytest.mark.parametrize(
    ("graph", "note"),
    [
        ("pay_degraded", "not charged: CONNECTION_LOST"),
        ("pay_instead", "another tool was asked"),
        ("pay_escalated", "a person was asked"),
    ],
)
async def test_a_fallback_takes_over_when_the_service_cannot(flaky: tuple[Kit, Faults], graph: str, note: str) -> None:
    """Degraded, another tool, or a person: as the node says, and the run succeeds (D5)."""
    kit, faults = flaky
    faults.refusals += [grpc.StatusCode.UNAVAILABLE] * 3
    run = await kit.run(graph, invoice_id=await kit.invoice(), amount=5)
    assert run.status == pb.RunStatus.RUN_STATUS_SUCCESS
    assert notes(run)[-1] == note


async def test_without_a_fallback_the_run_says_what_was_missing(kit: Kit) -> None:
    """The run ends with the dependency's error, not with an accident of the orchestrator."""
    await kit.billing.running.server.stop(None)
    run = await kit.run("pay", invoice_id="in_1", amount=5)
    assert (run.status, reason(run)) == (pb.RunStatus.RUN_STATUS_ERROR, "UNREACHABLE")


async def test_an_effect_before_a_stop_is_not_repeated(tmp_path: Path) -> None:
    """The process stops between the charge and its checkpoint: the next runs the node again, one charge exists."""
    async with billing_of(tmp_path) as served:
        async with orchestrating(tmp_path, served) as kit:
            invoice = await kit.invoice()
            HANGS.add(invoice)
            begun = await kit.client.create_run("pay_hanging", {"invoice_id": invoice, "amount": 7})
            async with asyncio.timeout(20):
                while invoice in HANGS:
                    await asyncio.sleep(0.02)
            assert await kit.charges(invoice) == 1
        async with orchestrating(tmp_path, served) as again:
            run = await again.client.wait_run(begun.run_id, timeout=20)
            assert run.status == pb.RunStatus.RUN_STATUS_SUCCESS
            assert notes(run) == ["owes 1000", "charged 7"]
            assert await again.charges(invoice) == 1
            events = await again.events(run.run_id)
            assert len({call.effect_key for call in calls(events) if call.effect_key}) == 1
            assert [event.node for event in events if event.HasField("node_started")] == ["read", "charge", "charge"]
            assert [event.seq for event in events] == list(range(1, run.last_seq + 1))


@pytest.mark.parametrize("durability", ["async", "exit", None])
async def test_no_effect_leaves_without_durable_checkpoints(kit: Kit, durability: Any) -> None:
    """With any other durability the effect is refused before it is sent (design invariant 1)."""
    invoice = await kit.invoice()
    graph = graphs.pay.compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "t"}}
    with pytest.raises(WriteAheadRequired):
        await graph.ainvoke(_input(invoice), config, context=_context(kit), durability=durability)
    assert await kit.charges(invoice) == 0


async def test_no_effect_leaves_without_a_checkpointer(kit: Kit) -> None:
    """Nor where there are no checkpoints at all; reads of the same graph do work."""
    invoice = await kit.invoice()
    with pytest.raises(WriteAheadRequired):
        await graphs.pay.compile().ainvoke(_input(invoice), context=_context(kit))
    assert await kit.charges(invoice) == 0


async def test_a_call_ends_with_the_deadline_of_its_run(kit: Kit) -> None:
    """What is left of the run's time is all that its nodes have, however long their own timeouts are (D7)."""
    context = _context(kit, seconds=0)
    graph = graphs.pay_degraded.compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "t"}}
    state = await graph.ainvoke(_input(await kit.invoice()), config, context=context, durability="sync")
    assert state["notes"] == ["not charged: DEADLINE_EXCEEDED"]


def _input(invoice: str) -> Any:
    return {"invoice_id": invoice, "amount": 5}


def _context(kit: Kit, seconds: float = 10) -> RunContext:
    channel: Channel = kit.billing.channel
    return RunContext(channel, "default", "local", "run_1", Deadline.after(seconds))


async def test_an_effect_of_a_run_that_was_taken_over_is_settled(flaky: tuple[Kit, Faults]) -> None:
    """An earlier epoch may have sent it: it is asked for again beyond the policy's attempts, until somebody answers."""
    kit, faults = flaky
    faults.refusals += [grpc.StatusCode.UNAVAILABLE] * 5
    invoice = await kit.invoice()
    graph = graphs.pay_degraded.compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "t"}}
    async with Channel(faults.address) as channel:
        context = RunContext(channel, "default", "local", "run_1", Deadline.after(30), epoch=Epoch(2))
        state = await graph.ainvoke(_input(invoice), config, context=context, durability="sync")
    assert state["notes"] == ["charged 5"]
    assert len(faults.keys) == 6


async def test_what_cannot_be_settled_may_have_happened(kit: Kit) -> None:
    """The service is gone. This epoch has sent nothing, but an earlier one may have: the error does not deny it."""
    config: Any = {"configurable": {"thread_id": "t"}}
    caught: list[GraphmeshError] = []

    def otherwise(state: Any, error: GraphmeshError) -> dict[str, list[str]]:
        caught.append(error)
        return {"notes": [error.reason]}

    graph = graphs.paying(otherwise)
    async with Channel("127.0.0.1:1") as nowhere:
        context = RunContext(nowhere, "default", "local", "run_1", Deadline.after(1), epoch=Epoch(2))
        await graph.compile(checkpointer=InMemorySaver()).ainvoke(
            _input("in_1"), config, context=context, durability="sync"
        )
    assert [error.may_have_happened for error in caught] == [True]


async def test_what_one_attempt_may_have_done_the_next_does_not_deny(flaky: tuple[Kit, Faults]) -> None:
    """The first attempt is cut off, the others find nobody: the effect may have happened, and the error says so."""
    kit, faults = flaky
    faults.refusals += [grpc.StatusCode.UNAVAILABLE]
    faults.then_closed = True
    run = await kit.run("pay_degraded", invoice_id=await kit.invoice(), amount=5)
    [called] = calls(await kit.events(run.run_id))
    assert notes(run) == ["not charged: UNREACHABLE"]
    assert called.may_have_happened
