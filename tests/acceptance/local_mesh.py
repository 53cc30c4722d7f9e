"""A mesh of real processes behind real Envoy: calls of clients and services, and faults of processes."""

import asyncio
import json
import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar
from uuid import uuid4

import grpc
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
    RefundLimit,
    RefundLimitScope,
    RefundPolicy,
    RefundRule,
    RefundRuleEffect,
    SetRefundPolicyRequest,
)
from graphmesh.common.v1 import Money
from graphmesh.crm.v1 import AddRecordRequest, CreateCustomerRequest, CrmService
from graphmesh.orchestrator.v1 import Run, RunStatus
from graphmesh_chassis import metadata
from graphmesh_chassis.call_tokens import CallSigner
from graphmesh_chassis.channel import Channel, Headers
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import CallerError, DependencyError
from graphmesh_chassis.workload import client_credentials
from graphmesh_client import Client
from graphmesh_contracts import Method, Rpc, method_policy
from graphmesh_contracts.workloads import ENVOY
from graphmesh_local.child_process import State
from graphmesh_local.development_issuer import ADMIN, developer_token, token_source
from graphmesh_local.running_mesh import RunningMesh, running_mesh
from graphmesh_local.server_programs import local_address
from graphmesh_local.spawning import Spawner
from graphmesh_local.state_folder import StateFolder
from graphmesh_local.supervisor import OnDeath
from graphmesh_mesh.sample import MESH_FILE

from tests.contract.fields import rpcs
from tests.integration.envoy.http_client import HttpResponse, fetch

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)
T = TypeVar("T")

MIRA = "cu_mira"
"""The id of the customer."""
PRICE = 18_90
"""The amount to refund, in minor units."""
TWO_REPLICAS = {"replicas": 2, "ports": []}
"""A change of a service's entry in mesh.yaml."""


def refund_request(invoice_id: str, price: int = PRICE) -> str:
    """Return the message of a customer whose item arrived damaged."""
    amount = f"{price // 100}.{price % 100:02} EUR"
    return f"The bottle of Rowan Red was cracked. Could you please refund the {amount}? The invoice is {invoice_id}."


def stated_headers(rpc: Method[Any, Any], tenant: str, key: str) -> Headers:
    """Return the headers of a caller that may call a method, of which a signer makes the token of a call."""
    return (
        (metadata.TENANT, tenant),
        (metadata.SUBJECT, "test"),
        (metadata.SCOPES, " ".join(sorted(method_policy(rpc.descriptor).scopes))),
        (metadata.ROLES, ADMIN),
        (metadata.IDEMPOTENCY_KEY, key),
    )


