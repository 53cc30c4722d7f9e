"""A small mesh in this process: real billing, a real orchestrator with the graphs of these tests, and a client."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar
from uuid import uuid4

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo
from graphmesh.billing import v1 as billing
from graphmesh.common.v1 import Money
from graphmesh.orchestrator import v1 as pb
from graphmesh_billing.__main__ import build as build_billing
from graphmesh_billing.settings import Settings as BillingSettings
from graphmesh_chassis import metadata, testing
from graphmesh_chassis.channel import Headers
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.settings import SecretUrl
from graphmesh_chassis.telemetry.sampling import TRACEPARENT
from graphmesh_client import Client
from graphmesh_contracts import Rpc, StreamingRpc, struct_value
from graphmesh_orchestrator.__main__ import DEFAULT_INTERVALS, OpenBackend
from graphmesh_orchestrator.__main__ import build as build_orchestrator
from graphmesh_orchestrator.backend import open_backend
from graphmesh_orchestrator.intervals import Intervals
from graphmesh_orchestrator.settings import Settings

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)

GRAPHS = {
    "graphs.py": (
        "pay",
        "pay_degraded",
        "pay_instead",
        "pay_escalated",
        "pay_hanging",
        "pay_nested",
        "loop",
        "failing",
        "hanging",
        "talking",
    ),
    "approval_graphs.py": (
        "approved_charge",
        "approved_by_rule",
        "approved_soon",
        "approved_twice",
        "approved_until_charged",
        "approved_side_by_side",
    ),
    "customer_graphs.py": ("charge_own",),
    "interrupt_graphs.py": (
        "ask_twice",
        "ask_both",
        "ask_private",
        "ask_nested",
        "ask_invoked",
        "ask_blocking",
        "nested",
        "gated",
        "thinking",
    ),
}
"""The graphs of every orchestrator under test, by file."""
TIMEOUT = 60
"""Seconds for each call, and for each wait for a run."""


def eur(minor: int) -> Money:
    return Money(currency_code="EUR", amount_minor=minor)


def notes(run: pb.Run) -> list[str]:
    """The notes of the run's nodes."""
    found: list[str] = struct_value(run.output)["notes"]
    return found


def reason(run: pb.Run) -> str:
    """The reason of the run's error; empty where it has none."""
    info = ErrorInfo()
    return next((info.reason for detail in run.error.details if detail.Unpack(info)), "")


@dataclass(frozen=True)
class Mesh:
    """Billing and an orchestrator, as one tenant calls them."""

    folder: Path
    """Holds the databases."""
    billing: testing.Served
    orchestrator: testing.Served
    client: Client
    tenant: str = "default"

    @property
    def address(self) -> str:
        """The address of the orchestrator."""
        return self.orchestrator.address

    @asynccontextmanager
    async def as_new_tenant(self) -> AsyncIterator["Mesh"]:
        """Yield the same servers for a tenant that has no data yet."""
        tenant = f"tenant-{uuid4().hex}"
        async with Client(self.address, tenant=tenant, retry_timeout=60) as client:
            yield replace(self, client=client, tenant=tenant)

    async def call(self, rpc: Rpc[RequestT, ResponseT], request: RequestT, **headers: str) -> ResponseT:
        """Call the orchestrator, without retries; each of `headers` is sent as `x-graphmesh-<name>`."""
        return await self.orchestrator.channel.unary(
            rpc, request, deadline=Deadline.after(TIMEOUT), headers=self._headers(headers)
        )

    def stream(
        self, rpc: StreamingRpc[RequestT, ResponseT], request: RequestT, **headers: str
    ) -> AsyncGenerator[ResponseT]:
        """Stream from the orchestrator; each of `headers` is sent as `x-graphmesh-<name>`."""
        return self.orchestrator.channel.stream(
            rpc, request, deadline=Deadline.after(TIMEOUT), headers=self._headers(headers)
        )

    async def call_billing(self, rpc: Rpc[RequestT, ResponseT], request: RequestT) -> ResponseT:
        """Call billing under a new idempotency key."""
        headers = [(metadata.IDEMPOTENCY_KEY, uuid4().hex), *self._headers({})]
        return await self.billing.channel.unary(rpc, request, deadline=Deadline.after(TIMEOUT), headers=headers)

    def _headers(self, headers: dict[str, str]) -> Headers:
        return [(f"x-graphmesh-{name}", value) for name, value in {"tenant": self.tenant, **headers}.items()]

    async def create_invoice(self, minor: int = 1000) -> str:
        """Create an invoice over `minor` cents, and return its id."""
        line = billing.InvoiceLine(description="ink", quantity=1, unit_price=eur(minor))
        request = billing.CreateInvoiceRequest(customer_id="cu_1", lines=[line])
        return (await self.call_billing(billing.BillingService.CreateInvoice, request)).invoice.invoice_id

    async def count_charges(self, invoice_id: str) -> int:
        request = billing.GetInvoiceRequest(invoice_id=invoice_id)
        return len((await self.call_billing(billing.BillingService.GetInvoice, request)).invoice.charge_ids)

    async def create(self, graph: str, input: dict[str, Any] | None = None, **fields: Any) -> pb.Run:
        """Create a run; `fields` are further fields of the request."""
        request = pb.CreateRunRequest(graph=graph, **fields)
        if input is not None:
            request.input.update(input)
        return (await self.call(pb.RunService.CreateRun, request)).run

    async def wait(self, run: pb.Run) -> pb.Run:
        """Wait until the run has ended or is parked."""
        return await self.client.wait_run(run.run_id, timeout=TIMEOUT)

    async def run(self, graph: str, **input: Any) -> pb.Run:
        """Create a run, and wait until it has ended or is parked."""
        return await self.wait(await self.client.create_run(graph, input))

    async def resume(self, run: pb.Run, answers: dict[str, Any]) -> pb.Run:
        """Answer interrupts of the run, by their ids."""
        request = json_format.ParseDict({"run_id": run.run_id, "answers": answers}, pb.ResumeRunRequest())
        return (await self.call(pb.RunService.ResumeRun, request)).run

    async def events(self, run: pb.Run, after_seq: int = 0) -> list[pb.RunEvent]:
        return [event async for event in self.client.stream_run(run.run_id, after_seq)]


