"""A run without input continues the tasks of its thread's state, some of which an earlier run may have begun."""

import asyncio
from pathlib import Path

import grpc
from graphmesh.orchestrator import v1 as pb

from tests.integration.orchestrator.mesh import Mesh, billing_proxy, serve_billing, serve_orchestrator
from tests.integration.orchestrator.node_faults import HANG_AFTER_CHARGE


async def cancel_after_charge(mesh: Mesh, invoice_id: str) -> pb.Run:
    """Create a run, and cancel it when its node has charged and not returned yet."""
    HANG_AFTER_CHARGE.add(invoice_id)
    run = await mesh.create("pay_hanging", {"invoice_id": invoice_id, "amount": 5})
    async with asyncio.timeout(60):
        while not await mesh.count_charges(invoice_id):
            await asyncio.sleep(0.02)
    await mesh.client.cancel_run(run.run_id, "not needed any more")
    return await mesh.wait(run)


async def test_retries_an_effect_of_an_earlier_run_until_its_outcome_is_known(tmp_path: Path) -> None:
    """The service is unavailable for more attempts than the policy allows. That this run has not sent the effect does
    not prove that no run has. So it is retried under the same key until the service answers."""
    async with serve_billing(tmp_path) as billing, billing_proxy(billing) as proxy:
        async with serve_orchestrator(tmp_path, billing) as mesh:
            invoice_id = await mesh.create_invoice()
            earlier = await cancel_after_charge(mesh, invoice_id)
        proxy.refusals += [grpc.StatusCode.UNAVAILABLE] * 5
        async with serve_orchestrator(tmp_path, billing, billing_address=proxy.address) as mesh:
            run = await mesh.wait(await mesh.create("pay_hanging", thread_id=earlier.thread_id))
            assert (run.status, await mesh.count_charges(invoice_id)) == (pb.RunStatus.RUN_STATUS_SUCCESS, 1)
    assert (len(proxy.keys), len(set(proxy.keys))) == (6, 1)


async def test_does_not_repeat_an_effect_of_an_earlier_run(tmp_path: Path) -> None:
    async with serve_billing(tmp_path) as billing, serve_orchestrator(tmp_path, billing) as mesh:
        invoice_id = await mesh.create_invoice()
        earlier = await cancel_after_charge(mesh, invoice_id)
        run = await mesh.wait(await mesh.create("pay_hanging", thread_id=earlier.thread_id))
        assert (run.status, await mesh.count_charges(invoice_id)) == (pb.RunStatus.RUN_STATUS_SUCCESS, 1)
