"""A refund that a person has to agree to, through the edge (B8; design invariant 8)."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

import pytest
from graphmesh.orchestrator.v1 import Approval, Run, RunStatus
from graphmesh_client import Client
from graphmesh_local.running_mesh import ORCHESTRATOR
from graphmesh_orchestrator.errors import ApprovalAnswered

from tests.acceptance.shop import MIRA, OwnShop, answered, cracked, output
from tests.integration.envoy.test_edge import Reply, fetch

pytestmark = pytest.mark.asyncio(loop_scope="session")

DEAR = 45_00
"""A price whose refund needs consent."""
PATIENCE = 60


async def parked(shop: OwnShop, client: Client, invoice_id: str) -> Run:
    """A request for a refund of a dear ink, which waits for a person."""
    await shop.sell(invoice_id, DEAR)
    asked = {"customer_id": MIRA, "message": cracked(invoice_id, DEAR)}
    run = await client.wait_run((await client.create_run("support", asked)).run_id, timeout=PATIENCE)
    assert run.status == RunStatus.RUN_STATUS_INTERRUPTED, run
    return run


def approval_of(run: Run) -> str:
    [asked] = run.interrupts
    return asked.approval_id


async def over_json(shop: OwnShop, method: str, path: str, body: Mapping[str, Any] | None = None) -> Reply:
    headers = {"content-type": "application/json"} if body is not None else {}
    return await fetch(shop.running.mesh.edge, method, path, json.dumps(body).encode() if body else b"", headers)


async def test_agreed_to_over_json(fragile: OwnShop) -> None:
    """It is listed with what it is about, agreed to once, and the refund is made; a second answer is told (A5)."""
    async with fragile.client(PATIENCE) as client:
        run = await parked(fragile, client, "INV-CONSENT")
        listing = await over_json(fragile, "GET", f"/v1/approvals?status=APPROVAL_STATUS_PENDING&runId={run.run_id}")
        [asked] = listing.json["approvals"]
        assert (asked["tool"], asked["question"]) == (
            "billing.Refund",
            "Refund 45.00 EUR of invoice INV-CONSENT? The customer reports the item as damaged.",
        )
        assert asked["arguments"]["amount"] == {"currency_code": "EUR", "amount_minor": "4500"}
        assert await fragile.refunds("INV-CONSENT") == []
        path = f"/v1/approvals/{asked['approvalId']}"
        agreed = await over_json(fragile, "POST", f"{path}:respond", {"decision": "DECISION_APPROVE"})
        assert (agreed.status, agreed.json["approval"]["status"]) == (200, "APPROVAL_STATUS_APPROVED")
        ended = await client.wait_run(run.run_id, timeout=PATIENCE)
        assert output(ended)["outcome"] == "refunded"
        assert await fragile.refunds("INV-CONSENT") == [DEAR]
        late = await over_json(fragile, "POST", f"{path}:respond", {"decision": "DECISION_DENY"})
        assert (late.status, late.json["details"][0]["reason"]) == (409, "APPROVAL_ANSWERED")
        assert (await over_json(fragile, "GET", path)).json["approval"] == agreed.json["approval"]


async def test_not_agreed_to(fragile: OwnShop) -> None:
    """The customer is told, a person takes over, and no money moves."""
    async with fragile.client(PATIENCE) as client:
        run = await parked(fragile, client, "INV-DENIED")
        await client.approvals.respond(approval_of(run), approve=False, comment="the bottle was whole")
        said = output(await client.wait_run(run.run_id, timeout=PATIENCE))
    assert (said["outcome"], bool(said["ticket_id"])) == ("escalated", True)
    assert "nothing has been refunded" in said["answer"]
    assert await fragile.refunds("INV-DENIED") == []


async def test_a_thousand_answers_at_once(fragile: OwnShop) -> None:
    """One is used; all others are told that it is answered."""
    async with fragile.client(PATIENCE) as client:
        run = await parked(fragile, client, "INV-CROWD")
        tries = [client.approvals.respond(approval_of(run), approve=number % 2 == 0) for number in range(1000)]
        outcomes = await asyncio.gather(*tries, return_exceptions=True)
        assert sum(isinstance(outcome, Approval) for outcome in outcomes) == 1
        assert sum(isinstance(outcome, ApprovalAnswered) for outcome in outcomes) == 999


async def test_killed_between_the_answer_and_the_refund(fragile: OwnShop) -> None:
    """Somebody has agreed, the refund is under way, the orchestrator dies: the next makes it, once, and asks nobody."""
    async with fragile.client(PATIENCE) as client:
        run = await parked(fragile, client, "INV-KILLED")
        with fragile.writes_held("billing"):
            await client.approvals.respond(approval_of(run), approve=True)
            await refunding(client, run)
            await fragile.kill(ORCHESTRATOR)
        await fragile.running.revive(ORCHESTRATOR)
        ended = await client.wait_run(run.run_id, timeout=PATIENCE)
    assert output(ended)["outcome"] == "refunded"
    assert await answered(lambda: fragile.refunds("INV-KILLED")) == [DEAR]
    assert await fragile.balanced()


async def test_killed_while_nobody_has_answered(fragile: OwnShop) -> None:
    """The orchestrator that parked the run is gone; the next takes the answer."""
    async with fragile.client(PATIENCE) as client:
        run = await parked(fragile, client, "INV-ASLEEP")
        await fragile.kill(ORCHESTRATOR)
        await fragile.running.revive(ORCHESTRATOR)
        await answered(lambda: client.approvals.respond(approval_of(run), approve=True))
        assert output(await client.wait_run(run.run_id, timeout=PATIENCE))["outcome"] == "refunded"
    assert await fragile.refunds("INV-ASLEEP") == [DEAR]


async def refunding(client: Client, parked: Run) -> None:
    """Watch a run that was parked until its node begins again."""
    async with asyncio.timeout(PATIENCE), aclosing(client.stream_run(parked.run_id, parked.last_seq)) as events:
        async for event in events:
            if event.node == "refund":
                return
    raise AssertionError(f"{parked.run_id} ended without a refund")
