"""Payments that end with a draft of the next invoice, which only the first execution of its node makes.

A later execution ends the run without it. So an effect of the first one, if its worker is overtaken meanwhile, is no
repeat of another: it is committed after the end of its run, or never.
"""

import asyncio

from graphmesh.billing.v1 import BillingService, CreateInvoiceRequest, InvoiceLine
from graphmesh.common.v1 import Money
from graphmesh_chaos.graphs.payments import RETRY_SECONDS, State, payments_graph
from graphmesh_nodes import Update, call, run_context
from graphmesh_nodes.errors import DependencyError

PAUSE_SECONDS = 12.0
"""Time of the first execution before its effect: more than two leases, so that another worker can overtake its own."""
PAUSING_AMOUNTS = 20
"""Runs pause whose amount is a multiple of this."""


def remember_epoch(state: State) -> Update:
    """Store the epoch, in which the first execution of the next node runs: a later one has a later epoch."""
    return {"epoch": run_context().epoch}


async def draft(state: State) -> Update:
    """Create an invoice of the same amount, in the first execution."""
    if run_context().epoch != int(state["epoch"]):
        return {}
    if state["amount"] % PAUSING_AMOUNTS == 0:
        await asyncio.sleep(PAUSE_SECONDS)
    price = Money(currency_code=state["currency"], amount_minor=state["amount"])
    line = InvoiceLine(description="Draft", quantity=1, unit_price=price)
    invoice_id = f"{state['invoice_id']}-DRAFT"
    request = CreateInvoiceRequest(invoice_id=invoice_id, customer_id=state["customer_id"], lines=[line])
    while True:
        try:
            await call(BillingService.CreateInvoice, request)
        except DependencyError:
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return {}


graph = payments_graph(remember_epoch=remember_epoch, draft=draft)
