"""Orchestrators and billing services are restarted one after the other while customers send requests."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from graphmesh_local.backends import Postgres
from graphmesh_local.spawning import Spawner

from tests.acceptance.local_mesh import PRICE, TWO_REPLICAS, LocalMesh, output, refund_request, start_mesh, wait_until
from tests.acceptance.mesh_file import mesh_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

SINGLE = ("crm", "model", "retrieval", "ticketing")


@pytest_asyncio.fixture(loop_scope="session")
async def mesh(
    tmp_path: Path, postgres: Postgres, spawn: Spawner, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[LocalMesh]:
    """A mesh with two orchestrators and two billing services."""
    needed = mesh_of(
        tmp_path,
        *("orchestrator", "billing", *SINGLE),
        are_patient=True,
        orchestrator=TWO_REPLICAS,
        billing=TWO_REPLICAS,
    )
    async with postgres.database() as runs, postgres.database() as books:
        monkeypatch.setenv("GRAPHMESH_ORCHESTRATOR_DATABASE_URL", runs)
        monkeypatch.setenv("GRAPHMESH_BILLING_DATABASE_URL", books)
        async with start_mesh(tmp_path, spawn, needed) as mesh:
            await mesh.create_customer()
            yield mesh


class Customers:
    """Customers who repeatedly request refunds."""

    def __init__(self, mesh: LocalMesh) -> None:
        self._mesh = mesh
        self.refunded: list[str] = []
        self.closed = False

    async def wait_for_refunds(self, count: int) -> None:
        """Wait until `count` more refunds were made."""
        expected = len(self.refunded) + count
        await wait_until(lambda: len(self.refunded) >= expected, 60)

    async def send_requests(self) -> None:
        while not self.closed:
            invoice = f"INV-{uuid4().hex}"
            await self._mesh.create_paid_invoice(invoice)
            run = await self._mesh.send_request(refund_request(invoice))
            assert output(run)["outcome"] == "refunded", run
            self.refunded.append(invoice)


async def test_no_run_fails_during_a_rolling_restart(mesh: LocalMesh) -> None:
    """No call of a customer fails, each run succeeds, and each refund is made once."""
    customers = Customers(mesh)
    sending = [asyncio.create_task(customers.send_requests()) for _ in range(2)]
    for name in ("billing-1", "orchestrator-1", "billing-2", "orchestrator-2"):
        await mesh.restart_gracefully(name)
        await customers.wait_for_refunds(1)
    customers.closed = True
    await asyncio.gather(*sending)
    assert [await mesh.refunds(invoice) for invoice in customers.refunded] == [[PRICE]] * len(customers.refunded)
    assert await mesh.is_balanced()
