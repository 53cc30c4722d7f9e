"""Runs that park until a person agrees to a call (B8; design invariant 8)."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf import json_format
from graphmesh.billing.v1 import BillingService
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis import metadata
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import ApprovalRequired, ScopeMissing
from graphmesh_contracts import APPROVAL_KEY, Overrides
from graphmesh_nodes.errors import ApprovalExpired
from graphmesh_orchestrator.errors import ApprovalAnswered, RunNotInterrupted

from tests.integration.orchestrator.crashes import CHANGED
from tests.integration.orchestrator.kit import Kit, billing_of, eur, notes, orchestrating
from tests.integration.orchestrator.test_runs import reason

APPROVE, DENY = pb.Decision.DECISION_APPROVE, pb.Decision.DECISION_DENY
INTERRUPTED, SUCCESS = pb.RunStatus.RUN_STATUS_INTERRUPTED, pb.RunStatus.RUN_STATUS_SUCCESS
ERROR = pb.RunStatus.RUN_STATUS_ERROR
BY_POLICY = Overrides(methods={"Charge": {"approval": "APPROVAL_REQUIRED", "approvers": ["approvals.money"]}})


@pytest_asyncio.fixture
async def strict(tmp_path: Path) -> AsyncIterator[Kit]:
    """A mesh whose policy says that a person has to agree to every charge."""
    folder = tmp_path / "strict"
    folder.mkdir()
    policies = {BillingService.NAME: BY_POLICY}
    async with (
        billing_of(folder, policy=BY_POLICY) as billing,
        orchestrating(folder, billing, tool_policies=policies) as kit,
    ):
        yield kit


async def parked(kit: Kit, graph: str, amount: int = 500) -> pb.Run:
    """A run that waits for approvals of charging a new invoice."""
    begun = await kit.create(graph, {"invoice_id": await kit.invoice(), "amount": amount})
    run = await kit.stopped(begun.run_id)
    assert run.status == INTERRUPTED
    return run


def invoice_of(run: pb.Run) -> str:
    return str(run.input["invoice_id"])


async def approval(kit: Kit, run: pb.Run) -> pb.Approval:
    """The one that a run waits for."""
    [asked] = run.interrupts
    request = pb.GetApprovalRequest(approval_id=asked.approval_id)
    return (await kit.channel.unary(pb.ApprovalService.GetApproval, request, deadline=Deadline.after(10))).approval


async def respond(
    kit: Kit, approval_id: str, decision: pb.Decision.ValueType, comment: str = "", scopes: str | None = None
) -> pb.Approval:
    """One answer, of Ana; with every scope where none are named."""
    request = pb.RespondApprovalRequest(approval_id=approval_id, decision=decision, comment=comment)
    headers = [(metadata.SUBJECT, "ana")]
    if scopes is not None:
        headers.append((metadata.SCOPES, f"approvals.write {scopes}"))
    rpc = pb.ApprovalService.RespondApproval
    return (await kit.channel.unary(rpc, request, deadline=Deadline.after(10), headers=headers)).approval


async def answered(kit: Kit, run: pb.Run, decision: pb.Decision.ValueType, comment: str = "") -> pb.Run:
    """The run as it stops next."""
    [asked] = run.interrupts
    await respond(kit, asked.approval_id, decision, comment)
    return await kit.stopped(run.run_id)


async def listed(kit: Kit, **fields: Any) -> list[pb.Approval]:
    request = pb.ListApprovalsRequest(**fields)
    return list(
        (await kit.channel.unary(pb.ApprovalService.ListApprovals, request, deadline=Deadline.after(10))).approvals
    )


async def test_the_policy_of_a_method_asks(strict: Kit) -> None:
    """The graph says nothing of approvals: the call parks, tells what it would do, and is made when agreed to."""
    run = await parked(strict, "approved_charge")
    asked = await approval(strict, run)
    assert json_format.MessageToDict(asked.arguments) == {
        "invoice_id": invoice_of(run),
        "amount": {"currency_code": "EUR", "amount_minor": "500"},
    }
    assert (asked.tool, asked.node, list(asked.scopes)) == ("billing.Charge", "charge", ["approvals.money"])
    assert (asked.run_id, asked.status) == (run.run_id, pb.ApprovalStatus.APPROVAL_STATUS_PENDING)
    assert (asked.expire_time.ToDatetime() - asked.create_time.ToDatetime()).total_seconds() == pytest.approx(86400, 1)
    assert await strict.charges(invoice_of(run)) == 0
    run = await answered(strict, run, APPROVE, "fine")
    assert (run.status, notes(run)) == (SUCCESS, ["charged 500"])
    assert await strict.charges(invoice_of(run)) == 1
    [after] = await listed(strict, run_id=run.run_id)
    assert (after.status, after.answered_by, after.comment) == (
        pb.ApprovalStatus.APPROVAL_STATUS_APPROVED,
        "ana",
        "fine",
    )


async def test_a_service_refuses_what_nobody_has_agreed_to(strict: Kit) -> None:
    """Not only the orchestrator holds the policy: the service does."""
    request = BillingService.Charge.request(invoice_id=await strict.invoice(), amount=eur(5))
    with pytest.raises(ApprovalRequired):
        await strict.billing.channel.unary(
            BillingService.Charge, request, deadline=Deadline.after(30), headers=[(metadata.IDEMPOTENCY_KEY, "key")]
        )


async def test_a_denial_without_a_way_out_ends_the_run(strict: Kit) -> None:
    run = await answered(strict, await parked(strict, "approved_charge"), DENY, "too much")
    assert (run.status, reason(run)) == (ERROR, "APPROVAL_DENIED")
    assert await strict.charges(invoice_of(run)) == 0


async def test_a_rule_of_the_node_asks(kit: Kit) -> None:
    """Where the request is above the bound; the graph's words are told. Below it the call is just made."""
    below = await kit.run("approved_by_rule", invoice_id=await kit.invoice(), amount=100)
    assert notes(below) == ["charged 100"]
    run = await parked(kit, "approved_by_rule", 101)
    asked = await approval(kit, run)
    assert (asked.question, list(asked.scopes)) == (f"Charge 101 of {invoice_of(run)}?", ["approvals.charge"])
    assert notes(await answered(kit, run, APPROVE)) == ["charged 101"]


