"""A service enforces the cap of mesh.yaml itself, with a bounded queue and refusals with RetryInfo."""

import asyncio
from pathlib import Path

import grpc
import pytest
from graphmesh.billing.v1 import BillingService, CreateInvoiceRequest, InvoiceLine, ListInvoicesRequest
from graphmesh_chassis.errors import ConcurrencyLimit, GraphmeshError
from graphmesh_local.spawning import Spawner

from tests.acceptance.local_mesh import MIRA, MeshClient, eur, start_mesh, wait_until
from tests.acceptance.mesh_file import mesh_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

CALLERS, CONCURRENCY, QUEUE = 20, 2, 5


async def create_invoice(mesh: MeshClient, number: int) -> GraphmeshError | None:
    """Return the error of the call; None where it succeeds."""
    lines = [InvoiceLine(description="Ink", quantity=1, unit_price=eur(number + 1))]
    request = CreateInvoiceRequest(invoice_id=f"INV-{number}", customer_id=MIRA, lines=lines)
    try:
        await mesh.call(BillingService.CreateInvoice, request)
    except GraphmeshError as error:
        return error
    return None


async def test_calls_above_the_cap_are_refused_by_the_service(tmp_path: Path, spawn: Spawner) -> None:
    """While calls take long, those above cap and queue are refused at once; all others succeed."""
    mesh_file = mesh_of(
        tmp_path, "billing", edge="billing", billing={"policy": {"maxConcurrency": CONCURRENCY, "maxQueue": QUEUE}}
    )
    async with start_mesh(tmp_path, spawn, mesh_file) as mesh:
        with mesh.writes_blocked("billing"):
            callers = [asyncio.create_task(create_invoice(mesh, number)) for number in range(CALLERS)]
            await wait_until(
                lambda: sum(caller.done() for caller in callers) == CALLERS - CONCURRENCY - QUEUE, timeout=4
            )
            refusals = [caller.result() for caller in callers if caller.done()]
        ended = await asyncio.gather(*callers)
        stored = await mesh.call(BillingService.ListInvoices, ListInvoicesRequest(customer_id=MIRA, page_size=500))
    assert all(map(is_refusal_of_the_service, refusals))
    assert ended.count(None) == len(stored.invoices) == CONCURRENCY + QUEUE


def is_refusal_of_the_service(refusal: GraphmeshError | None) -> bool:
    """RESOURCE_EXHAUSTED with RetryInfo and the limits of mesh.yaml: Envoy's overflow has neither."""
    return (
        isinstance(refusal, ConcurrencyLimit)
        and refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        and (refusal.retry_after or 0) > 0
        and refusal.data == {"max_concurrency": str(CONCURRENCY), "max_queue": str(QUEUE)}
    )
