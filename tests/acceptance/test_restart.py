"""`graphmesh up` is stopped and started again while runs are active: no run is lost, no effect is repeated."""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from graphmesh_chassis.workload import Workload
from graphmesh_cli.commands.connection import mesh_target
from graphmesh_contracts.workloads import PROBER
from graphmesh_local.probes import NOT_READY_ERRORS, grpc_health_probe
from graphmesh_local.server_programs import ORCHESTRATOR
from graphmesh_local.state_folder import MeshState, StateFolder
from graphmesh_mesh.mutual_tls import MutualTls

from tests.acceptance.local_mesh import (
    MIRA,
    PRICE,
    MeshClient,
    accept_refund,
    eventually,
    output,
    refund_request,
    wait_for_node,
    write_locked,
)
from tests.acceptance.mesh_file import mesh_of
from tests.integration.processes.mesh_process import graphmesh_up, processes_of

INVOICES = [f"INV-{number}" for number in range(6)]
STOP_SECONDS = 60
"""The orchestrator ends the current superstep of each run and begins no other."""


@asynccontextmanager
async def client_of(state: Path) -> AsyncIterator[MeshClient]:
    """Connect to the mesh that runs from a state folder."""
    folder = StateFolder(state)
    async with mesh_target("", state).channel() as channel:
        yield MeshClient(edge=folder.read().edge, channel=channel, state=folder)


async def test_runs_resume_after_a_restart_of_the_mesh(tmp_path: Path) -> None:
    """SIGTERM during refunds: all processes end with 0 and in time, the orchestrator before the services that it calls.
    The next mesh ends the runs, and each refund is in the ledger once."""
    state = tmp_path / "state"
    needed = mesh_of(tmp_path, "orchestrator", "billing", "crm", "model", "retrieval", "ticketing")
    async with graphmesh_up(needed, state) as process, client_of(state) as mesh:
        known = StateFolder(state).read()
        processes = processes_of(known)
        await mesh.create_customer()
        await asyncio.gather(*map(mesh.create_paid_invoice, INVOICES))
        with write_locked(state / "databases" / "billing.db"):
            runs = await begin_refunds(mesh)
            process.send_signal(signal.SIGTERM)
            await eventually(partial(is_draining, known))
        async with asyncio.timeout(STOP_SECONDS):
            assert await process.wait() == 0
        assert not any(one.is_running() for one in processes)
    async with graphmesh_up(needed, state), client_of(state) as mesh, mesh.client() as client:
        for run_id, invoice in zip(runs, INVOICES, strict=True):
            ended = await client.wait_run(run_id, timeout=60)
            assert output(ended)["outcome"] == "refunded"
            assert await mesh.refunds(invoice) == [PRICE]
        assert await mesh.is_balanced()


async def is_draining(mesh: MeshState) -> bool:
    """Whether the orchestrator accepts no more runs."""
    [address] = mesh.services[ORCHESTRATOR]
    tls = MutualTls(certificates=mesh.certificates)
    prober = Workload(tls.certificate(PROBER), tls.authorities)
    try:
        return not await grpc_health_probe(address, secured=(prober, ORCHESTRATOR))()
    except NOT_READY_ERRORS:
        return True


async def begin_refunds(mesh: MeshClient) -> Sequence[str]:
    """Begin a run for each invoice, and wait until each has begun its refund."""
    async with mesh.client() as client:
        begun = [
            await client.create_run("support", {"customer_id": MIRA, "message": refund_request(invoice)})
            for invoice in INVOICES
        ]
        await asyncio.gather(*(accept_refund(client, run.run_id) for run in begun))
        await asyncio.gather(*(wait_for_node(client, run.run_id, "refund") for run in begun))
    return [run.run_id for run in begun]
