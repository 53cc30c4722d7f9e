"""Graphs that charge an invoice in different ways."""

import asyncio
import operator
from collections.abc import Callable
from typing import Annotated, Any

from graphmesh.billing.v1 import BillingService, ChargeRequest, ChargeResponse, GetInvoiceRequest
from graphmesh.common.v1 import Money
from graphmesh_nodes import RunContext, call, degrade, escalate, instead, remote
from graphmesh_nodes.errors import GraphmeshError
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from typing_extensions import TypedDict

from tests.integration.orchestrator.crashes import HANGS


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


def _graph(**nodes: Any) -> StateGraph[State, RunContext, Input]:
    """The nodes one after the other."""
    graph = StateGraph(State, context_schema=RunContext, input_schema=Input)
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


async def say_sorry(state: State, config: RunnableConfig, runtime: Runtime[RunContext]) -> dict[str, Any]:
    return {"notes": ["another tool was asked"]}


pay = _graph(read=read_invoice, charge=remote(BillingService.Charge, request=_request, update=_charged))

pay_nested = _graph(pay=pay.compile())


def paying(otherwise: Callable[[Any, GraphmeshError], Any]) -> StateGraph[State, RunContext, Input]:
    """Charges; where that cannot be, the update is what `otherwise` makes of it."""
    return _graph(charge=remote(BillingService.Charge, request=_request, update=_charged, fallback=degrade(otherwise)))


pay_degraded = paying(lambda state, error: {"notes": [f"not charged: {error.reason}"]})

pay_instead = _graph(
    charge=remote(BillingService.Charge, request=_request, update=_charged, fallback=instead(say_sorry))
)

pay_escalated = StateGraph(State, context_schema=RunContext, input_schema=Input)
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
pay_escalated.add_node("person", lambda state: {"notes": ["a person was asked"]})
pay_escalated.add_edge(START, "charge")
pay_escalated.add_edge("person", END)


async def charge_then_hang(state: State, config: RunnableConfig, runtime: Runtime[RunContext]) -> dict[str, Any]:
    response = await call(BillingService.Charge, _request(state), config, runtime)
    if state["invoice_id"] in HANGS:
        HANGS.remove(state["invoice_id"])
        await asyncio.Event().wait()
    return _charged(state, response)


pay_hanging = _graph(read=read_invoice, charge=charge_then_hang)

loop = StateGraph(State, context_schema=RunContext, input_schema=Input)
loop.add_node("again", lambda state: {"notes": ["again"]})
loop.add_edge(START, "again")
loop.add_edge("again", "again")


def _fail(state: State) -> dict[str, Any]:
    raise KeyError("secret detail")


failing = _graph(fail=_fail)


async def _sleep(state: State) -> dict[str, Any]:
    await asyncio.Event().wait()
    return {}


slow = _graph(sleep=_sleep)


async def _talk(state: State) -> dict[str, Any]:
    model = GenericFakeChatModel(messages=iter([AIMessage("ink dries in the feed")]))
    said = await model.ainvoke("why does it skip?")
    return {"notes": [str(said.text)]}


talking = _graph(talk=_talk)
