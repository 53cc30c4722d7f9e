"""A service keeps the cap of mesh.yaml itself, with a bounded queue and refusals that say when to come back (D3)."""

import asyncio
from pathlib import Path

import grpc
from graphmesh.billing.v1 import BillingService, CreateInvoiceRequest, InvoiceLine, ListInvoicesRequest
from graphmesh_chassis.errors import ConcurrencyLimit, GraphmeshError

from tests.acceptance.shop import MIRA, Shop, eur, mesh_of, open_shop, until

CALLERS, INSIDE, QUEUE = 50, 2, 5


async def sell(shop: Shop, number: int) -> GraphmeshError | None:
    """How the sale was refused; None where it was made."""
    lines = [InvoiceLine(description="Ink", quantity=1, unit_price=eur(number + 1))]
    request = CreateInvoiceRequest(invoice_id=f"INV-{number}", customer_id=MIRA, lines=lines)
    try:
        await shop.tell(BillingService.CreateInvoice, request)
    except GraphmeshError as error:
        return error
    return None


async def test_more_callers_than_the_cap_admits(tmp_path: Path) -> None:
    """While calls take long, those over cap and queue are refused at once by the service; all others succeed."""
    small = mesh_of(
        tmp_path, "billing", edge="billing", billing={"policy": {"maxConcurrency": INSIDE, "maxQueue": QUEUE}}
    )
    async with open_shop(tmp_path, small) as shop:
        with shop.writes_held("billing"):
            callers = [asyncio.create_task(sell(shop, number)) for number in range(CALLERS)]
            await until(lambda: sum(caller.done() for caller in callers) == CALLERS - INSIDE - QUEUE, within=4)
            refusals = [caller.result() for caller in callers if caller.done()]
        ended = await asyncio.gather(*callers)
        stored = await shop.tell(BillingService.ListInvoices, ListInvoicesRequest(customer_id=MIRA, page_size=500))
    assert all(map(is_the_services_own, refusals))
    assert ended.count(None) == len(stored.invoices) == INSIDE + QUEUE


def is_the_services_own(refusal: GraphmeshError | None) -> bool:
    """RESOURCE_EXHAUSTED with RetryInfo and the numbers of mesh.yaml: Envoy's overflow knows neither."""
    return (
        isinstance(refusal, ConcurrencyLimit)
        and refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        and (refusal.retry_after or 0) > 0
        and refusal.data == {"max_concurrency": str(INSIDE), "max_queue": str(QUEUE)}
    )
