"""Graphs that charge an invoice in different ways, and graphs that loop, fail, hang and stream."""

import asyncio
import operator
from collections.abc import Callable
from typing import Annotated, Any

from graphmesh.billing.v1 import BillingService, ChargeRequest, ChargeResponse, GetInvoiceRequest
from graphmesh.common.v1 import Money
from graphmesh_nodes import call, degrade, escalate, instead, remote
from graphmesh_nodes.errors import GraphmeshError
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from tests.integration.orchestrator.node_faults import HANG_AFTER_CHARGE


class Input(TypedDict):
    invoice_id: str
    amount: int


class State(Input, total=False):
    notes: Annotated[list[str], operator.add]


def _request(state: State) -> ChargeRequest:
    return ChargeRequest(
        invoice_id=state["invoice_id"], amount=Money(currency_code="EUR", amount_minor=state["amount"])
    )


def _charged(state: State, response: ChargeResponse) -> dict[str, Any]:
    return {"notes": [f"charged {response.charge.amount.amount_minor}"]}


def _graph(**nodes: Any) -> StateGraph[State, None, Input]:
    """A chain of the nodes."""
    graph = StateGraph(State, input_schema=Input)
    before = START
    for name, node in nodes.items():
        graph.add_node(name, node)
        graph.add_edge(before, name)
        before = name
    graph.add_edge(before, END)
    return graph


read_invoice = remote(
    BillingService.GetInvoice,
    request=lambda state: GetInvoiceRequest(invoice_id=state["invoice_id"]),
    update=lambda state, response: {"notes": [f"owes {response.invoice.outstanding.amount_minor}"]},
)


async def call_another_tool(state: State) -> dict[str, Any]:
    return {"notes": ["another tool was called"]}


pay = _graph(read=read_invoice, charge=remote(BillingService.Charge, request=_request, update=_charged))

pay_nested = _graph(pay=pay.compile())


def pay_with_fallback(update: Callable[[Any, GraphmeshError], Any]) -> StateGraph[State, None, Input]:
    """A graph that charges; where that fails, `update` returns the update."""
    return _graph(charge=remote(BillingService.Charge, request=_request, update=_charged, fallback=degrade(update)))


pay_degraded = pay_with_fallback(lambda state, error: {"notes": [f"not charged: {error.reason}"]})

pay_instead = _graph(
    charge=remote(BillingService.Charge, request=_request, update=_charged, fallback=instead(call_another_tool))
)

pay_escalated = StateGraph(State, input_schema=Input)
pay_escalated.add_node(
    "charge",
    remote(
        BillingService.Charge,
        request=_request,
        update=_charged,
        fallback=escalate("person", lambda state, error: {"notes": [f"for a person: {error.reason}"]}),
    ),
    destinations=("person",),
)
pay_escalated.add_node("person", lambda state: {"notes": ["a person takes over"]})
pay_escalated.add_edge(START, "charge")
pay_escalated.add_edge("person", END)


async def charge_then_hang(state: State) -> dict[str, Any]:
    response = await call(BillingService.Charge, _request(state))
    if state["invoice_id"] in HANG_AFTER_CHARGE:
        HANG_AFTER_CHARGE.remove(state["invoice_id"])
        await asyncio.Event().wait()
    return _charged(state, response)


pay_hanging = _graph(read=read_invoice, charge=charge_then_hang)

loop = StateGraph(State, input_schema=Input)
loop.add_node("again", lambda state: {"notes": ["again"]})
loop.add_edge(START, "again")
loop.add_edge("again", "again")


def _fail(state: State) -> dict[str, Any]:
    raise KeyError("secret detail")


failing = _graph(fail=_fail)


async def _hang(state: State) -> dict[str, Any]:
    await asyncio.Event().wait()
    return {}


hanging = _graph(hang=_hang)


async def _generate(state: State) -> dict[str, Any]:
    model = GenericFakeChatModel(messages=iter([AIMessage("ink dries in the feed")]))
    message = await model.ainvoke("why does it skip?")
    return {"notes": [str(message.text)]}


talking = _graph(talk=_generate)