async def test_a_rule_takes_nothing_from_the_policy(strict: Kit) -> None:
    """Where the rule would let the request pass, the policy asks all the same; where both ask, both say whom."""
    small = await approval(strict, await parked(strict, "approved_by_rule", 100))
    assert (small.question, list(small.scopes)) == ("", ["approvals.money"])
    large = await approval(strict, await parked(strict, "approved_by_rule", 101))
    assert list(large.scopes) == ["approvals.charge", "approvals.money"]


async def test_a_denial_is_a_refusal_that_the_node_handles(kit: Kit) -> None:
    run = await answered(kit, await parked(kit, "approved_by_rule"), DENY, "not today")
    assert (run.status, notes(run)) == (SUCCESS, ["APPROVAL_DENIED not today"])
    assert await kit.charges(invoice_of(run)) == 0


async def test_what_nobody_answers_in_time_is_denied(kit: Kit) -> None:
    """The run goes on with the denial by itself; who answers later is told."""
    run = await parked(kit, "approved_soon")
    asked = await approval(kit, run)
    assert list(asked.scopes) == ["approvals.billing"]
    async with asyncio.timeout(20):
        while run.status != SUCCESS:
            run = await kit.stopped(run.run_id)
            await asyncio.sleep(0.05)
    assert notes(run) == ["APPROVAL_EXPIRED"]
    assert await kit.charges(invoice_of(run)) == 0
    with pytest.raises(ApprovalExpired):
        await respond(kit, asked.approval_id, APPROVE)


