"""A billing service, and an orchestrator that runs a graph given by the test, both real and in this process."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format
from graphmesh.billing import v1 as billing
from graphmesh.common.v1 import Money
from graphmesh.orchestrator import v1 as pb
from graphmesh_billing.__main__ import build as build_billing
from graphmesh_billing.settings import Settings as BillingSettings
from graphmesh_chassis import testing
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_client import Client
from graphmesh_contracts import struct_value
from graphmesh_orchestrator.__main__ import DEFAULT_INTERVALS, OpenBackend
from graphmesh_orchestrator.__main__ import build as build_orchestrator
from graphmesh_orchestrator.backend import open_backend
from graphmesh_orchestrator.intervals import Intervals
from graphmesh_orchestrator.settings import Settings

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
        "slow",
        "talking",
    ),
    "approving.py": (
        "approved_charge",
        "approved_by_rule",
        "approved_soon",
        "approved_twice",
        "approved_side_by_side",
    ),
    "asking.py": ("ask_twice", "ask_both", "ask_nested", "gated", "thinking"),
}


def eur(minor: int) -> Money:
    return Money(currency_code="EUR", amount_minor=minor)


def notes(run: pb.Run) -> list[str]:
    """What the nodes of a run have noted."""
    found: list[str] = struct_value(run.output)["notes"]
    return found


@dataclass
class Faults:
    """A server in front of the real billing service, which can refuse calls of Charge before they reach it."""

    billing: testing.Served
    address: str = ""
    """Where it listens."""
    refusals: list[grpc.StatusCode] = field(default_factory=list)
    """Answer the next calls with these."""
    then_closed: bool = False
    """Listen no more after the next refusal."""
    server: grpc.aio.Server | None = None
    keys: list[str] = field(default_factory=list)
    """The idempotency key of each call that came."""

    async def forward(self, request: bytes, context: Any) -> bytes:
        self.keys.append(str(dict(context.invocation_metadata())["idempotency-key"]))
        if self.refusals and self.then_closed and self.server:
            self._closing = asyncio.create_task(self.server.stop(0.2))
        if self.refusals:
            await context.abort(self.refusals.pop(0), "injected")
        headers = [(key, value) for key, value in context.invocation_metadata() if key in FORWARDED]
        async with grpc.aio.insecure_channel(self.billing.address) as channel:
            call: Any = channel.unary_unary(billing.BillingService.Charge.path)
            answer: bytes = await call(request, metadata=headers)
            return answer


FORWARDED = ("idempotency-key", "x-graphmesh-scopes", "x-graphmesh-tenant", "x-graphmesh-run")


@asynccontextmanager
async def faulty(served: testing.Served) -> AsyncIterator[tuple[Faults, str]]:
    """Faults, and the address that they listen on."""
    faults = Faults(served)
    handler: Any = grpc.unary_unary_rpc_method_handler(faults.forward)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(billing.BillingService.NAME, {"Charge": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    faults.server = server
    faults.address = f"127.0.0.1:{port}"
    try:
        yield faults, faults.address
    finally:
        await server.stop(None)


@dataclass
class Kit:
    folder: Path
    billing: testing.Served
    client: Client
    channel: Channel
    """To the orchestrator."""
    address: str
    """Of the orchestrator."""

    async def invoice(self, minor: int = 1000) -> str:
        """The id of a new invoice."""
        request = billing.CreateInvoiceRequest(
            customer_id="cu_1", lines=[billing.InvoiceLine(description="ink", quantity=1, unit_price=eur(minor))]
        )
        key = [("idempotency-key", f"invoice-{id(request)}")]
        response = await self.billing.channel.unary(
            billing.BillingService.CreateInvoice, request, deadline=Deadline.after(30), headers=key
        )
        return response.invoice.invoice_id

    async def charges(self, invoice_id: str) -> int:
        """How many charges there are of an invoice."""
        request = billing.GetInvoiceRequest(invoice_id=invoice_id)
        response = await self.billing.channel.unary(
            billing.BillingService.GetInvoice, request, deadline=Deadline.after(30)
        )
        return len(response.invoice.charge_ids)

    async def run(self, graph: str, **input: Any) -> pb.Run:
        """A run that has ended."""
        begun = await self.client.create_run(graph, input)
        return await self.client.wait_run(begun.run_id, timeout=30)

    async def create(self, graph: str, input: dict[str, Any] | None = None, **fields: Any) -> pb.Run:
        """A run as `fields` of the request say."""
        request = pb.CreateRunRequest(graph=graph, **fields)
        if input is not None:
            request.input.update(input)
        return (await self.channel.unary(pb.RunService.CreateRun, request, deadline=Deadline.after(10))).run

    async def stopped(self, run_id: str) -> pb.Run:
        """A run that has ended or is parked."""
        return await self.client.wait_run(run_id, timeout=30)

    async def resume(self, run_id: str, answers: dict[str, Any]) -> pb.Run:
        request = json_format.ParseDict({"run_id": run_id, "answers": answers}, pb.ResumeRunRequest())
        return (await self.channel.unary(pb.RunService.ResumeRun, request, deadline=Deadline.after(10))).run

    async def events(self, run_id: str, after_seq: int = 0) -> list[pb.RunEvent]:
        return [event async for event in self.client.stream_run(run_id, after_seq)]


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Kit]:
    async with billing_of(folder) as served, orchestrating(folder, served) as kit:
        yield kit


@asynccontextmanager
async def billing_of(folder: Path, **further: Any) -> AsyncIterator[testing.Served]:
    settings = BillingSettings(database_url=f"sqlite+aiosqlite:///{folder}/billing.db", **further)
    async with build_billing(settings) as servable, testing.running(servable, settings) as served:
        yield served


@asynccontextmanager
async def orchestrating(
    folder: Path,
    served: testing.Served,
    mesh: str = "",
    *,
    intervals: Intervals = DEFAULT_INTERVALS,
    backend: OpenBackend = open_backend,
    **further: Any,
) -> AsyncIterator[Kit]:
    registry = folder / "langgraph.json"
    here = Path(__file__).parent
    entries = {name: f"{here / file}:{name}" for file, names in GRAPHS.items() for name in names}
    entries |= {module.stem: f"{module}:graph" for module in folder.glob("*.py")}
    registry.write_text(json.dumps({"graphs": entries}))
    settings = Settings(
        database_url=f"sqlite+aiosqlite:///{folder}/orchestrator.db",
        mesh=mesh or served.address,
        graphs=registry,
        **further,
    )
    async with (
        build_orchestrator(settings, open_backend=backend, intervals=intervals) as servable,
        testing.running(servable, settings) as orchestrator,
        Client(orchestrator.address, retry_timeout=5) as client,
    ):
        yield Kit(folder, served, client, orchestrator.channel, orchestrator.address)