@dataclass(frozen=True, kw_only=True)
class MeshClient:
    """Calls of one tenant."""

    edge: str
    """host:port of the edge listener."""
    channel: Channel
    """To the mesh listener, which has routes to all services."""
    state: StateFolder
    """With the issuer of the tokens for the edge."""
    tenant: str = "default"
    subject: str = ""
    """The subject of its tokens; empty: the user of this process."""
    roles: Sequence[str] = ()
    """The roles of its tokens; empty: those of a developer."""

    def for_tenant(self, tenant: str, subject: str = "", *roles: str) -> Self:
        """Return a client of another tenant."""
        return replace(self, tenant=tenant, subject=subject, roles=roles)

    def client(self, retry_timeout: float = 60) -> Client:
        """Return a client of the edge."""
        token = token_source(self.state, self.tenant, self.subject, self.roles)
        return Client(self.edge, tenant=self.tenant, retry_timeout=retry_timeout, token=token)

    @property
    def authorization(self) -> tuple[str, str]:
        """The header of a call at the edge."""
        return "authorization", f"Bearer {developer_token(self.state, self.tenant, self.subject, self.roles)}"

    async def send_request(self, message: str, customer_id: str = MIRA) -> Run:
        """Send a support request through the edge, accept the refund that it proposes, and wait for its end."""
        async with self.client() as client:
            begun = await client.create_run("support", {"customer_id": customer_id, "message": message})
            await accept_refund(client, begun.run_id)
            return await client.wait_run(begun.run_id, timeout=60)

    async def call(
        self, rpc: Rpc[RequestT, ResponseT], request: RequestT, *, key: str = "", timeout: float = 60
    ) -> ResponseT:
        """Call a service. Raises GraphmeshError."""
        headers = stated_headers(rpc, self.tenant, key or uuid4().hex)
        return await self.channel.unary(rpc, request, deadline=Deadline.after(timeout), headers=headers)

    async def create_customer(self, customer_id: str = MIRA) -> None:
        """Create the customer of all requests, and a refund policy: what is more than 40 EUR needs an approval."""
        limit = RefundLimit(per=RefundLimitScope.REFUND_LIMIT_SCOPE_CHARGE, max_amounts=[eur(40_00)])
        rule = RefundRule(name="consent", effect=RefundRuleEffect.REFUND_RULE_EFFECT_REQUIRE_APPROVAL, limit=limit)
        await self.call(BillingService.SetRefundPolicy, SetRefundPolicyRequest(policy=RefundPolicy(rules=[rule])))
        await self.call(CrmService.CreateCustomer, CreateCustomerRequest(customer_id=customer_id, name="Mira Odenwald"))

    async def create_paid_invoice(self, invoice_id: str, price: int = PRICE, customer_id: str = MIRA) -> None:
        """Create an invoice of one line for a customer, charge it, and record its delivered order."""
        line = InvoiceLine(description="Rowan Red ink, 50 ml", quantity=1, unit_price=eur(price))
        invoice = CreateInvoiceRequest(invoice_id=invoice_id, customer_id=customer_id, lines=[line])
        await self.call(BillingService.CreateInvoice, invoice)
        await self.call(BillingService.Charge, ChargeRequest(invoice_id=invoice_id, amount=eur(price)))
        order = AddRecordRequest(customer_id=customer_id, kind="order", title="Rowan Red ink", status="delivered")
        order.attributes["invoice_id"] = invoice_id
        await self.call(CrmService.AddRecord, order)

    async def refunds(self, invoice_id: str) -> list[int]:
        """Return the refunds of the invoice's charge, in minor units."""
        found = await self.call(BillingService.GetInvoice, GetInvoiceRequest(invoice_id=invoice_id))
        [charge_id] = found.invoice.charge_ids
        charge = await self.call(BillingService.GetCharge, GetChargeRequest(charge_id=charge_id))
        return [refund.amount.amount_minor for refund in charge.refunds]

    async def is_balanced(self) -> bool:
        """Whether the ledger's debits equal its credits."""
        accounts = (await self.call(BillingService.GetTrialBalance, GetTrialBalanceRequest())).accounts
        return sum(one.debit_minor for one in accounts) == sum(one.credit_minor for one in accounts) > 0