async def test_the_state_of_a_thread_names_the_approval(kit: Kit) -> None:
    """As the run that waits on it does (B7)."""
    run = await parked(kit, "approved_by_rule")
    assert list((await kit.client.threads.state(run.thread_id)).interrupts) == list(run.interrupts)


async def test_only_who_has_the_scopes_answers(kit: Kit) -> None:
    """Who lacks one is told which; nothing changes by it."""
    run = await parked(kit, "approved_by_rule")
    [asked] = run.interrupts
    with pytest.raises(ScopeMissing, match=r"approvals\.charge"):
        await respond(kit, asked.approval_id, APPROVE, scopes="approvals.billing")
    assert (await approval(kit, run)).status == pb.ApprovalStatus.APPROVAL_STATUS_PENDING
    await respond(kit, asked.approval_id, APPROVE, scopes="approvals.charge")
    assert notes(await kit.stopped(run.run_id)) == ["charged 500"]


async def test_what_was_approved_is_what_is_called(kit: Kit) -> None:
    """The request has changed since: it is refused, and nothing is sent."""
    run = await parked(kit, "approved_by_rule")
    CHANGED[invoice_of(run)] = 900
    run = await answered(kit, run, APPROVE)
    assert (run.status, reason(run)) == (ERROR, "APPROVAL_MISMATCH")
    assert await kit.charges(invoice_of(run)) == 0


async def test_what_was_just_agreed_to_is_not_called_uncertain(kit: Kit) -> None:
    """The service is gone when the answer comes. Nobody can have made the call before: it is known not to be made."""
    run = await parked(kit, "approved_by_rule")
    await kit.billing.running.server.stop(None)
    run = await answered(kit, run, APPROVE)
    assert (run.status, reason(run)) == (ERROR, "UNREACHABLE")
    [called] = [event.tool_called for event in await kit.events(run.run_id) if event.HasField("tool_called")]
    assert not called.may_have_happened


async def test_one_approval_after_the_other_in_one_node(kit: Kit) -> None:
    """Each of two effects needs its own; the first is not made again while the second waits."""
    run = await parked(kit, "approved_twice", 300)
    first = await approval(kit, run)
    run = await answered(kit, run, APPROVE)
    second = await approval(kit, run)
    assert (first.digest, first.approval_id != second.approval_id) == (second.digest, True)
    assert await kit.charges(invoice_of(run)) == 1
    run = await answered(kit, run, APPROVE)
    assert (notes(run), await kit.charges(invoice_of(run))) == (["charged 300", "charged 300"], 2)


async def test_approvals_side_by_side(kit: Kit) -> None:
    """The run goes on when both are answered; each call has its own answer."""
    run = await parked(kit, "approved_side_by_side")
    ids = {asked.node: asked.approval_id for asked in run.interrupts}
    await respond(kit, ids["left"], APPROVE)
    assert [asked.node for asked in (await kit.stopped(run.run_id)).interrupts] == ["right"]
    await respond(kit, ids["right"], DENY)
    run = await kit.stopped(run.run_id)
    assert notes(run) == ["charged 500", "APPROVAL_DENIED"]
    assert await kit.charges(invoice_of(run)) == 1


async def test_approvals_survive_a_restart(tmp_path: Path) -> None:
    """The process that asked is gone; the next takes the answer, and another one makes the call (C1)."""
    async with billing_of(tmp_path) as billing:
        async with orchestrating(tmp_path, billing) as kit:
            run = await parked(kit, "approved_by_rule")
        async with orchestrating(tmp_path, billing, role="api") as kit:
            await respond(kit, (await approval(kit, run)).approval_id, APPROVE)
        async with orchestrating(tmp_path, billing) as kit:
            run = await kit.stopped(run.run_id)
            assert (notes(run), await kit.charges(invoice_of(run))) == (["charged 500"], 1)


