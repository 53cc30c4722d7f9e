"""Customer support: answers from articles and records, refunds that the customer confirms, and people for all else.

    receive ─► understand ─┬► customer ──┐           ┌► draft ◄► validate ──────────────────────┐
       │            │      ├► orders ────┤           ├► refund_status ──────────────────────────┤
       │            │      ├► invoices ──┼► decide ──┼► preview ─► propose ─► refund ─► report ─┼► finish
       │            │      └► knowledge ─┘           │               │ ▲                        │
       │            │                                │   next_turn ◄─┘ └─ preview ◄─ refund     │
       └────────────┴────────────────────────────────┴─► hand_over ─────────────────────────────┘

An emergency is recognised in `receive`, before any model and any record, and is handed over at once. A refund is a
structured proposal of what the customer's own records support; `propose` parks the run until the customer has accepted
or declined exactly that, and another message in place of an answer begins the next turn. Billing decides what may be
refunded: in `preview`, and once more inside of the refund, with an approval where its policy requires one.

A node that requires a person sets `reason`; the edges after it then lead to `hand_over`.
"""

from typing import Literal

from graphmesh.billing.v1 import BillingService
from graphmesh.crm.v1 import CrmService
from graphmesh.model.v1 import ModelService
from graphmesh.retrieval.v1 import RetrievalService
from graphmesh.ticketing.v1 import TicketingService
from graphmesh_nodes import Limits, declare, routed
from langgraph.graph import END, START, StateGraph

from support import answering, decisions, handover, prompts, records, refunding, understanding
from support.policy import SupportPolicy
from support.state import Request, Response, State

LOOKUPS = ("customer", "orders", "invoices", "knowledge")
"""Read in parallel; `decide` waits for all of them."""


def after_receive(state: State) -> Literal["hand_over", "finish", "understand"]:
    if state["reason"]:
        return "hand_over"
    return "finish" if state["step"] == "finish" else "understand"


def after_understand(state: State) -> list[str]:
    return ["hand_over"] if state["reason"] else list(LOOKUPS)


def after_decide(state: State) -> Literal["hand_over", "finish", "preview", "refund_status", "draft"]:
    return state["step"] or "finish"


def after_preview(state: State) -> Literal["hand_over", "propose"]:
    return "hand_over" if state["reason"] else "propose"


def after_propose(state: State) -> Literal["hand_over", "refund", "finish", "next_turn"]:
    if state["reason"]:
        return "hand_over"
    if state["accepted"]:
        return "refund"
    return "finish" if state["outcome"] == "declined" else "next_turn"


def after_refund(state: State) -> Literal["hand_over", "preview", "report"]:
    if state["reason"]:
        return "hand_over"
    return "report" if state["refund_id"] else "preview"


def after_answer(state: State) -> Literal["hand_over", "finish"]:
    return "hand_over" if state["reason"] else "finish"


def after_validate(state: State) -> Literal["hand_over", "finish", "draft"]:
    if state["faults"] and not state["reason"] and state["outcome"] == "answered":
        return "draft"
    return after_answer(state)


graph = StateGraph(State, input_schema=Request, output_schema=Response)

graph.add_node("receive", understanding.receive)
graph.add_node("next_turn", understanding.next_turn)
graph.add_node("understand", understanding.understand)
graph.add_node("customer", records.customer)
graph.add_node("orders", records.orders)
graph.add_node("invoices", records.invoices)
graph.add_node("knowledge", records.knowledge)
graph.add_node("decide", decisions.decide)
graph.add_node("preview", refunding.preview)
graph.add_node("propose", refunding.propose)
graph.add_node("refund", refunding.refund)
graph.add_node("report", refunding.report)
graph.add_node("refund_status", refunding.refund_status)
graph.add_node("draft", answering.draft)
graph.add_node("validate", answering.validate)
graph.add_node("hand_over", handover.hand_over)
graph.add_node("finish", answering.finish)

graph.add_edge(START, "receive")
graph.add_conditional_edges("receive", routed(after_receive, "reason", "step"))
graph.add_conditional_edges("next_turn", routed(after_receive, "reason", "step"))
graph.add_conditional_edges("understand", routed(after_understand, "reason"), ["hand_over", *LOOKUPS])
graph.add_edge(list(LOOKUPS), "decide")
graph.add_conditional_edges("decide", routed(after_decide, "step", "category"))
graph.add_conditional_edges("preview", routed(after_preview, "reason"))
graph.add_conditional_edges("propose", routed(after_propose, "reason", "accepted", "outcome"))
graph.add_conditional_edges("refund", routed(after_refund, "reason", "refund_id"))
graph.add_edge("report", "finish")
graph.add_conditional_edges("refund_status", routed(after_answer, "reason"))
graph.add_edge("draft", "validate")
graph.add_conditional_edges(
    "validate", routed(after_validate, "reason", "outcome", faults=lambda state: ", ".join(state["faults"]))
)
graph.add_edge("hand_over", "finish")
graph.add_edge("finish", END)

declare(
    graph,
    tools=[
        BillingService.GetCharge,
        BillingService.ListInvoices,
        BillingService.PreviewRefund,
        BillingService.Refund,
        CrmService.GetCustomer,
        CrmService.ListRecords,
        ModelService.Generate,
        ModelService.StreamGenerate,
        RetrievalService.Search,
        TicketingService.CreateTicket,
    ],
    limits=Limits(max_steps=100, max_tokens=200_000, max_cost=1_000_000),
    policy=SupportPolicy,
    prompts=prompts.VERSIONS,
    customer="customer_id",
)
