"""A shop on a mesh of real processes behind real Envoy: what its customers and staff do, and what befalls processes."""

import asyncio
import importlib
import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import yaml
from google.protobuf import json_format
from google.protobuf.message import Message
from graphmesh.billing.v1 import (
    BillingService,
    ChargeRequest,
    CreateInvoiceRequest,
    GetChargeRequest,
    GetInvoiceRequest,
    GetTrialBalanceRequest,
    InvoiceLine,
)
from graphmesh.common.v1 import Money
from graphmesh.crm.v1 import CreateCustomerRequest, CrmService
from graphmesh.orchestrator.v1 import Run, RunStatus
from graphmesh_chassis import metadata
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import CallerError, DependencyError
from graphmesh_client import Client
from graphmesh_contracts import Rpc
from graphmesh_local.child_process import State
from graphmesh_local.fork_client import fork_spawner
from graphmesh_local.running_mesh import MESH_FILE, RunningMesh, local_address, running_mesh
from graphmesh_local.supervisor import OnDeath
from graphmesh_mesh.topology import Service, load

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)
T = TypeVar("T")

MIRA = "cu_mira"
PRICE = 18_90
"""Of the ink that is refunded, in minor units."""


def cracked(invoice_id: str, price: int = PRICE) -> str:
    """What a customer writes whose ink arrived damaged."""
    amount = f"{price // 100}.{price % 100:02} EUR"
    return f"The bottle of Rowan Red was cracked. Could you please refund the {amount}? The invoice is {invoice_id}."


@dataclass(frozen=True, kw_only=True)
class Shop:
    """One tenant's shop on a mesh."""

    edge: str
    """host:port for customers."""
    mesh: Channel
    """To the mesh listener, where staff call the services."""
    tenant: str = "default"

    def of(self, tenant: str) -> "Shop":
        """Another tenant's shop on the same mesh."""
        return replace(self, tenant=tenant)

    def client(self, patience: float = 10) -> Client:
        """A client at the edge."""
        return Client(self.edge, tenant=self.tenant, patience=patience)

    async def ask(self, message: str, customer_id: str = MIRA) -> Run:
        """A support request through the edge, to its end."""
        async with self.client() as client:
            begun = await client.create_run("support", {"customer_id": customer_id, "message": message})
            return await client.wait_run(begun.run_id, timeout=60)

    async def tell(
        self, rpc: Rpc[RequestT, ResponseT], request: RequestT, *, key: str = "", timeout: float = 10
    ) -> ResponseT:
        """One call of a service. Raises GraphmeshError."""
        headers = [(metadata.TENANT, self.tenant), (metadata.IDEMPOTENCY_KEY, key or uuid4().hex)]
        return await self.mesh.unary(rpc, request, deadline=Deadline.after(timeout), headers=headers)

    async def open(self) -> None:
        """Take in the customer."""
        await self.tell(CrmService.CreateCustomer, CreateCustomerRequest(customer_id=MIRA, name="Mira Odenwald"))

    async def sell(self, invoice_id: str, price: int = PRICE) -> None:
        """Sell the customer an ink, and take the money for it."""
        line = InvoiceLine(description="Rowan Red ink, 50 ml", quantity=1, unit_price=eur(price))
        invoice = CreateInvoiceRequest(invoice_id=invoice_id, customer_id=MIRA, lines=[line])
        await self.tell(BillingService.CreateInvoice, invoice)
        await self.tell(BillingService.Charge, ChargeRequest(invoice_id=invoice_id, amount=eur(price)))

    async def refunds(self, invoice_id: str) -> list[int]:
        """What was given back of the invoice's charge, each refund in minor units."""
        found = await self.tell(BillingService.GetInvoice, GetInvoiceRequest(invoice_id=invoice_id))
        [charge_id] = found.invoice.charge_ids
        charge = await self.tell(BillingService.GetCharge, GetChargeRequest(charge_id=charge_id))
        return [refund.amount.amount_minor for refund in charge.refunds]

    async def balanced(self) -> bool:
        """Whether all that was debited was credited."""
        accounts = (await self.tell(BillingService.GetTrialBalance, GetTrialBalanceRequest())).accounts
        return sum(one.debit_minor for one in accounts) == sum(one.credit_minor for one in accounts) > 0


