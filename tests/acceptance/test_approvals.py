"""A refund that needs an approval, through the edge."""

import asyncio
from contextlib import aclosing

import pytest
from graphmesh.orchestrator.v1 import Approval, Run, RunStatus
from graphmesh_client import Client
from graphmesh_local.server_programs import ORCHESTRATOR
from graphmesh_orchestrator.errors import ApprovalAnswered

from tests.acceptance.local_mesh import MIRA, LocalMesh, accept_refund, output, refund_request, retry_until_answered

pytestmark = pytest.mark.asyncio(loop_scope="session")

HIGH_PRICE = 45_00
"""A price whose refund needs an approval."""
TIMEOUT = 60


async def parked(mesh: LocalMesh, client: Client, invoice_id: str) -> Run:
    """Begin a run that requests a refund, accept it for the customer, and let it park for its approval."""
    await mesh.create_paid_invoice(invoice_id, HIGH_PRICE)
    request = {"customer_id": MIRA, "message": refund_request(invoice_id, HIGH_PRICE)}
    begun = await client.create_run("support", request)
    await accept_refund(client, begun.run_id, TIMEOUT)
    run = await client.wait_run(begun.run_id, timeout=TIMEOUT)
    assert run.status == RunStatus.RUN_STATUS_INTERRUPTED, run
    return run


def approval_of(run: Run) -> str:
    [interrupt] = run.interrupts
    return interrupt.approval_id


async def test_an_approval_over_json(killable_mesh: LocalMesh) -> None:
    """It is listed with its terms and approved once, and the refund is made; a second answer is refused."""
    async with killable_mesh.client(TIMEOUT) as client:
        run = await parked(killable_mesh, client, "INV-CONSENT")
        listing = await killable_mesh.fetch("GET", f"/v1/approvals?status=APPROVAL_STATUS_PENDING&runId={run.run_id}")
        [pending] = listing.json["approvals"]
        assert (pending["tool"], pending["question"]) == (
            "billing.Refund",
            "Refund 45.00 EUR of invoice INV-CONSENT? The customer reports the item as damaged.",
        )
        assert pending["arguments"]["amount"] == {"currency_code": "EUR", "amount_minor": "4500"}
        assert await killable_mesh.refunds("INV-CONSENT") == []
        path = f"/v1/approvals/{pending['approvalId']}"
        approved = await killable_mesh.fetch("POST", f"{path}:respond", {"decision": "DECISION_APPROVE"})
        assert (approved.status, approved.json["approval"]["status"]) == (200, "APPROVAL_STATUS_APPROVED")
        ended = await client.wait_run(run.run_id, timeout=TIMEOUT)
        assert output(ended)["outcome"] == "refunded"
        assert await killable_mesh.refunds("INV-CONSENT") == [HIGH_PRICE]
        late = await killable_mesh.fetch("POST", f"{path}:respond", {"decision": "DECISION_DENY"})
        assert (late.status, late.json["details"][0]["reason"]) == (409, "APPROVAL_ANSWERED")
        assert (await killable_mesh.fetch("GET", path)).json["approval"] == approved.json["approval"]


async def test_a_denied_approval(killable_mesh: LocalMesh) -> None:
    """The customer is informed, the request is escalated, and no refund is made."""
    async with killable_mesh.client(TIMEOUT) as client:
        run = await parked(killable_mesh, client, "INV-DENIED")
        await client.approvals.respond(approval_of(run), approve=False, comment="the bottle was whole")
        outcome = output(await client.wait_run(run.run_id, timeout=TIMEOUT))
    assert (outcome["outcome"], bool(outcome["ticket_id"])) == ("escalated", True)
    assert "nothing has been refunded" in outcome["answer"]
    assert await killable_mesh.refunds("INV-DENIED") == []


async def test_a_thousand_concurrent_answers(killable_mesh: LocalMesh) -> None:
    """One is accepted; all others get APPROVAL_ANSWERED."""
    async with killable_mesh.client(TIMEOUT) as client:
        run = await parked(killable_mesh, client, "INV-CROWD")
        answers = [client.approvals.respond(approval_of(run), approve=number % 2 == 0) for number in range(1000)]
        outcomes = await asyncio.gather(*answers, return_exceptions=True)
        assert sum(isinstance(outcome, Approval) for outcome in outcomes) == 1
        assert sum(isinstance(outcome, ApprovalAnswered) for outcome in outcomes) == 999


async def test_orchestrator_dies_between_the_approval_and_the_refund(killable_mesh: LocalMesh) -> None:
    """The restarted orchestrator makes the refund once, without another approval."""
    async with killable_mesh.client(TIMEOUT) as client:
        run = await parked(killable_mesh, client, "INV-KILLED")
        with killable_mesh.writes_blocked("billing"):
            await client.approvals.respond(approval_of(run), approve=True)
            await wait_for_refund_node(client, run)
            await killable_mesh.kill(ORCHESTRATOR)
        await killable_mesh.running.restart(ORCHESTRATOR)
        ended = await client.wait_run(run.run_id, timeout=TIMEOUT)
    assert output(ended)["outcome"] == "refunded"
    assert await retry_until_answered(lambda: killable_mesh.refunds("INV-KILLED")) == [HIGH_PRICE]
    assert await killable_mesh.is_balanced()


async def test_orchestrator_dies_while_the_run_is_parked(killable_mesh: LocalMesh) -> None:
    """The restarted orchestrator accepts the answer and resumes the run."""
    async with killable_mesh.client(TIMEOUT) as client:
        run = await parked(killable_mesh, client, "INV-ASLEEP")
        await killable_mesh.kill(ORCHESTRATOR)
        await killable_mesh.running.restart(ORCHESTRATOR)
        await retry_until_answered(lambda: client.approvals.respond(approval_of(run), approve=True))
        assert output(await client.wait_run(run.run_id, timeout=TIMEOUT))["outcome"] == "refunded"
    assert await killable_mesh.refunds("INV-ASLEEP") == [HIGH_PRICE]


async def wait_for_refund_node(client: Client, parked: Run) -> None:
    """Follow a resumed run until its node begins again."""
    async with asyncio.timeout(TIMEOUT), aclosing(client.stream_run(parked.run_id, parked.last_seq)) as events:
        async for event in events:
            if event.node == "refund":
                return
    raise AssertionError(f"{parked.run_id} ended without a refund")
