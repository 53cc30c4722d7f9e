"""Internal operations: changes records of customers and tickets for staff, after a confirmation, and verifies it.

    receive ─► understand ─► permit ─► read ─► confirm ─► apply ─► verify ─► report
                   ▲                    ▲         │        │  ▲       │         ▲
                   └──── message ───────┼─────────┘        │  │       └► hand_over
                                        └── conflict ──────┴──┘ one record a superstep

A change is proposed as a difference to the records in their present versions. It is applied when the requester has
confirmed it, and where the policy requires it another person has approved it, one record after the other: a run that is
cancelled stops at the next one. What was changed can be undone, which is a change of its own.
"""

from collections import Counter
from typing import Literal

from graphmesh.crm.v1 import CrmService
from graphmesh.model.v1 import ModelService
from graphmesh.ticketing.v1 import TicketingService
from graphmesh_nodes import Limits, declare, routed
from langgraph.graph import END, START, StateGraph

from operations import change_nodes, prompts, request_nodes
from operations.change_nodes import MAX_ATTEMPTS, with_status
from operations.policy import OperationsPolicy
from operations.state import Request, Response, State

TOOLS = (
    ModelService.Generate,
    ModelService.StreamGenerate,
    CrmService.GetCustomer,
    CrmService.SearchCustomers,
    CrmService.UpdateCustomer,
    TicketingService.GetTicket,
    TicketingService.SearchTickets,
    TicketingService.GetTicketPolicy,
    TicketingService.UpdateTicket,
    TicketingService.CreateTicket,
)
MAX_SUPERSTEPS = 600
"""One for each record of the largest change that a policy may permit, and the rest."""


def after_receive(state: State) -> Literal["understand", "__end__"]:
    return "__end__" if state["outcome"] else "understand"


def after_understand(state: State) -> Literal["permit", "__end__"]:
    return "__end__" if state["outcome"] else "permit"


def after_permit(state: State) -> Literal["read", "__end__"]:
    return "__end__" if state["outcome"] else "read"


def after_read(state: State) -> Literal["confirm", "__end__"]:
    return "__end__" if state["outcome"] else "confirm"


def after_confirm(state: State) -> Literal["apply", "understand", "__end__"]:
    if state["outcome"]:
        return "__end__"
    return "apply" if state["decision"] == "accepted" else "understand"


def after_apply(state: State) -> Literal["apply", "read", "verify"]:
    if with_status(state["items"], "pending"):
        return "apply"
    is_stale = all(item["status"] == "conflict" for item in state["items"]) and not state["undoes"]
    return "read" if is_stale and state["attempt"] < MAX_ATTEMPTS else "verify"


def after_verify(state: State) -> Literal["hand_over", "report"]:
    return "hand_over" if with_status(state["items"], "uncertain") else "report"


def statuses(state: State) -> str:
    """Return how many records have each status."""
    counted = Counter(item["status"] for item in state["items"])
    return ", ".join(f"{count} {status}" for status, count in counted.items())


builder = StateGraph(State, input_schema=Request, output_schema=Response)

builder.add_node("receive", request_nodes.receive)
builder.add_node("understand", request_nodes.understand_request)
builder.add_node("permit", request_nodes.permit)
builder.add_node("read", change_nodes.read)
builder.add_node("confirm", change_nodes.confirm_change)
builder.add_node("apply", change_nodes.apply)
builder.add_node("verify", change_nodes.verify)
builder.add_node("hand_over", change_nodes.hand_over)
builder.add_node("report", change_nodes.report)

builder.add_edge(START, "receive")
builder.add_conditional_edges("receive", routed(after_receive, "outcome"))
builder.add_conditional_edges("understand", routed(after_understand, "outcome"))
builder.add_conditional_edges("permit", routed(after_permit, "outcome"))
builder.add_conditional_edges("read", routed(after_read, "outcome"))
builder.add_conditional_edges("confirm", routed(after_confirm, "outcome", "decision"))
builder.add_conditional_edges("apply", routed(after_apply, "undoes", "attempt", items=statuses))
builder.add_conditional_edges("verify", routed(after_verify, items=statuses))
builder.add_edge("hand_over", "report")
builder.add_edge("report", END)

declare(
    builder,
    tools=TOOLS,
    limits=Limits(max_steps=1_500, max_tokens=50_000, max_effects=501),
    policy=OperationsPolicy,
    prompts=prompts.VERSIONS,
)
graph = builder.compile().with_config(recursion_limit=MAX_SUPERSTEPS)