@dataclass(frozen=True, kw_only=True)
class OwnShop(Shop):
    """A shop on a mesh whose processes are the test's own."""

    running: RunningMesh

    async def kill(self, name: str) -> None:
        """SIGKILL a process, and wait until it is gone."""
        child = self.running.child(name)
        child.kill()
        await until(lambda: child.state is State.DIED)

    @contextmanager
    def stuck(self, name: str) -> Iterator[None]:
        """The process keeps its connections and does nothing while the body runs."""
        pid = self.running.child(name).pid
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    @contextmanager
    def writes_held(self, name: str) -> Iterator[None]:
        """The service reads its database, and waits to write it, while the body runs."""
        with held(self.running.folder.databases / f"{name}.db"):
            yield

    async def answers(self, name: str) -> bool:
        """Whether the service, asked through the mesh, answers anything at all."""
        rpc = next(rpc for rpc in rpcs(self.running.mesh.services[name]) if not rpc.descriptor.server_streaming)
        with suppress(CallerError):
            try:
                await self.tell(rpc, rpc.request(), timeout=1)
            except DependencyError:
                return False
        return True

    async def repaired(self) -> None:
        """Bring back what died, and wait until all services answer."""
        for child in self.running.supervisor.children:
            if child.state is State.DIED:
                await self.running.restart(child.program.name)
        for name in self.running.mesh.services:
            await eventually(partial(self.answers, name))


@asynccontextmanager
async def open_shop(folder: Path, mesh_file: Path = MESH_FILE) -> AsyncIterator[OwnShop]:
    """A shop without customers on a mesh of its own; the death of one process leaves the others alone."""
    programs = sorted({service.module for service in load(mesh_file).services.values()})
    async with (
        fork_spawner(programs) as spawn,
        running_mesh(mesh_file, folder / "state", free_ports=True, on_death=OnDeath.CONTINUE, spawn=spawn) as running,
        Channel(local_address(running.mesh.mesh)) as mesh,
    ):
        yield OwnShop(edge=running.edge, mesh=mesh, running=running)


def mesh_of(folder: Path, *names: str, edge: str = "orchestrator", **changes: Mapping[str, Any]) -> Path:
    """A mesh.yaml with only these services of the real one, and with `changes` to some of them."""
    whole = yaml.safe_load(MESH_FILE.read_text())
    services = {name: {**whole["services"][name], **changes.get(name, {})} for name in names}
    path = folder / "mesh.yaml"
    path.write_text(
        yaml.safe_dump(
            {**whole, "edge": {**whole["edge"], "services": [edge]}, "services": services, "environments": {}}
        )
    )
    return path


def rpcs(service: Service) -> list[Rpc[Any, Any]]:
    """The RPCs of a service of mesh.yaml."""
    package, _, name = service.service.rpartition(".")
    handles = getattr(importlib.import_module(package), name)
    return [member for member in vars(handles).values() if isinstance(member, Rpc)]


def eur(amount_minor: int) -> Money:
    return Money(currency_code="EUR", amount_minor=amount_minor)


def output(run: Run) -> dict[str, Any]:
    """What a run that succeeded says."""
    assert run.status == RunStatus.RUN_STATUS_SUCCESS, run
    found: dict[str, Any] = json_format.MessageToDict(run.output)
    return found


@contextmanager
def held(database: Path) -> Iterator[None]:
    """Be the one writer that an SQLite database admits while the body runs."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


async def reaches(client: Client, run_id: str, node: str) -> None:
    """Watch a run until a node begins."""
    async with asyncio.timeout(20), aclosing(client.stream_run(run_id)) as events:
        async for event in events:
            if event.node == node:
                return
    raise AssertionError(f"{run_id} ended without {node}")


async def until(holds: Callable[[], bool], within: float = 20) -> None:
    """Wait for something that this process sees by itself."""
    async with asyncio.timeout(within):
        while not holds():
            await asyncio.sleep(0.02)


async def eventually(holds: Callable[[], Awaitable[bool]], within: float = 20) -> None:
    """Ask until it holds."""
    async with asyncio.timeout(within):
        while not await holds():
            await asyncio.sleep(0.05)


async def answered(call: Callable[[], Awaitable[T]], within: float = 30) -> T:
    """The answer that a caller gets who asks again while something is not there."""
    async with asyncio.timeout(within):
        while True:
            with suppress(DependencyError):
                return await call()
            await asyncio.sleep(0.05)
