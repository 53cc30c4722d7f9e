"""The support agent's shop: five real services in this process, a few customers, and the sample articles."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from graphmesh.billing import v1 as billing
from graphmesh.common.v1 import Money
from graphmesh.crm import v1 as crm
from graphmesh.retrieval import v1 as retrieval
from graphmesh.ticketing import v1 as ticketing
from graphmesh_billing.__main__ import build as build_billing
from graphmesh_billing.settings import Settings as BillingSettings
from graphmesh_chassis import metadata
from graphmesh_chassis.channel import Channel, Headers
from graphmesh_chassis.database import open_database
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.settings import SecretUrl
from graphmesh_chassis.testing import running
from graphmesh_contracts import Method, Rpc, StreamingRpc
from graphmesh_crm.__main__ import build as build_crm
from graphmesh_crm.settings import Settings as CrmSettings
from graphmesh_model.__main__ import build as build_model
from graphmesh_model.settings import Settings as ModelSettings
from graphmesh_nodes import RunContext
from graphmesh_nodes.context import with_run_context
from graphmesh_orchestrator.backend import MIGRATIONS
from graphmesh_orchestrator.checkpoints import GroupCommit, LogSaver, SqlBatchWriter
from graphmesh_retrieval.__main__ import build as build_retrieval
from graphmesh_retrieval.settings import Settings as RetrievalSettings
from graphmesh_ticketing.__main__ import build as build_ticketing
from graphmesh_ticketing.settings import Settings as TicketingSettings
from langchain_core.runnables import RunnableConfig
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command
from support.graph import graph

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)

ARTICLES = Path("deploy/sample/articles")
REFUND_POLICY = Path("deploy/sample/refund_policy.jsonl")
TENANT = "shop"
MIRA, OTHER_CUSTOMER = "cu_mira", "cu_old"
INVOICE, EXPENSIVE, LATE, FOREIGN = "INV-1", "INV-2", "INV-3", "INV-9"


class Mesh(Channel):
    """One channel to all services. It simulates services that are down, and a process that dies after a call.

    After the call of the method `stops_after` its caller gets no response: it hangs until it is cancelled.
    """

    def __init__(self, services: dict[str, Channel], nowhere: Channel) -> None:
        self._services, self._nowhere = services, nowhere
        self.down: set[str] = set()
        self.stops_after: str | None = None
        self.stopped = asyncio.Event()
        self.calls: list[tuple[str, Message]] = []

    async def unary(
        self, rpc: Rpc[RequestT, ResponseT], request: RequestT, *, deadline: Deadline, headers: Headers = ()
    ) -> ResponseT:
        """Make a call that has a minute, however long its policy gives it: tests do not depend on speed."""
        self.calls.append((rpc.method, request))
        response = await self._to(rpc).unary(rpc, request, deadline=Deadline.after(60), headers=headers)
        if rpc.method == self.stops_after:
            self.stopped.set()
            await asyncio.Event().wait()
        return response

    async def stream(
        self,
        rpc: StreamingRpc[RequestT, ResponseT],
        request: RequestT,
        *,
        deadline: Deadline | None,
        headers: Headers = (),
    ) -> AsyncGenerator[ResponseT, None]:
        self.calls.append((rpc.method, request))
        async for response in self._to(rpc).stream(rpc, request, deadline=deadline, headers=headers):
            yield response

    def _to(self, rpc: Method[Any, Any]) -> Channel:
        name = rpc.service.split(".")[1]
        return self._nowhere if name in self.down else self._services[name]


@dataclass
class Shop:
    """The mesh of the shop, and its support agent."""

    mesh: Mesh
    agent: CompiledStateGraph[Any, Any, Any, Any]
    _numbers: Any = field(default_factory=count)

    def config(self, thread: str = "") -> Any:
        return {"configurable": {"thread_id": thread or f"thread-{next(self._numbers)}"}}

    async def ask(self, message: str, customer: str = MIRA, config: Any = None) -> dict[str, Any]:
        """Run the agent on a message, accept the refund that it proposes, if any, and return its output."""
        config = config or self.config()
        output = await self.run({"customer_id": customer, "message": message}, config)
        return await self.run(Command(resume="yes"), config) if "__interrupt__" in output else output

    async def run(self, given: Any, config: Any) -> dict[str, Any]:
        """Run the agent from the given input, or with None resume its thread from the last checkpoint."""
        output: dict[str, Any] = await self.agent.ainvoke(given, self.in_run(config), durability="sync")
        return output

    def in_run(self, config: RunnableConfig) -> RunnableConfig:
        """Add the context of a run on this shop."""
        return with_run_context(config, RunContext(self.mesh, TENANT, "tester", "run-1", Deadline.after(120)))

    async def state(self, config: Any) -> dict[str, Any]:
        return (await self.agent.aget_state(config)).values

    async def call(self, rpc: Rpc[RequestT, ResponseT], request: RequestT) -> ResponseT:
        """Call a service directly, as staff would."""
        headers = [(metadata.TENANT, TENANT), (metadata.IDEMPOTENCY_KEY, f"setup-{next(self._numbers)}")]
        return await self.mesh.unary(rpc, request, deadline=Deadline.after(60), headers=headers)

    async def refunded(self, invoice_id: str) -> int:
        """Return the refunded amount of the invoice's charge, in minor units."""
        found = await self.call(billing.BillingService.GetInvoice, billing.GetInvoiceRequest(invoice_id=invoice_id))
        charge_id = found.invoice.charge_ids[0]
        charge = await self.call(billing.BillingService.GetCharge, billing.GetChargeRequest(charge_id=charge_id))
        return charge.charge.refunded.amount_minor

    async def ticket(self, ticket_id: str) -> ticketing.Ticket:
        request = ticketing.GetTicketRequest(ticket_id=ticket_id)
        return (await self.call(ticketing.TicketingService.GetTicket, request)).ticket

    async def tickets(self) -> list[ticketing.Ticket]:
        found = await self.call(ticketing.TicketingService.SearchTickets, ticketing.SearchTicketsRequest())
        return list(found.tickets)

    async def publish(self, document_id: str, title: str, text: str) -> None:
        document = retrieval.DocumentInput(document_id=document_id, title=title, text=text)
        request = retrieval.IngestDocumentsRequest(documents=[document])
        await self.call(retrieval.RetrievalService.IngestDocuments, request)


