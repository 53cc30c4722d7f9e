"""Calls that need an approval: runs park, and continue with the decision."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf import json_format
from graphmesh.billing.v1 import BillingService
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.errors import ApprovalRequired, ScopeMissing
from graphmesh_contracts import APPROVAL_KEY, Overrides
from graphmesh_nodes.errors import ApprovalExpired
from graphmesh_orchestrator.errors import ApprovalAnswered, RunNotInterrupted

from tests.integration.orchestrator.mesh import (
    Mesh,
    eur,
    notes,
    reason,
    serve_billing,
    serve_mesh,
    serve_orchestrator,
)
from tests.integration.orchestrator.node_faults import CHANGED_AMOUNTS

pytestmark = pytest.mark.asyncio(loop_scope="module")

APPROVE, DENY = pb.Decision.DECISION_APPROVE, pb.Decision.DECISION_DENY
INTERRUPTED, SUCCESS = pb.RunStatus.RUN_STATUS_INTERRUPTED, pb.RunStatus.RUN_STATUS_SUCCESS
ERROR = pb.RunStatus.RUN_STATUS_ERROR
STRICT = Overrides(methods={"Charge": {"approval": "APPROVAL_REQUIRED", "approvers": ["approvals.money"]}})
"""A policy by which each charge needs an approval."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_strict_mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    folder = tmp_path_factory.mktemp("strict")
    policies = {BillingService.NAME: STRICT}
    async with (
        serve_billing(folder, policy=STRICT) as billing,
        serve_orchestrator(folder, billing, tool_policies=policies) as mesh,
    ):
        yield mesh


@pytest_asyncio.fixture(loop_scope="module")
async def strict_mesh(shared_strict_mesh: Mesh) -> AsyncIterator[Mesh]:
    """A mesh with the strict policy."""
    async with shared_strict_mesh.as_new_tenant() as mesh:
        yield mesh


async def park(mesh: Mesh, graph: str, amount: int = 500, invoice_id: str = "") -> pb.Run:
    """Create a run that charges an invoice, by default a new one, and return it as it waits for approvals."""
    run = await mesh.run(graph, invoice_id=invoice_id or await mesh.create_invoice(), amount=amount)
    assert run.status == INTERRUPTED
    return run


def invoice_of(run: pb.Run) -> str:
    return str(run.input["invoice_id"])


async def get_approval(mesh: Mesh, run: pb.Run) -> pb.Approval:
    """Return the only approval that the run waits for."""
    [interrupt] = run.interrupts
    request = pb.GetApprovalRequest(approval_id=interrupt.approval_id)
    return (await mesh.call(pb.ApprovalService.GetApproval, request)).approval


async def find_approvals(mesh: Mesh, **fields: Any) -> list[pb.Approval]:
    return list((await mesh.call(pb.ApprovalService.ListApprovals, pb.ListApprovalsRequest(**fields))).approvals)


async def respond(
    mesh: Mesh, approval_id: str, decision: pb.Decision.ValueType, comment: str = "", scopes: str | None = None
) -> pb.Approval:
    """Respond as the approver `ana`; with every scope where none are given."""
    request = pb.RespondApprovalRequest(approval_id=approval_id, decision=decision, comment=comment)
    headers = {} if scopes is None else {"scopes": f"approvals.write {scopes}"}
    return (await mesh.call(pb.ApprovalService.RespondApproval, request, subject="ana", **headers)).approval


async def decide(mesh: Mesh, run: pb.Run, decision: pb.Decision.ValueType, comment: str = "") -> pb.Run:
    """Respond to the run's only approval, and return the run as it ends or parks again."""
    [interrupt] = run.interrupts
    await respond(mesh, interrupt.approval_id, decision, comment)
    return await mesh.wait(run)


async def test_policy_of_a_method_requires_an_approval(strict_mesh: Mesh) -> None:
    """The graph declares no approval. The approval shows the call, which is made once it is approved."""
    run = await park(strict_mesh, "approved_charge")
    approval = await get_approval(strict_mesh, run)
    assert json_format.MessageToDict(approval.arguments) == {
        "invoice_id": invoice_of(run),
        "amount": {"currency_code": "EUR", "amount_minor": "500"},
    }
    assert (approval.tool, approval.node, list(approval.scopes)) == ("billing.Charge", "charge", ["approvals.money"])
    assert (approval.run_id, approval.status) == (run.run_id, pb.ApprovalStatus.APPROVAL_STATUS_PENDING)
    lifetime = approval.expire_time.ToDatetime() - approval.create_time.ToDatetime()
    assert lifetime.total_seconds() == pytest.approx(86400, 1)
    assert await strict_mesh.count_charges(invoice_of(run)) == 0
    run = await decide(strict_mesh, run, APPROVE, "fine")
    assert (run.status, notes(run)) == (SUCCESS, ["charged 500"])
    assert await strict_mesh.count_charges(invoice_of(run)) == 1
    [after] = await find_approvals(strict_mesh, run_id=run.run_id)
    assert (after.status, after.answered_by, after.comment) == (
        pb.ApprovalStatus.APPROVAL_STATUS_APPROVED,
        "ana",
        "fine",
    )


