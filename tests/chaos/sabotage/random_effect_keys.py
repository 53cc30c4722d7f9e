"""Payments whose charge has a new key in every execution, as in a graph that makes its own keys."""

import asyncio
from typing import Any
from uuid import uuid4

from graphmesh.billing.v1 import BillingService, ChargeRequest
from graphmesh.common.v1 import Money
from graphmesh_chaos.graphs.payments import State, payments_graph
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.effect_key import EffectKey
from graphmesh_nodes import run_context
from graphmesh_nodes.calls import call_headers, current_task

LINGER_SECONDS = 4
"""Time after the charge in which a killed orchestrator's run is charged again."""


async def charge(state: State) -> dict[str, Any]:
    money = Money(currency_code=state["currency"], amount_minor=state["amount"])
    policy = run_context().policies.of(BillingService.Charge)
    headers = call_headers(run_context(), policy, current_task(), "charge", EffectKey(uuid4().hex))
    response = await run_context().channel.unary(
        BillingService.Charge,
        ChargeRequest(invoice_id=state["invoice_id"], amount=money),
        deadline=Deadline.after(5),
        headers=headers,
    )
    await asyncio.sleep(LINGER_SECONDS)
    return {"charge_id": response.charge.charge_id}


graph = payments_graph(charge=charge)
