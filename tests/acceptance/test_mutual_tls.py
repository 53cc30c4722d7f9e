"""Mutual TLS of a mesh of real processes: no port opens to another workload, and certificates change under load."""

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from graphmesh.billing.v1 import BillingService, GetInvoiceRequest
from graphmesh.orchestrator.v1 import ListGraphsRequest, RunService
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import Unreachable, WorkloadNotAllowed
from graphmesh_contracts import Rpc
from graphmesh_contracts.workloads import COMMANDS, ENVOY, PROBER
from graphmesh_local.certificates import issue_certificates, workloads

from tests.acceptance.local_mesh import PRICE, LocalMesh, call_port, output, refund_request

pytestmark = pytest.mark.asyncio(loop_scope="session")

READ = GetInvoiceRequest(invoice_id="INV-NONE")
CALLS: Mapping[str, tuple[Rpc[Any, Any], Message]] = {
    "billing": (BillingService.GetInvoice, READ),
    "orchestrator": (RunService.ListGraphs, ListGraphsRequest()),
}


async def refusal(call: Awaitable[Any]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value


@pytest.mark.parametrize("service", CALLS)
async def test_the_port_of_a_service_opens_to_envoy_only(killable_mesh: LocalMesh, service: str) -> None:
    rpc, request = CALLS[service]
    running = killable_mesh.running
    for name in ("crm", "orchestrator", "billing", COMMANDS, PROBER):
        refused = await refusal(call_port(running, service, rpc, request, name))
        assert refused.code() is grpc.StatusCode.PERMISSION_DENIED
        assert refused.details() == f"The workload spiffe://graphmesh.local/{name} may not call this method"
    refused = await refusal(call_port(running, service, rpc, request, ""))
    assert refused.code() is grpc.StatusCode.UNAVAILABLE


async def test_envoy_may_call_the_orchestrator_at_its_port(killable_mesh: LocalMesh) -> None:
    rpc, request = CALLS["orchestrator"]
    assert (await call_port(killable_mesh.running, "orchestrator", rpc, request, ENVOY)).graphs


async def test_the_mesh_listener_opens_to_workloads_that_call_services(killable_mesh: LocalMesh) -> None:
    listener = killable_mesh.running.mesh.mesh.target
    for name in ("crm", "billing", ENVOY, PROBER):
        async with Channel(listener, workload=killable_mesh.running.workload(name)) as channel:
            with pytest.raises(WorkloadNotAllowed):
                await channel.unary(BillingService.GetInvoice, READ, deadline=Deadline.after(60))
    async with Channel(listener) as plain:
        with pytest.raises(Unreachable):
            await plain.unary(BillingService.GetInvoice, READ, deadline=Deadline.after(60))


async def test_calls_and_runs_continue_over_replaced_certificates(killable_mesh: LocalMesh) -> None:
    """A refund before, and one after, by the orchestrator; other calls succeed all the time."""
    await killable_mesh.create_paid_invoice("INV-CERTIFICATES")
    finished = asyncio.Event()

    async def keep_reading() -> int:
        calls = 0
        while not finished.is_set():
            read = GetInvoiceRequest(invoice_id="INV-CERTIFICATES")
            await killable_mesh.call(BillingService.GetInvoice, read, timeout=60)
            calls += 1
        return calls

    tls = killable_mesh.running.mesh.mesh.tls
    assert tls
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(keep_reading())
        for number in range(2):
            invoice_id = f"INV-CERTIFICATE-{number}"
            await killable_mesh.create_paid_invoice(invoice_id)
            assert output(await killable_mesh.send_request(refund_request(invoice_id)))["outcome"] == "refunded"
            assert await killable_mesh.refunds(invoice_id) == [PRICE]
            issue_certificates(tls.folder, tls.trust_domain, workloads(killable_mesh.running.mesh))
        finished.set()
    assert reading.result() > 0


async def test_a_restarted_process_serves_with_its_new_certificate(killable_mesh: LocalMesh) -> None:
    tls = killable_mesh.running.mesh.mesh.tls
    assert tls
    issue_certificates(tls.folder, tls.trust_domain, workloads(killable_mesh.running.mesh))
    await killable_mesh.kill("billing")
    await killable_mesh.restore()
    await killable_mesh.create_paid_invoice("INV-RESTARTED")