async def test_an_approval_of_a_run_that_was_cancelled_is_void(kit: Kit) -> None:
    run = await parked(kit, "approved_by_rule")
    [asked] = run.interrupts
    await kit.client.cancel_run(run.run_id, "nobody cares")
    await kit.stopped(run.run_id)
    [void] = await listed(kit, run_id=run.run_id, status=pb.ApprovalStatus.APPROVAL_STATUS_VOID)
    assert void.approval_id == asked.approval_id
    with pytest.raises(RunNotInterrupted):
        await respond(kit, asked.approval_id, APPROVE)


async def test_another_run_that_goes_on_from_there_asks_for_itself(kit: Kit) -> None:
    """A cancelled run's thread stands where it asked. What goes on with it needs an approval of its own."""
    cancelled = await parked(kit, "approved_by_rule")
    await kit.client.cancel_run(cancelled.run_id, "nobody cares")
    await kit.stopped(cancelled.run_id)
    begun = await kit.create("approved_by_rule", thread_id=cancelled.thread_id)
    run = await kit.stopped(begun.run_id)
    assert run.interrupts[0].approval_id != cancelled.interrupts[0].approval_id
    assert notes(await answered(kit, run, APPROVE)) == ["charged 500"]


async def test_a_fork_asks_again(kit: Kit) -> None:
    """An approval is of one execution: who begins at the same checkpoint once more asks once more (B7)."""
    run = await parked(kit, "approved_by_rule")
    asked = await approval(kit, run)
    await answered(kit, run, APPROVE)
    begun = await kit.create("approved_by_rule", thread_id=run.thread_id, checkpoint_id=asked.checkpoint_id)
    fork = await kit.stopped(begun.run_id)
    assert (fork.status, await kit.charges(invoice_of(run))) == (INTERRUPTED, 1)
    await answered(kit, fork, DENY)
    assert await kit.charges(invoice_of(run)) == 1


async def test_an_approval_is_answered_by_nothing_else(kit: Kit) -> None:
    """ResumeRun answers no approval, and what looks like a decision answers no question."""
    run = await parked(kit, "approved_by_rule")
    [asked] = run.interrupts
    with pytest.raises(ApprovalRequired):
        await kit.resume(run.run_id, {asked.interrupt_id: True})
    question = await kit.create("ask_twice", {"name": "x"})
    [plain] = (await kit.stopped(question.run_id)).interrupts
    with pytest.raises(ApprovalRequired):
        await kit.resume(question.run_id, {plain.interrupt_id: {APPROVAL_KEY: {"status": "approved"}}})


async def test_the_deadline_stands_still_while_an_approval_is_awaited(kit: Kit) -> None:
    begun = await kit.create("approved_by_rule", {"invoice_id": await kit.invoice(), "amount": 500})
    run = await kit.stopped(begun.run_id)
    after = await answered(kit, run, APPROVE)
    assert after.deadline.ToDatetime() > run.deadline.ToDatetime()


async def test_parked_runs_cost_only_rows(kit: Kit) -> None:
    """No task of the process executes any of them, and none has a lease."""
    runs = await asyncio.gather(*(parked(kit, "approved_by_rule") for _ in range(100)))
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("run ")]
    assert len(await listed(kit, page_size=500)) == len(runs)
    for some in range(0, len(runs), 10):
        answers = await asyncio.gather(*(answered(kit, run, APPROVE) for run in runs[some : some + 10]))
        assert [notes(run) for run in answers] == [["charged 500"]] * len(answers)


async def test_of_many_answers_one_is_used(kit: Kit) -> None:
    """All others are told that it is answered, how, and by whom."""
    run = await parked(kit, "approved_by_rule")
    [asked] = run.interrupts
    tries = [respond(kit, asked.approval_id, (APPROVE, DENY)[number % 2]) for number in range(200)]
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    [used] = [outcome for outcome in outcomes if isinstance(outcome, pb.Approval)]
    told = [outcome for outcome in outcomes if isinstance(outcome, ApprovalAnswered)]
    status = pb.ApprovalStatus.Name(used.status).removeprefix("APPROVAL_STATUS_").lower()
    assert len(told) == len(tries) - 1
    assert {(one.data["status"], one.data["by"]) for one in told} == {(status, "ana")}