async def test_service_refuses_a_call_without_approval(strict_mesh: Mesh) -> None:
    """The service enforces the policy too, not only the orchestrator."""
    request = BillingService.Charge.request(invoice_id=await strict_mesh.create_invoice(), amount=eur(5))
    with pytest.raises(ApprovalRequired):
        await strict_mesh.call_billing(BillingService.Charge, request)


async def test_unhandled_denial_ends_the_run(strict_mesh: Mesh) -> None:
    run = await decide(strict_mesh, await park(strict_mesh, "approved_charge"), DENY, "too much")
    assert (run.status, reason(run)) == (ERROR, "APPROVAL_DENIED")
    assert await strict_mesh.count_charges(invoice_of(run)) == 0


async def test_rule_of_a_node_requires_an_approval(mesh: Mesh) -> None:
    """Only where the request is above the limit. The approval has the question of the graph."""
    below = await mesh.run("approved_by_rule", invoice_id=await mesh.create_invoice(), amount=100)
    assert notes(below) == ["charged 100"]
    run = await park(mesh, "approved_by_rule", 101)
    approval = await get_approval(mesh, run)
    assert (approval.question, list(approval.scopes)) == (f"Charge 101 of {invoice_of(run)}?", ["approvals.charge"])
    assert notes(await decide(mesh, run, APPROVE)) == ["charged 101"]


async def test_rule_of_a_node_does_not_weaken_the_policy(strict_mesh: Mesh) -> None:
    """The policy applies where the rule requires no approval. Where both do, the scopes of both are required."""
    small = await get_approval(strict_mesh, await park(strict_mesh, "approved_by_rule", 100))
    assert (small.question, list(small.scopes)) == ("", ["approvals.money"])
    large = await get_approval(strict_mesh, await park(strict_mesh, "approved_by_rule", 101))
    assert list(large.scopes) == ["approvals.charge", "approvals.money"]


async def test_node_handles_a_denial_as_a_refusal(mesh: Mesh) -> None:
    run = await decide(mesh, await park(mesh, "approved_by_rule"), DENY, "not today")
    assert (run.status, notes(run)) == (SUCCESS, ["APPROVAL_DENIED not today"])
    assert await mesh.count_charges(invoice_of(run)) == 0


async def test_expired_approval_is_denied(mesh: Mesh) -> None:
    """The run continues with the denial; a later response is refused."""
    run = await mesh.create("approved_soon", {"invoice_id": await mesh.create_invoice(), "amount": 500})
    async with asyncio.timeout(60):
        while run.status != SUCCESS:
            run = await mesh.wait(run)
            await asyncio.sleep(0.05)
    assert notes(run) == ["APPROVAL_EXPIRED"]
    assert await mesh.count_charges(invoice_of(run)) == 0
    [approval] = await find_approvals(mesh, run_id=run.run_id)
    assert list(approval.scopes) == ["approvals.billing"]
    with pytest.raises(ApprovalExpired):
        await respond(mesh, approval.approval_id, APPROVE)


async def test_thread_state_names_the_approval(mesh: Mesh) -> None:
    """It has the same interrupts as the run."""
    run = await park(mesh, "approved_by_rule")
    assert list((await mesh.client.threads.state(run.thread_id)).interrupts) == list(run.interrupts)


async def test_approver_needs_the_scopes(mesh: Mesh) -> None:
    """The refusal names the missing scope, and the approval stays pending."""
    run = await park(mesh, "approved_by_rule")
    [interrupt] = run.interrupts
    with pytest.raises(ScopeMissing, match=r"approvals\.charge"):
        await respond(mesh, interrupt.approval_id, APPROVE, scopes="approvals.billing")
    assert (await get_approval(mesh, run)).status == pb.ApprovalStatus.APPROVAL_STATUS_PENDING
    await respond(mesh, interrupt.approval_id, APPROVE, scopes="approvals.charge")
    assert notes(await mesh.wait(run)) == ["charged 500"]