@asynccontextmanager
async def serve_mesh(folder: Path) -> AsyncIterator[Mesh]:
    """Serve billing and an orchestrator, with databases in `folder`."""
    async with serve_billing(folder) as served, serve_orchestrator(folder, served) as mesh:
        yield mesh


@asynccontextmanager
async def serve_billing(folder: Path, **fields: Any) -> AsyncIterator[testing.Served]:
    """Serve billing; `fields` are further settings."""
    settings = BillingSettings(database_url=SecretUrl(f"sqlite+aiosqlite:///{folder}/billing.db"), **fields)
    async with build_billing(settings) as servable, testing.running(servable, settings) as served:
        yield served


@asynccontextmanager
async def serve_orchestrator(
    folder: Path,
    served: testing.Served,
    *,
    billing_address: str = "",
    intervals: Intervals = DEFAULT_INTERVALS,
    backend: OpenBackend = open_backend,
    keys: Mapping[str, Any] = MappingProxyType({}),
    **fields: Any,
) -> AsyncIterator[Mesh]:
    """Serve an orchestrator. A module in `folder` adds its variable `graph`, under the module's name.

    Args:
        folder: holds the database and the graph registry.
        served: the billing service of its mesh.
        billing_address: the address for its calls of billing; by default that of `served`.
        keys: further keys of the graph registry.
        fields: further settings.
    """
    registry = folder / "langgraph.json"
    here = Path(__file__).parent
    entries = {name: f"{here / file}:{name}" for file, names in GRAPHS.items() for name in names}
    entries |= {module.stem: f"{module}:graph" for module in folder.glob("*.py")}
    registry.write_text(json.dumps({"graphs": entries, **keys}))
    fields = {"database_url": f"sqlite+aiosqlite:///{folder}/orchestrator.db"} | fields
    settings = Settings(mesh=billing_address or served.address, graphs=registry, **fields)
    async with (
        build_orchestrator(settings, open_backend=backend, intervals=intervals) as servable,
        testing.running(servable, settings) as orchestrator,
        Client(orchestrator.address, retry_timeout=60) as client,
    ):
        yield Mesh(folder, served, orchestrator, client)


@dataclass
class BillingProxy:
    """A server in front of billing that can refuse calls of Charge before they reach it."""

    billing: testing.Served
    server: grpc.aio.Server
    address: str
    refusals: list[grpc.StatusCode] = field(default_factory=list)
    """The statuses of the next responses; later calls are forwarded."""
    stops_after_refusal: bool = False
    """Stop to listen with the next refusal."""
    keys: list[str] = field(default_factory=list)
    """The idempotency key of each received call."""
    _stopping: asyncio.Task[None] | None = None

    async def forward(self, request: bytes, context: Any) -> bytes:
        headers = dict(context.invocation_metadata())
        self.keys.append(str(headers[metadata.IDEMPOTENCY_KEY]))
        if self.refusals and self.stops_after_refusal:
            self._stopping = asyncio.create_task(self.server.stop(0.2))
        if self.refusals:
            await context.abort(self.refusals.pop(0), "injected")
        forwarded = [(name, headers[name]) for name in FORWARDED if name in headers]
        async with grpc.aio.insecure_channel(self.billing.address) as channel:
            call: Any = channel.unary_unary(billing.BillingService.Charge.path)
            response: bytes = await call(request, metadata=forwarded)
            return response


FORWARDED = (metadata.IDEMPOTENCY_KEY, metadata.SCOPES, metadata.TENANT, metadata.RUN, TRACEPARENT)


@asynccontextmanager
async def billing_proxy(served: testing.Served) -> AsyncIterator[BillingProxy]:
    server = grpc.aio.server()
    proxy = BillingProxy(served, server, f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
    handler: Any = grpc.unary_unary_rpc_method_handler(proxy.forward)
    methods = grpc.method_handlers_generic_handler(billing.BillingService.NAME, {"Charge": handler})
    server.add_generic_rpc_handlers((methods,))
    await server.start()
    try:
        yield proxy
    finally:
        await server.stop(None)
