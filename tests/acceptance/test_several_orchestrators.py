"""Several orchestrators on one PostgreSQL: when one dies or is paused, another resumes its runs."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, LiteralString

import pytest
import pytest_asyncio
from graphmesh.crm.v1 import CreateCustomerRequest, CrmService
from graphmesh_local.spawning import Spawner
from psycopg import AsyncConnection

from tests.acceptance.local_mesh import LocalMesh, eventually, start_mesh
from tests.acceptance.mesh_file import mesh_of
from tests.acceptance.refund_watcher import RefundWatcher, assert_refunded_once, is_refunded_once

pytestmark = pytest.mark.asyncio(loop_scope="session")

TIMEOUT = 60
WORKERS = ("orchestrator-1", "orchestrator-2", "orchestrator-3")


@asynccontextmanager
async def mesh_with_orchestrators(folder: Path, spawn: Spawner, replicas: int) -> AsyncIterator[LocalMesh]:
    needed = mesh_of(
        folder,
        *("orchestrator", "billing", "crm", "model", "retrieval", "ticketing"),
        are_patient=True,
        orchestrator={"replicas": replicas, "ports": [], "policy": {}},
    )
    async with start_mesh(folder, spawn, needed) as mesh:
        await mesh.create_customer()
        yield mesh


@pytest_asyncio.fixture(loop_scope="session")
async def database(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of the PostgreSQL that the orchestrators share."""
    monkeypatch.setenv("GRAPHMESH_ORCHESTRATOR_DATABASE_URL", postgres_url)
    return postgres_url


@pytest_asyncio.fixture(loop_scope="session")
async def pair(tmp_path: Path, database: str, spawn: Spawner) -> AsyncIterator[LocalMesh]:
    """A mesh with two orchestrators."""
    async with mesh_with_orchestrators(tmp_path, spawn, 2) as mesh:
        yield mesh


@pytest_asyncio.fixture(loop_scope="session")
async def trio(tmp_path: Path, database: str, spawn: Spawner) -> AsyncIterator[LocalMesh]:
    """A mesh with three orchestrators."""
    async with mesh_with_orchestrators(tmp_path, spawn, 3) as mesh:
        yield mesh


async def test_another_worker_resumes_the_runs_of_a_dead_one(pair: LocalMesh) -> None:
    """One of two is killed during refunds and not restarted: each run ends, and each refund is made once."""
    invoices = [f"INV-DEAD-{number}" for number in range(4)]
    for invoice in invoices:
        await pair.create_paid_invoice(invoice)
    async with pair.client(TIMEOUT) as client:
        with pair.writes_blocked("billing"):
            watchers = [await RefundWatcher.begin(client, invoice) for invoice in invoices]
            await asyncio.gather(*(watcher.wait_for_refund_node() for watcher in watchers))
            await pair.kill(WORKERS[0])
        for watcher, invoice in zip(watchers, invoices, strict=True):
            await assert_refunded_once(pair, client, watcher, invoice)


async def test_takeover_does_not_wait_for_leases(trio: LocalMesh, database: str) -> None:
    """One of three is killed whose leases last an hour: the others detect that its lock is gone, and claim its runs.

    Each refund is of another customer, since billing bounds those of one that wait.
    """
    invoices, watchers = {f"cu_leased_{number}": f"INV-LEASED-{number}" for number in range(20)}, list[RefundWatcher]()
    for customer, invoice in invoices.items():
        await trio.call(CrmService.CreateCustomer, CreateCustomerRequest(customer_id=customer, name="Ana Lease"))
        await trio.create_paid_invoice(invoice, customer_id=customer)
    async with trio.client(TIMEOUT) as client:
        with trio.writes_blocked("billing"):
            for first in range(0, len(invoices), 5):  # at once: refunds that are blocked for long are given up
                some = list(invoices.items())[first : first + 5]
                begun = (RefundWatcher.begin(client, invoice, customer) for customer, invoice in some)
                watchers += await asyncio.gather(*begun)
                [[busy]] = await query(database, "SELECT count(DISTINCT lease_owner) FROM runs WHERE lease_owner <> ''")
                if busy == len(WORKERS):
                    break
            await asyncio.gather(*(watcher.wait_for_refund_node() for watcher in watchers))
            await query(database, "UPDATE runs SET lease_expires = lease_expires + 3600 WHERE status = 'running'")
            await trio.kill(WORKERS[0])
        for watcher, invoice in zip(watchers, invoices.values(), strict=False):
            await assert_refunded_once(trio, client, watcher, invoice)
    [[claimed]] = await query(database, "SELECT count(*) FROM runs WHERE epoch > 1")
    assert claimed > 0


async def test_a_paused_worker_is_fenced(pair: LocalMesh) -> None:
    """One of two is paused beyond its leases and continues: each run that the other has claimed refunds once."""
    invoices = [f"INV-PAUSED-{number}" for number in range(4)]
    for invoice in invoices:
        await pair.create_paid_invoice(invoice)
    async with pair.client(TIMEOUT) as client:
        with pair.writes_blocked("billing"):
            watchers = [await RefundWatcher.begin(client, invoice) for invoice in invoices]
            await asyncio.gather(*(watcher.wait_for_refund_node() for watcher in watchers))
            paused = pair.running.child(WORKERS[0]).pid
            os.kill(paused, signal.SIGSTOP)
        try:
            for invoice in invoices:
                await eventually(partial(is_refunded_once, pair, invoice), TIMEOUT)
        finally:
            os.kill(paused, signal.SIGCONT)
        for watcher, invoice in zip(watchers, invoices, strict=True):
            await assert_refunded_once(pair, client, watcher, invoice)


async def query(url: str, statement: LiteralString) -> list[tuple[Any, ...]]:
    """Execute a statement, and return its rows."""
    async with await AsyncConnection.connect(url.replace("+psycopg", "")) as connection:
        cursor = await connection.execute(statement)
        return await cursor.fetchall() if cursor.description else []
