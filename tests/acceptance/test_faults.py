"""Processes of a running mesh die and hang: each failure is isolated, reported, and ends without intervention."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from google.protobuf.duration_pb2 import Duration
from graphmesh.billing.v1 import BillingService, GetTrialBalanceRequest
from graphmesh.crm.v1 import CrmService, GetCustomerRequest
from graphmesh.orchestrator.v1 import CreateRunRequest, RunService, WaitRunRequest
from graphmesh.ticketing.v1 import GetTicketRequest, TicketingService
from graphmesh_chassis.errors import CircuitOpen, DeadlineExceeded, DependencyError, Unreachable
from graphmesh_client import Client
from graphmesh_contracts import to_struct
from graphmesh_contracts.workloads import ENVOY
from graphmesh_local.server_programs import ORCHESTRATOR

from tests.acceptance.local_mesh import (
    MIRA,
    PRICE,
    LocalMesh,
    MeshClient,
    call_port,
    eventually,
    output,
    refund_request,
    retry_until_answered,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

FAIL_FAST_SECONDS = 4.5
"""Less than a call's own timeout, which is 5 seconds."""


async def get_balance(mesh: LocalMesh, timeout: float = 5) -> None:
    await mesh.call(BillingService.GetTrialBalance, GetTrialBalanceRequest(), timeout=timeout)


async def get_customer(mesh: LocalMesh) -> None:
    await mesh.call(CrmService.GetCustomer, GetCustomerRequest(customer_id=MIRA), timeout=60)


async def failure(call: Callable[[], Awaitable[None]]) -> tuple[DependencyError, float]:
    """Return the error of a call, and the seconds after which it failed."""
    began = time.monotonic()
    with pytest.raises(DependencyError) as failed:
        await call()
    return failed.value, time.monotonic() - began


@asynccontextmanager
async def crm_keeps_answering(mesh: LocalMesh) -> AsyncIterator[None]:
    """Call crm while the body runs; every call must succeed."""
    ended = asyncio.Event()

    async def keep_calling() -> int:
        calls = 0
        while not ended.is_set():
            await get_customer(mesh)
            calls += 1
        return calls

    calling = asyncio.create_task(keep_calling())
    yield
    ended.set()
    assert await calling > 0


async def test_calls_of_a_dead_service_fail_fast(killable_mesh: LocalMesh) -> None:
    """Calls fail at once as not sent, and soon with an open breaker; other services are not affected. After a restart
    calls succeed again without any reset."""
    async with crm_keeps_answering(killable_mesh):
        await killable_mesh.kill("billing")
        await failure(lambda: get_balance(killable_mesh))  # This call may still meet the death itself.
        failures = [await failure(lambda: get_balance(killable_mesh)) for _ in range(10)]
        assert all(isinstance(error, Unreachable | CircuitOpen) for error, _ in failures), failures
        assert all(seconds < FAIL_FAST_SECONDS for _, seconds in failures), failures
        await eventually(lambda: has_open_circuit(killable_mesh))
        await killable_mesh.running.restart("billing")
        await retry_until_answered(lambda: get_balance(killable_mesh))


async def has_open_circuit(mesh: LocalMesh) -> bool:
    error, _ = await failure(lambda: get_balance(mesh))
    return isinstance(error, CircuitOpen)


async def test_a_refund_without_billing_is_escalated(killable_mesh: LocalMesh) -> None:
    """The answer states that no refund was made, which is true, and the ticket describes the request."""
    await killable_mesh.create_paid_invoice("INV-DOWN")
    await killable_mesh.kill("billing")
    outcome = output(await killable_mesh.send_request(refund_request("INV-DOWN")))
    assert outcome["outcome"] == "escalated"
    assert "no refund has been made" in outcome["answer"]
    assert outcome["refund_id"] is None
    found = await killable_mesh.call(TicketingService.GetTicket, GetTicketRequest(ticket_id=outcome["ticket_id"]))
    assert "INV-DOWN" in found.ticket.description
    await killable_mesh.running.restart("billing")
    assert await retry_until_answered(lambda: killable_mesh.refunds("INV-DOWN")) == []


async def test_calls_of_a_hanging_service_end_at_their_deadline(killable_mesh: LocalMesh) -> None:
    """A service that keeps its connections and does not respond: DEADLINE_EXCEEDED in time, then an open breaker; other
    services are not affected. When the service continues, calls succeed again."""
    async with crm_keeps_answering(killable_mesh):
        with killable_mesh.paused("billing"):
            error, seconds = await failure(lambda: get_balance(killable_mesh, timeout=0.5))
            assert isinstance(error, DeadlineExceeded)
            assert seconds < 0.5 + FAIL_FAST_SECONDS
            await eventually(lambda: has_open_circuit(killable_mesh))
        await retry_until_answered(lambda: get_balance(killable_mesh))


async def test_clients_get_an_error_while_envoy_is_down(killable_mesh: LocalMesh) -> None:
    """With a reason and a message; after the restart of Envoy the same client works."""
    async with killable_mesh.client(retry_timeout=0) as client:
        await client.list_graphs()
        await killable_mesh.kill("envoy")
        error, seconds = await failure(lambda: list_graphs(client))
        assert error.reason in ("UNREACHABLE", "CONNECTION_LOST")
        assert "orchestrator.ListGraphs" in error.message
        assert seconds < FAIL_FAST_SECONDS
        await killable_mesh.running.restart("envoy")
        await retry_until_answered(lambda: list_graphs(client))


async def is_refunded(mesh: MeshClient, invoice_id: str) -> bool:
    return bool(output(await mesh.send_request(refund_request(invoice_id)))["outcome"] == "refunded")


async def list_graphs(client: Client) -> None:
    await client.list_graphs()


async def test_a_run_without_envoy_reports_no_refund(killable_mesh: LocalMesh) -> None:
    """No tool can be reached: the run reports neither refund nor ticket. After Envoy's restart, refunds are made."""
    await killable_mesh.create_paid_invoice("INV-ALONE")
    running, wanted = killable_mesh.running, {"customer_id": MIRA, "message": refund_request("INV-ALONE")}
    await killable_mesh.kill("envoy")
    request = CreateRunRequest(graph="support", input=to_struct(wanted))
    begun = (await call_port(running, ORCHESTRATOR, RunService.CreateRun, request, ENVOY)).run
    wait = WaitRunRequest(run_id=begun.run_id, max_wait=Duration(seconds=55))
    outcome = output((await call_port(running, ORCHESTRATOR, RunService.WaitRun, wait, ENVOY)).run)
    assert (outcome["outcome"], outcome["refund_id"], outcome["ticket_id"]) == ("escalated", None, None)
    assert "no confirmation that a person has received it" in outcome["answer"]
    await killable_mesh.running.restart("envoy")
    await killable_mesh.restore()
    assert await killable_mesh.refunds("INV-ALONE") == []
    await eventually(lambda: is_refunded(killable_mesh, "INV-ALONE"))
    assert await killable_mesh.refunds("INV-ALONE") == [PRICE]
