"""Processes die and hang under a running mesh: each failure stays where it is, is told, and ends by itself (D2, D5)."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from graphmesh.billing.v1 import BillingService, GetTrialBalanceRequest
from graphmesh.crm.v1 import CrmService, GetCustomerRequest
from graphmesh.ticketing.v1 import GetTicketRequest, TicketingService
from graphmesh_chassis.errors import CircuitOpen, DeadlineExceeded, DependencyError, Unreachable
from graphmesh_client import Client
from graphmesh_local.running_mesh import ORCHESTRATOR

from tests.acceptance.shop import MIRA, PRICE, OwnShop, Shop, answered, cracked, eventually, output

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUICKLY = 2.5
"""Seconds; a call's own time is over after five."""


async def balance(shop: OwnShop, timeout: float = 5) -> None:
    await shop.tell(BillingService.GetTrialBalance, GetTrialBalanceRequest(), timeout=timeout)


async def customer(shop: OwnShop) -> None:
    await shop.tell(CrmService.GetCustomer, GetCustomerRequest(customer_id=MIRA), timeout=30)


async def failure(call: Callable[[], Awaitable[None]]) -> tuple[DependencyError, float]:
    """How a call failed, and after how many seconds."""
    began = time.monotonic()
    with pytest.raises(DependencyError) as failed:
        await call()
    return failed.value, time.monotonic() - began


@asynccontextmanager
async def answering_all_the_while(shop: OwnShop) -> AsyncIterator[None]:
    """crm answers every call that is made of it while the body runs."""
    ended = asyncio.Event()

    async def keep_asking() -> int:
        calls = 0
        while not ended.is_set():
            await customer(shop)
            calls += 1
        return calls

    asking = asyncio.create_task(keep_asking())
    yield
    ended.set()
    assert await asking > 0


async def test_a_dead_service_fails_fast_and_alone(fragile: OwnShop) -> None:
    """Callers are told at once that it was not reached, and soon that its breaker is open; nobody else notices. When it
    is back it is called again, and nothing else has to be touched."""
    async with answering_all_the_while(fragile):
        await fragile.kill("billing")
        await failure(lambda: balance(fragile))  # This one may still meet the death itself.
        failures = [await failure(lambda: balance(fragile)) for _ in range(10)]
        assert all(isinstance(error, Unreachable | CircuitOpen) for error, _ in failures), failures
        assert all(seconds < QUICKLY for _, seconds in failures), failures
        await eventually(lambda: open_circuit(fragile))
        await fragile.running.revive("billing")
        await answered(lambda: balance(fragile))


async def open_circuit(shop: OwnShop) -> bool:
    error, seconds = await failure(lambda: balance(shop))
    return isinstance(error, CircuitOpen) and seconds < QUICKLY


async def test_a_refund_without_billing_goes_to_a_person(fragile: OwnShop) -> None:
    """The answer says that no refund was made, which is true, and a ticket says what was asked for."""
    await fragile.sell("INV-DOWN")
    await fragile.kill("billing")
    said = output(await fragile.ask(cracked("INV-DOWN")))
    assert said["outcome"] == "escalated"
    assert "no refund has been made" in said["answer"]
    assert said["refund_id"] is None
    found = await fragile.tell(TicketingService.GetTicket, GetTicketRequest(ticket_id=said["ticket_id"]))
    assert "INV-DOWN" in found.ticket.description
    await fragile.running.revive("billing")
    assert await answered(lambda: fragile.refunds("INV-DOWN")) == []


async def test_a_stuck_service_costs_its_callers_no_more_than_their_deadline(fragile: OwnShop) -> None:
    """A service that holds its connections and does nothing: DEADLINE_EXCEEDED in time, then an open breaker; nobody
    else notices. When it goes on, so do its callers."""
    async with answering_all_the_while(fragile):
        with fragile.stuck("billing"):
            error, seconds = await failure(lambda: balance(fragile, timeout=0.5))
            assert isinstance(error, DeadlineExceeded)
            assert seconds < 0.5 + QUICKLY
            await eventually(lambda: open_circuit(fragile))
        await answered(lambda: balance(fragile))


async def test_without_envoy_clients_are_told(fragile: OwnShop) -> None:
    """A client at the edge gets a reason and a sentence; when Envoy is back, the same client goes on."""
    async with fragile.client(patience=0) as client:
        await client.list_graphs()
        await fragile.kill("envoy")
        error, seconds = await failure(lambda: listed(client))
        assert error.reason in ("UNREACHABLE", "CONNECTION_LOST")
        assert "orchestrator.ListGraphs" in error.message
        assert seconds < QUICKLY
        await fragile.running.revive("envoy")
        await answered(lambda: listed(client))


async def refunded(shop: Shop, invoice_id: str) -> bool:
    return bool(output(await shop.ask(cracked(invoice_id)))["outcome"] == "refunded")


async def listed(client: Client) -> None:
    await client.list_graphs()


async def test_without_envoy_a_run_ends_and_says_so(fragile: OwnShop) -> None:
    """No tool can be reached: the run claims neither refund nor ticket. With Envoy back, the refund is soon made."""
    await fragile.sell("INV-ALONE")
    [place] = fragile.running.mesh.services[ORCHESTRATOR].replica_listeners
    await fragile.kill("envoy")
    async with Client(place.target) as client:
        begun = await client.create_run("support", {"customer_id": MIRA, "message": cracked("INV-ALONE")})
        said = output(await client.wait_run(begun.run_id, timeout=60))
    assert (said["outcome"], said["refund_id"], said["ticket_id"]) == ("escalated", None, None)
    assert "no confirmation that a person has received it" in said["answer"]
    await fragile.running.revive("envoy")
    await fragile.repaired()
    assert await fragile.refunds("INV-ALONE") == []
    await eventually(lambda: refunded(fragile, "INV-ALONE"))
    assert await fragile.refunds("INV-ALONE") == [PRICE]
