"""The runs of a trial: an invoice for each, the request that it be paid, and somebody who agrees or not."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from graphmesh.billing.v1 import BillingService, CreateInvoiceRequest, InvoiceLine
from graphmesh.common.v1 import Money
from graphmesh.orchestrator.v1 import Run, RunStatus
from graphmesh_chassis import metadata
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.errors import DependencyError, GraphmeshError
from graphmesh_client import Client

from graphmesh_chaos.facts import APPROVED, DENIED, Answer, Order
from graphmesh_chaos.schedule import Submission

GRAPH = "payments"
TENANT = "default"
AT_ONCE = 24
"""Runs that callers wait for at a time."""
ROOM = 4
"""How many times its charge an invoice admits: a rule of billing must not hide that it is charged twice."""
PATIENCE = 60.0
"""Seconds for which callers repeat what is not answered."""
LOOK_SECONDS = 0.2
"""Between two looks at what was asked."""
OPINIONS = ((True,), (True, True), (True, False), (True,), (False,), (True, True, True))
"""What people say to an approval, all at once."""
RUN_SECONDS = 600.0
"""A run's own time; it ends long before."""


def order_of(submission: Submission) -> Order:
    """What a submission asks for; nobody has answered yet."""
    number = f"{submission.number:05}"
    return Order(f"chaos-{number}", f"INV-{number}", f"cu_{number}", submission.amount, answers=())


async def bill(mesh: Channel, orders: Sequence[Order]) -> None:
    """Issue the invoices."""
    for order in orders:
        price = Money(currency_code="EUR", amount_minor=order.amount * ROOM)
        line = InvoiceLine(description="Ink", quantity=1, unit_price=price)
        request = CreateInvoiceRequest(invoice_id=order.invoice_id, customer_id=order.customer_id, lines=[line])
        headers = [(metadata.TENANT, TENANT), (metadata.IDEMPOTENCY_KEY, order.request_id)]
        await mesh.unary(BillingService.CreateInvoice, request, timeout=10, headers=headers)


async def submit(edge: str, submissions: Sequence[Submission]) -> list[Order]:
    """Ask for every run at its time, and wait for its end; returns the orders with the answers."""
    turns, began = asyncio.Semaphore(AT_ONCE), asyncio.get_running_loop().time()

    async def ask(client: Client, submission: Submission) -> Order:
        await asyncio.sleep(began + submission.at - asyncio.get_running_loop().time())
        async with turns:
            return await paid(client, order_of(submission), submission.copies)

    async with Client(edge, tenant=TENANT, patience=PATIENCE) as client:
        return list(await asyncio.gather(*(ask(client, submission) for submission in submissions)))


async def paid(client: Client, order: Order, copies: int) -> Order:
    """Ask for a run so many times at once, and wait for its end where anybody is answered."""
    answers = await asyncio.gather(*(created(client, order) for _ in range(copies)))
    told = tuple(run_id for run_id in answers if run_id)
    with suppress(DependencyError):
        await asyncio.gather(*(ended(client, run_id) for run_id in told[:1]))
    return replace(order, answers=told)


async def created(client: Client, order: Order) -> str:
    """The run_id of the answer; empty where there is none for too long."""
    wanted = {"invoice_id": order.invoice_id, "amount": order.amount}
    with suppress(DependencyError):
        run = await client.create_run(GRAPH, wanted, request_id=order.request_id, timeout=RUN_SECONDS)
        return run.run_id
    return ""


async def ended(client: Client, run_id: str) -> Run:
    """The run when it has ended, which it does when others have answered what it asks."""
    while (run := await client.wait_run(run_id, timeout=PATIENCE)).status == RunStatus.RUN_STATUS_INTERRUPTED:
        await asyncio.sleep(LOOK_SECONDS)
    return run


class Answering:
    """People who answer all approvals: some do so twice at once, and some are not of one mind."""

    def __init__(self, edge: str) -> None:
        self._edge = edge
        self.answers: list[Answer] = []
        """Those of which it was said that they hold."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Answering"]:
        """As long as the body runs."""
        task = asyncio.create_task(self._run(), name="answering")
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        async with Client(self._edge, tenant=TENANT, patience=PATIENCE) as client:
            while True:
                with suppress(DependencyError):
                    asked = await client.approvals.find(limit=500)
                    await asyncio.gather(*(self._answer(client, one.approval_id) for one in asked))
                await asyncio.sleep(LOOK_SECONDS)

    async def _answer(self, client: Client, approval_id: str) -> None:
        opinions = OPINIONS[int(approval_id[-4:], 16) % len(OPINIONS)]
        await asyncio.gather(*(self._say(client, approval_id, approve) for approve in opinions))

    async def _say(self, client: Client, approval_id: str, approve: bool) -> None:
        with suppress(GraphmeshError):  # refused, or not known whether it was taken
            await client.approvals.respond(approval_id, approve=approve)
            self.answers.append(Answer(approval_id, APPROVED if approve else DENIED))