async def test_request_that_differs_from_the_approved_one_is_not_sent(mesh: Mesh) -> None:
    """The amount changes between the approval and the call."""
    run = await park(mesh, "approved_by_rule")
    CHANGED_AMOUNTS[invoice_of(run)] = 900
    run = await decide(mesh, run, APPROVE)
    assert (run.status, reason(run)) == (ERROR, "APPROVAL_MISMATCH")
    assert await mesh.count_charges(invoice_of(run)) == 0


async def test_call_that_fails_after_its_approval_is_known_not_to_be_made(tmp_path: Path) -> None:
    """The service is down when the approver responds. Without the approval no earlier epoch can have made the call."""
    async with serve_mesh(tmp_path) as mesh:
        run = await park(mesh, "approved_by_rule")
        await mesh.billing.running.server.stop(None)
        run = await decide(mesh, run, APPROVE)
        assert (run.status, reason(run)) == (ERROR, "UNREACHABLE")
        [called] = [event.tool_called for event in await mesh.events(run) if event.HasField("tool_called")]
        assert not called.may_have_happened


async def test_node_that_calls_again_asks_again(tmp_path: Path) -> None:
    """The service is down when the first approval is given. The question is another one, which an approver finds."""
    async with serve_billing(tmp_path) as billing, serve_orchestrator(tmp_path, billing) as mesh:
        run = await park(mesh, "approved_until_charged")
        first = await get_approval(mesh, run)
        await mesh.billing.running.server.stop(None)
        run = await decide(mesh, run, APPROVE)
        second = await get_approval(mesh, run)
        assert (run.status, second.approval_id != first.approval_id) == (INTERRUPTED, True)
        assert [
            one.approval_id for one in await find_approvals(mesh, status=pb.ApprovalStatus.APPROVAL_STATUS_PENDING)
        ] == [second.approval_id]
    async with serve_billing(tmp_path) as billing, serve_orchestrator(tmp_path, billing) as mesh:
        run = await decide(mesh, run, APPROVE)
        assert (run.status, await mesh.count_charges(invoice_of(run))) == (SUCCESS, 1)


async def test_two_effects_of_a_node_need_two_approvals(mesh: Mesh) -> None:
    """The first effect is not repeated when the node resumes with the second approval."""
    run = await park(mesh, "approved_twice", 300)
    first = await get_approval(mesh, run)
    run = await decide(mesh, run, APPROVE)
    second = await get_approval(mesh, run)
    assert (first.digest, first.approval_id != second.approval_id) == (second.digest, True)
    assert await mesh.count_charges(invoice_of(run)) == 1
    run = await decide(mesh, run, APPROVE)
    assert (notes(run), await mesh.count_charges(invoice_of(run))) == (["charged 300", "charged 300"], 2)


async def test_concurrent_approvals_are_independent(mesh: Mesh) -> None:
    """The run resumes when both are answered; each call gets its own decision."""
    run = await park(mesh, "approved_side_by_side")
    ids = {interrupt.node: interrupt.approval_id for interrupt in run.interrupts}
    await respond(mesh, ids["left"], APPROVE)
    assert [interrupt.node for interrupt in (await mesh.wait(run)).interrupts] == ["right"]
    await respond(mesh, ids["right"], DENY)
    run = await mesh.wait(run)
    assert notes(run) == ["charged 500", "APPROVAL_DENIED"]
    assert await mesh.count_charges(invoice_of(run)) == 1


async def test_approval_survives_restarts(tmp_path: Path) -> None:
    """One process parks the run, the next one takes the decision, and a third one makes the call."""
    async with serve_billing(tmp_path) as billing:
        async with serve_orchestrator(tmp_path, billing) as mesh:
            run = await park(mesh, "approved_by_rule")
        async with serve_orchestrator(tmp_path, billing, role="api") as mesh:
            await respond(mesh, (await get_approval(mesh, run)).approval_id, APPROVE)
        async with serve_orchestrator(tmp_path, billing) as mesh:
            run = await mesh.wait(run)
            assert (notes(run), await mesh.count_charges(invoice_of(run))) == (["charged 500"], 1)


async def test_approval_of_a_cancelled_run_is_void(mesh: Mesh) -> None:
    run = await park(mesh, "approved_by_rule")
    [interrupt] = run.interrupts
    await mesh.client.cancel_run(run.run_id, "not needed")
    await mesh.wait(run)
    [void] = await find_approvals(mesh, run_id=run.run_id, status=pb.ApprovalStatus.APPROVAL_STATUS_VOID)
    assert void.approval_id == interrupt.approval_id
    with pytest.raises(RunNotInterrupted):
        await respond(mesh, interrupt.approval_id, APPROVE)