@dataclass(frozen=True, kw_only=True)
class LocalMesh(MeshClient):
    """A client of a mesh whose processes the test controls."""

    running: RunningMesh

    def raw_channel(self) -> grpc.aio.Channel:
        """Return a channel to the mesh listener, for calls that `Channel` would not make."""
        credentials = client_credentials(self.running.workload().credentials())
        options = [("grpc.ssl_target_name_override", ENVOY), ("grpc.use_local_subchannel_pool", 1)]
        return grpc.aio.secure_channel(local_address(self.running.mesh.mesh), credentials, options=options)

    def signed_headers(
        self, rpc: Method[Any, Any], tenant: str = "default", key: str = ""
    ) -> tuple[tuple[str, str], ...]:
        """Return the headers of a call on a `raw_channel`, with its token."""
        signer = CallSigner(self.running.folder.call_key)
        return tuple(signer.sign(rpc.path, stated_headers(rpc, tenant, key or uuid4().hex)))

    async def fetch(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> HttpResponse:
        """Send one request to the edge over HTTP/1.1, with a body in JSON."""
        content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        typed = {} if body is None else {"content-type": "application/json"}
        sent = {**dict([self.authorization]), **typed, **(headers or {})}
        return await fetch(self.running.mesh.edge, method, path, content, sent)

    async def kill(self, name: str) -> None:
        """Send SIGKILL to a process, and wait until it has ended."""
        child = self.running.child(name)
        child.kill()
        await wait_until(lambda: child.state is State.DIED)

    @contextmanager
    def paused(self, name: str) -> Iterator[None]:
        """Stop a process with SIGSTOP while the body runs: it keeps its connections and does not respond."""
        pid = self.running.child(name).pid
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    @contextmanager
    def writes_blocked(self, name: str) -> Iterator[None]:
        """Block writes to a service's database while the body runs; reads continue."""
        with write_locked(self.running.folder.databases / f"{name}.db"):
            yield

    async def is_answering(self, name: str) -> bool:
        """Whether a service responds to calls at the listener of its callers, be it with an error of the caller."""
        rpc = next(rpc for rpc in rpcs(self.running.mesh.services[name]) if isinstance(rpc, Rpc))
        with suppress(CallerError):
            try:
                if name in self.running.mesh.edge.services:
                    async with self.client(retry_timeout=0) as client:
                        await client.list_graphs()
                else:
                    await self.call(rpc, rpc.request(), timeout=1)
            except DependencyError:
                return False
        return True

    async def restart_gracefully(self, name: str) -> None:
        """Send SIGTERM to a process, and start it again when it has ended."""
        child = self.running.child(name)
        os.kill(child.pid, signal.SIGTERM)
        await wait_until(lambda: child.state is State.DIED, 60)
        await self.running.restart(name)

    async def restore(self) -> None:
        """Restart dead processes, and wait until all services respond."""
        for child in self.running.supervisor.children:
            if child.state is State.DIED:
                await self.running.restart(child.program.name)
        for name in self.running.mesh.services:
            await eventually(partial(self.is_answering, name))


@asynccontextmanager
async def start_mesh(
    folder: Path,
    spawn: Spawner,
    mesh_file: Path = MESH_FILE,
    settings: Mapping[str, str] | None = None,
    *,
    receiver: bool = False,
) -> AsyncIterator[LocalMesh]:
    """Run a mesh with empty databases; the death of one process does not stop the others.

    With `receiver` it is traced, as by `graphmesh up`.
    """
    state = folder / "state"
    async with (
        running_mesh(
            *(mesh_file, state),
            free_ports=True,
            on_death=OnDeath.CONTINUE,
            settings=settings,
            receiver=receiver,
            spawn=spawn,
        ) as running,
        running.channel() as channel,
    ):
        yield LocalMesh(edge=running.edge, channel=channel, state=running.folder, running=running)


async def call_port(
    running: RunningMesh, service: str, rpc: Rpc[Any, Any], request: Message, name: str, headers: Headers | None = None
) -> Any:
    """Call a service at its own port, as a workload. Raises AioRpcError.

    Args:
        name: of the workload; empty: a client without a certificate.
        headers: None: those of a caller with the scopes of the method.
    """
    own = running.workload(name) if name else None
    options = [("grpc.ssl_target_name_override", service), ("grpc.use_local_subchannel_pool", 1)]
    address = running.mesh.services[service].replica_listeners[0].target
    channel = (
        grpc.aio.secure_channel(address, client_credentials(own.credentials()), options=options)
        if own
        else grpc.aio.insecure_channel(address, options=options)
    )
    async with channel:
        call: Any = channel.unary_unary(rpc.path, rpc.request.SerializeToString, rpc.response.FromString)
        return await call(
            request, timeout=60, metadata=stated_headers(rpc, "default", uuid4().hex) if headers is None else headers
        )


def eur(amount_minor: int) -> Money:
    return Money(currency_code="EUR", amount_minor=amount_minor)


def output(run: Run) -> dict[str, Any]:
    """Return the output of a run, which must have succeeded."""
    assert run.status == RunStatus.RUN_STATUS_SUCCESS, run
    found: dict[str, Any] = json_format.MessageToDict(run.output)
    return found


@contextmanager
def write_locked(database: Path) -> Iterator[None]:
    """Hold the write lock of an SQLite database while the body runs."""
    with closing(sqlite3.connect(database, timeout=60, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


async def wait_for_node(client: Client, run_id: str, node: str) -> None:
    """Follow a run until a node begins."""
    async with asyncio.timeout(60), aclosing(client.stream_run(run_id)) as events:
        async for event in events:
            if event.node == node:
                return
    raise AssertionError(f"{run_id} ended without {node}")


async def accept_refund(client: Client, run_id: str, timeout: float = 60) -> Run:
    """Accept the refund that a run of the support agent proposes, if it does."""
    run = await client.wait_run(run_id, timeout=timeout)
    proposals = [one for one in run.interrupts if not one.approval_id]
    if run.status != RunStatus.RUN_STATUS_INTERRUPTED or not proposals:
        return run
    [interrupt] = proposals
    proposal = json_format.MessageToDict(interrupt.value)["proposal"]
    return await client.resume_run(run_id, {interrupt.interrupt_id: {"proposal": proposal["id"], "accept": True}})


async def wait_until(condition: Callable[[], bool], timeout: float = 60) -> None:
    """Poll a condition of this process until it is true."""
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.02)


async def eventually(condition: Callable[[], Awaitable[bool]], timeout: float = 60) -> None:
    """Poll a condition of the mesh until it is true."""
    async with asyncio.timeout(timeout):
        while not await condition():
            await asyncio.sleep(0.05)


async def retry_until_answered(call: Callable[[], Awaitable[T]], timeout: float = 60) -> T:
    """Repeat a call while dependencies fail, and return its response."""
    async with asyncio.timeout(timeout):
        while True:
            with suppress(DependencyError):
                return await call()
            await asyncio.sleep(0.05)
