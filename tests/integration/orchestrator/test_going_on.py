"""A run without an input goes on with tasks that an earlier run may have begun (E1, E4)."""

import asyncio
from pathlib import Path

import grpc
from graphmesh.orchestrator import v1 as pb

from tests.integration.orchestrator.crashes import HANGS
from tests.integration.orchestrator.kit import Kit, billing_of, faulty, orchestrating


async def charged_and_cancelled(kit: Kit, invoice_id: str) -> pb.Run:
    """A run that was cancelled when it had charged, before it could say so."""
    HANGS.add(invoice_id)
    run = await kit.create("pay_hanging", {"invoice_id": invoice_id, "amount": 5})
    async with asyncio.timeout(60):
        while not await kit.charges(invoice_id):
            await asyncio.sleep(0.02)
    await kit.client.cancel_run(run.run_id, "not wanted any more")
    return await kit.stopped(run.run_id)


async def test_what_an_earlier_run_may_have_done_is_settled(tmp_path: Path) -> None:
    """The service is away for longer than a call is tried: that this run has not sent it does not say that nobody has.
    So it is asked for until it is answered, under the same key."""
    async with billing_of(tmp_path) as billing, faulty(billing) as (faults, address):
        async with orchestrating(tmp_path, billing) as kit:
            invoice_id = await kit.invoice()
            earlier = await charged_and_cancelled(kit, invoice_id)
        faults.refusals += [grpc.StatusCode.UNAVAILABLE] * 5
        async with orchestrating(tmp_path, billing, mesh=address) as kit:
            run = await kit.stopped((await kit.create("pay_hanging", thread_id=earlier.thread_id)).run_id)
            assert (run.status, await kit.charges(invoice_id)) == (pb.RunStatus.RUN_STATUS_SUCCESS, 1)
    assert (len(faults.keys), len(set(faults.keys))) == (6, 1)


async def test_what_an_earlier_run_has_done_is_done_once(tmp_path: Path) -> None:
    async with billing_of(tmp_path) as billing, orchestrating(tmp_path, billing) as kit:
        invoice_id = await kit.invoice()
        earlier = await charged_and_cancelled(kit, invoice_id)
        run = await kit.stopped((await kit.create("pay_hanging", thread_id=earlier.thread_id)).run_id)
        assert (run.status, await kit.charges(invoice_id)) == (pb.RunStatus.RUN_STATUS_SUCCESS, 1)
