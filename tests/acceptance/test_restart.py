"""`graphmesh up` is stopped and started again while runs are under way: nothing is lost, nothing is repeated (C4)."""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from graphmesh_chassis.channel import Channel
from graphmesh_local.probes import NOT_YET, grpc_health
from graphmesh_local.running_mesh import ORCHESTRATOR
from graphmesh_local.state_folder import MeshState, StateFolder

from tests.acceptance.shop import MIRA, PRICE, Shop, cracked, eventually, held, mesh_of, output, reaches
from tests.integration.processes.test_up import children, up

INVOICES = [f"INV-{number}" for number in range(6)]
STOPS_WITHIN = 15
"""Seconds: the orchestrator lets the steps that its runs are in end, and no further one begin."""


@asynccontextmanager
async def at(state: Path) -> AsyncIterator[Shop]:
    """The shop on the mesh that is up."""
    known = StateFolder(state).read()
    async with Channel(known.mesh) as mesh:
        yield Shop(edge=known.edge, mesh=mesh)


async def test_runs_go_on_after_a_restart(tmp_path: Path) -> None:
    """SIGTERM while refunds are under way: all processes end, well and in time, the orchestrator before what it calls.
    The next mesh ends the runs, and each refund is in the ledger once."""
    state = tmp_path / "state"
    needed = mesh_of(tmp_path, "orchestrator", "billing", "crm", "model", "retrieval", "ticketing")
    async with up(needed, state) as process, at(state) as shop:
        known = StateFolder(state).read()
        processes = children(known)
        await shop.open()
        await asyncio.gather(*map(shop.sell, INVOICES))
        with held(state / "databases" / "billing.db"):
            runs = await refunding(shop)
            process.send_signal(signal.SIGTERM)
            await eventually(partial(is_draining, known))
        async with asyncio.timeout(STOPS_WITHIN):
            assert await process.wait() == 0
        assert not any(one.is_running() for one in processes)
    async with up(needed, state), at(state) as shop, shop.client() as client:
        for run_id, invoice in zip(runs, INVOICES, strict=True):
            ended = await client.wait_run(run_id, timeout=60)
            assert output(ended)["outcome"] == "refunded"
            assert await shop.refunds(invoice) == [PRICE]
        assert await shop.balanced()


async def is_draining(mesh: MeshState) -> bool:
    """Whether the orchestrator takes no more runs."""
    [address] = mesh.services[ORCHESTRATOR]
    try:
        return not await grpc_health(address)()
    except NOT_YET:
        return True


async def refunding(shop: Shop) -> Sequence[str]:
    """Runs that are all in the middle of a refund."""
    async with shop.client() as client:
        begun = [
            await client.create_run("support", {"customer_id": MIRA, "message": cracked(invoice)})
            for invoice in INVOICES
        ]
        await asyncio.gather(*(reaches(client, run.run_id, "refund") for run in begun))
    return [run.run_id for run in begun]
