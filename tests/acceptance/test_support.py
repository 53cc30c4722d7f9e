"""The three requests of `make run` through the edge: answered, refunded, escalated."""

import asyncio
from typing import Any

import pytest
import pytest_asyncio
from graphmesh.orchestrator.v1 import Run
from graphmesh.ticketing.v1 import GetTicketRequest, TicketingService
from graphmesh_cli.commands.row_sources import jsonl
from graphmesh_cli.commands.sample_shop import SAMPLE, load_sample_shop

from tests.acceptance.local_mesh import MeshClient, output

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUESTION, REFUND, THREAT, EMERGENCY = (
    row.content["input"] for row in jsonl(SAMPLE / "requests.jsonl") if row.content["graph"] == "support"
)
INVOICE = "INV-2038"


async def send(mesh: MeshClient, request: Any) -> Run:
    return await mesh.send_request(request["message"], request["customer_id"])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def runs(mesh: MeshClient) -> list[Run]:
    """The three requests, sent at the same time."""
    return list(await asyncio.gather(*(send(mesh, request) for request in (QUESTION, REFUND, THREAT))))


async def test_a_question_is_answered_from_the_articles(runs: list[Run]) -> None:
    """With the text of an article and its name, without a ticket."""
    outcome = output(runs[0])
    assert outcome["outcome"] == "answered"
    assert "Rinse the nib section under cool running water" in outcome["answer"]
    assert outcome["sources"] == ["cleaning-a-nib.md"]
    assert outcome["ticket_id"] is outcome["refund_id"] is None


async def test_damage_is_refunded_once(mesh: MeshClient, runs: list[Run]) -> None:
    """The ledger has exactly one refund, of the requested amount, and the books balance."""
    outcome = output(runs[1])
    assert outcome["outcome"] == "refunded"
    assert outcome["refund_id"]
    assert f"18.90 EUR of invoice {INVOICE}" in outcome["answer"]
    assert await mesh.refunds(INVOICE) == [18_90]
    assert await mesh.is_balanced()


async def test_a_threat_is_escalated(mesh: MeshClient, runs: list[Run]) -> None:
    """The ticket exists, belongs to the customer, and describes the message and the known facts."""
    outcome = output(runs[2])
    assert outcome["outcome"] == "escalated"
    found = await mesh.call(TicketingService.GetTicket, GetTicketRequest(ticket_id=outcome["ticket_id"]))
    assert found.ticket.customer_id == THREAT["customer_id"]
    assert "my lawyer will write to you" in found.ticket.description
    assert outcome["refund_id"] is None


async def test_the_same_requests_get_the_same_answers(mesh: MeshClient, runs: list[Run]) -> None:
    """For another tenant with the same data; only the ids that services generate differ."""
    twin = mesh.for_tenant("twin")
    await load_sample_shop(twin.channel, twin.tenant)
    for request, run in zip((QUESTION, REFUND, THREAT), runs, strict=True):
        first, second = output(run), output(await send(twin, request))
        assert first | {"ticket_id": "", "refund_id": ""} == second | {"ticket_id": "", "refund_id": ""}
        assert [bool(first[made]) for made in ("ticket_id", "refund_id")] == [
            bool(second[made]) for made in ("ticket_id", "refund_id")
        ]
