"""The three requests of `make run` through the edge: answered, refunded, handed to a person (G1)."""

import asyncio
from typing import Any

import pytest
import pytest_asyncio
from graphmesh.orchestrator.v1 import Run
from graphmesh.ticketing.v1 import GetTicketRequest, TicketingService
from graphmesh_cli.commands.row_sources import jsonl
from graphmesh_cli.commands.sample_shop import SAMPLE, fill

from tests.acceptance.shop import Shop, output

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUESTION, REFUND, THREAT = (row.content for row in jsonl(SAMPLE / "requests.jsonl"))
INVOICE = "INV-2038"


async def ask(shop: Shop, request: Any) -> Run:
    return await shop.ask(request["message"], request["customer_id"])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def runs(shop: Shop) -> list[Run]:
    """The three requests, sent at the same time."""
    return list(await asyncio.gather(*(ask(shop, request) for request in (QUESTION, REFUND, THREAT))))


async def test_a_question_is_answered_from_knowledge(runs: list[Run]) -> None:
    """In the words of an article, which is named, and without a ticket."""
    said = output(runs[0])
    assert said["outcome"] == "answered"
    assert "Rinse the nib section under cool running water" in said["answer"]
    assert said["sources"] == ["cleaning-a-nib.md"]
    assert said["ticket_id"] is said["refund_id"] is None


async def test_damage_is_refunded_once(shop: Shop, runs: list[Run]) -> None:
    """The ledger has exactly one refund, of the price that was asked for, and its books balance."""
    said = output(runs[1])
    assert said["outcome"] == "refunded"
    assert said["refund_id"]
    assert f"18.90 EUR of invoice {INVOICE}" in said["answer"]
    assert await shop.refunds(INVOICE) == [18_90]
    assert await shop.balanced()


async def test_a_threat_is_handed_to_a_person(shop: Shop, runs: list[Run]) -> None:
    """The ticket exists, is the customer's, and tells a person what was written and what is known."""
    said = output(runs[2])
    assert said["outcome"] == "escalated"
    found = await shop.tell(TicketingService.GetTicket, GetTicketRequest(ticket_id=said["ticket_id"]))
    assert found.ticket.customer_id == THREAT["customer_id"]
    assert "my lawyer will write to you" in found.ticket.description
    assert said["refund_id"] is None


async def test_same_input_same_output(shop: Shop, runs: list[Run]) -> None:
    """Another shop with the same data says the same to the same requests; only the ids that services make differ."""
    twin = shop.of("twin")
    await fill(twin.mesh, twin.tenant)
    for request, run in zip((QUESTION, REFUND, THREAT), runs, strict=True):
        first, second = output(run), output(await ask(twin, request))
        assert first | {"ticket_id": "", "refund_id": ""} == second | {"ticket_id": "", "refund_id": ""}
        assert [bool(first[made]) for made in ("ticket_id", "refund_id")] == [
            bool(second[made]) for made in ("ticket_id", "refund_id")
        ]
