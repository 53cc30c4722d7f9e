"""Calls inside of the mesh: services act on what the orchestrator has signed, and on nothing that a caller states."""

import grpc
import pytest
from graphmesh.billing.v1 import BillingService, ChargeRequest, GetInvoiceRequest
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import Unauthenticated
from graphmesh_contracts.workloads import ENVOY
from graphmesh_local.call_keys import replace_call_key

from tests.acceptance.local_mesh import PRICE, LocalMesh, call_port, eur, output, refund_request

pytestmark = pytest.mark.asyncio(loop_scope="session")

STATED = [
    ("x-graphmesh-tenant", "default"),
    ("x-graphmesh-subject", "eve"),
    ("x-graphmesh-scopes", "billing.read billing.write"),
    ("idempotency-key", "k1"),
]


async def test_headers_alone_open_no_service(killable_mesh: LocalMesh) -> None:
    """Neither at the mesh listener nor at the port of the service; nothing is charged."""
    await killable_mesh.create_paid_invoice("INV-STATED")
    charge = ChargeRequest(invoice_id="INV-STATED", amount=eur(1))
    mesh_listener = killable_mesh.running.mesh.mesh.target
    async with Channel(mesh_listener, workload=killable_mesh.running.workload()) as channel:
        with pytest.raises(Unauthenticated, match="it is missing"):
            await channel.unary(BillingService.Charge, charge, deadline=Deadline.after(60), headers=STATED)
    with pytest.raises(grpc.aio.AioRpcError, match="it is missing") as refused:
        await call_port(killable_mesh.running, "billing", BillingService.Charge, charge, ENVOY, STATED)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    read = GetInvoiceRequest(invoice_id="INV-STATED")
    assert len((await killable_mesh.call(BillingService.GetInvoice, read)).invoice.charge_ids) == 1


async def test_runs_continue_over_a_replaced_key(killable_mesh: LocalMesh) -> None:
    """A refund before, and one after: the services know the new key, and the orchestrator signs with it."""
    for number in range(2):
        invoice_id = f"INV-KEY-{number}"
        await killable_mesh.create_paid_invoice(invoice_id)
        outcome = output(await killable_mesh.send_request(refund_request(invoice_id)))
        assert outcome["outcome"] == "refunded"
        assert await killable_mesh.refunds(invoice_id) == [PRICE]
        replace_call_key(killable_mesh.running.folder.path)