async def test_run_that_continues_a_cancelled_one_needs_its_own_approval(mesh: Mesh) -> None:
    """The state of the thread is that of the cancelled run, which waited for its approval."""
    cancelled = await park(mesh, "approved_by_rule")
    await mesh.client.cancel_run(cancelled.run_id, "not needed")
    await mesh.wait(cancelled)
    run = await mesh.wait(await mesh.create("approved_by_rule", thread_id=cancelled.thread_id))
    assert run.interrupts[0].approval_id != cancelled.interrupts[0].approval_id
    assert notes(await decide(mesh, run, APPROVE)) == ["charged 500"]


async def test_run_from_an_earlier_checkpoint_needs_its_own_approval(mesh: Mesh) -> None:
    """An approval is for one execution, also of the same checkpoint."""
    run = await park(mesh, "approved_by_rule")
    approval = await get_approval(mesh, run)
    await decide(mesh, run, APPROVE)
    begun = await mesh.create("approved_by_rule", thread_id=run.thread_id, checkpoint_id=approval.checkpoint_id)
    fork = await mesh.wait(begun)
    assert (fork.status, await mesh.count_charges(invoice_of(run))) == (INTERRUPTED, 1)
    await decide(mesh, fork, DENY)
    assert await mesh.count_charges(invoice_of(run)) == 1


async def test_forked_thread_does_not_reuse_an_approval(mesh: Mesh) -> None:
    """The first of a node's two charges is approved and made. In the fork the node begins again, with two approvals."""
    run = await decide(mesh, await park(mesh, "approved_twice", 300), APPROVE)
    assert (run.status, await mesh.count_charges(invoice_of(run))) == (INTERRUPTED, 1)
    fork = await mesh.client.threads.fork(run.thread_id)
    again = await mesh.wait(await mesh.create("approved_twice", thread_id=fork.thread_id))
    assert (again.status, await mesh.count_charges(invoice_of(run))) == (INTERRUPTED, 1)
    for _ in range(2):
        again = await decide(mesh, again, APPROVE)
    assert again.status == SUCCESS
    assert await mesh.count_charges(invoice_of(run)) == 3


async def test_resume_does_not_answer_an_approval(mesh: Mesh) -> None:
    """Nor does it answer a question with a value that has the form of a decision."""
    run = await park(mesh, "approved_by_rule")
    [interrupt] = run.interrupts
    with pytest.raises(ApprovalRequired):
        await mesh.resume(run, {interrupt.interrupt_id: True})
    question = await mesh.run("ask_twice", name="x")
    [plain] = question.interrupts
    with pytest.raises(ApprovalRequired):
        await mesh.resume(question, {plain.interrupt_id: {APPROVAL_KEY: {"status": "approved"}}})


async def test_deadline_is_extended_by_the_time_of_an_approval(mesh: Mesh) -> None:
    run = await park(mesh, "approved_by_rule")
    after = await decide(mesh, run, APPROVE)
    assert after.deadline.ToDatetime() > run.deadline.ToDatetime()


async def test_parked_runs_are_only_rows(mesh: Mesh) -> None:
    """No task of the process executes a parked run, and each of them can be resumed."""
    number = 100
    invoice_id = await mesh.create_invoice(number * 500)
    runs = await asyncio.gather(*(park(mesh, "approved_by_rule", 500, invoice_id) for _ in range(number)))
    assert len(await find_approvals(mesh, page_size=500)) == len(runs)
    async with asyncio.timeout(60):
        while any(task.get_name().startswith("run run_") for task in asyncio.all_tasks()):
            await asyncio.sleep(0.02)
    for first in range(0, number, 10):
        ended = await asyncio.gather(*(decide(mesh, run, APPROVE) for run in runs[first : first + 10]))
        assert [notes(run) for run in ended] == [["charged 500"]] * len(ended)


async def test_concurrent_decisions_have_one_effect(mesh: Mesh) -> None:
    """One is accepted. The refusal of all others names the decision and the approver."""
    run = await park(mesh, "approved_by_rule")
    [interrupt] = run.interrupts
    attempts = [respond(mesh, interrupt.approval_id, (APPROVE, DENY)[number % 2]) for number in range(200)]
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    [accepted] = [outcome for outcome in outcomes if isinstance(outcome, pb.Approval)]
    refused = [outcome for outcome in outcomes if isinstance(outcome, ApprovalAnswered)]
    status = pb.ApprovalStatus.Name(accepted.status).removeprefix("APPROVAL_STATUS_").lower()
    assert len(refused) == len(attempts) - 1
    assert {(error.data["status"], error.data["by"]) for error in refused} == {(status, "ana")}