@asynccontextmanager
async def open_shop(folder: Path) -> AsyncIterator[Shop]:
    """Open the shop over the databases in `folder`; a new folder has no customers and articles."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        built = {
            "billing": build_billing(BillingSettings(database_url=SecretUrl(_url(folder, "billing")))),
            "crm": build_crm(CrmSettings(database_url=SecretUrl(_url(folder, "crm")))),
            "model": build_model(ModelSettings(database_url=SecretUrl(_url(folder, "model")))),
            "retrieval": build_retrieval(RetrievalSettings(database_url=SecretUrl(_url(folder, "retrieval")))),
            "ticketing": build_ticketing(TicketingSettings(database_url=SecretUrl(_url(folder, "ticketing")))),
        }
        services = {name: (await enter(running(await enter(opened)))).channel for name, opened in built.items()}
        mesh = Mesh(services, await enter(Channel("127.0.0.1:1")))
        database = await enter(open_database(_url(folder, "orchestrator"), MIGRATIONS))
        commits = await enter(GroupCommit(SqlBatchWriter(database)).running())
        shop = Shop(mesh, graph.compile(checkpointer=LogSaver(database, commits)))
        yield shop


def _url(folder: Path, name: str) -> str:
    return f"sqlite+aiosqlite:///{folder}/{name}.db"


async def fill(shop: Shop) -> None:
    """Add the sample's refund policy, customers, invoices and articles to a new shop."""
    policy = json_format.Parse(REFUND_POLICY.read_text(), billing.SetRefundPolicyRequest())
    await shop.call(billing.BillingService.SetRefundPolicy, policy)
    for customer_id, name in ((MIRA, "Mira Odenwald"), (OTHER_CUSTOMER, "Old Hand")):
        await shop.call(crm.CrmService.CreateCustomer, crm.CreateCustomerRequest(customer_id=customer_id, name=name))
    ink = (("Rowan Red ink, 50 ml", 18_90), ("Fallow 90 notebook A5", 14_50))
    await sell(shop, INVOICE, MIRA, *ink)
    await sell(shop, EXPENSIVE, MIRA, ("Bittern gold nib pen", 189_00))
    await sell(shop, LATE, MIRA, *ink, days_ago=31)
    await sell(shop, FOREIGN, OTHER_CUSTOMER, *ink)
    documents = [_article(path) for path in sorted(ARTICLES.glob("*.md"))]
    request = retrieval.IngestDocumentsRequest(documents=documents)
    await shop.call(retrieval.RetrievalService.IngestDocuments, request)


def _article(path: Path) -> retrieval.DocumentInput:
    text = path.read_text()
    return retrieval.DocumentInput(document_id=path.name, title=text.partition("\n")[0].lstrip("# "), text=text)


async def sell(shop: Shop, invoice_id: str, customer: str, *lines: tuple[str, int], days_ago: int = 2) -> None:
    """Create an invoice with its delivered order, and charge its total."""
    issued = Timestamp()
    issued.FromDatetime(datetime.now(UTC) - timedelta(days=days_ago))
    request = billing.CreateInvoiceRequest(
        invoice_id=invoice_id,
        customer_id=customer,
        lines=[billing.InvoiceLine(description=text, quantity=1, unit_price=_eur(price)) for text, price in lines],
        issue_time=issued,
    )
    result = await shop.call(billing.BillingService.CreateInvoice, request)
    charge = billing.ChargeRequest(invoice_id=invoice_id, amount=result.invoice.total)
    await shop.call(billing.BillingService.Charge, charge)
    order = crm.AddRecordRequest(
        customer_id=customer,
        kind="order",
        record_id=invoice_id.replace("INV", "TT"),
        title=lines[0][0],
        status="delivered",
        attributes={"invoice_id": invoice_id},
    )
    await shop.call(crm.CrmService.AddRecord, order)


def _eur(amount: int) -> Money:
    return Money(currency_code="EUR", amount_minor=amount)
