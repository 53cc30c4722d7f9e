"""Customer support: answers from the shop's knowledge, grants small refunds, and hands everything else to a person.

    receive ─► classify ─┬► customer ──┐
                         ├► orders ────┤          ┌► preview ◄► refund ─► confirm ─┐
                         ├► invoices ──┼► assess ─┤                                ├─► finish
                         └► knowledge ─┘          └► draft ─► validate ────────────┘
                                                  any of them ─► hand_over

What may be refunded is decided by billing: `preview` reads the decision, and where it needs an approval, `refund` parks
the run until an approver has decided. Billing decides again inside of the refund; where the charge has changed
meanwhile, `preview` follows once more.

A node that requires a person sets `reason`; the edges after it then lead to `hand_over`.
"""

from typing import Literal

from langgraph.graph import END, START, StateGraph

from support import nodes
from support.state import Request, Response, State

LOOKUPS = ("customer", "orders", "invoices", "knowledge")
"""Read in parallel; `assess` waits for all of them."""


def after_receive(state: State) -> Literal["hand_over", "classify"]:
    return "hand_over" if state["reason"] else "classify"


def after_assess(state: State) -> Literal["hand_over", "preview", "draft"]:
    if state["reason"]:
        return "hand_over"
    return "preview" if state["claim"] else "draft"


def after_preview(state: State) -> Literal["hand_over", "refund"]:
    return "hand_over" if state["reason"] else "refund"


def after_refund(state: State) -> Literal["hand_over", "preview", "confirm"]:
    if state["reason"]:
        return "hand_over"
    return "confirm" if state["refund_id"] else "preview"


def after_draft(state: State) -> Literal["hand_over", "validate"]:
    return "hand_over" if state["reason"] else "validate"


def after_validate(state: State) -> Literal["hand_over", "finish"]:
    return "hand_over" if state["reason"] else "finish"


graph = StateGraph(State, input_schema=Request, output_schema=Response)

graph.add_node("receive", nodes.receive)
graph.add_node("classify", nodes.classify)
graph.add_node("customer", nodes.customer)
graph.add_node("orders", nodes.orders)
graph.add_node("invoices", nodes.invoices)
graph.add_node("knowledge", nodes.knowledge)
graph.add_node("assess", nodes.assess)
graph.add_node("preview", nodes.preview)
graph.add_node("refund", nodes.refund)
graph.add_node("confirm", nodes.confirm)
graph.add_node("draft", nodes.draft)
graph.add_node("validate", nodes.validate)
graph.add_node("finish", nodes.finish)
graph.add_node("hand_over", nodes.hand_over)

graph.add_edge(START, "receive")
graph.add_conditional_edges("receive", after_receive)
for name in LOOKUPS:
    graph.add_edge("classify", name)
graph.add_edge(list(LOOKUPS), "assess")
graph.add_conditional_edges("assess", after_assess)
graph.add_conditional_edges("preview", after_preview)
graph.add_conditional_edges("refund", after_refund)
graph.add_edge("confirm", "finish")
graph.add_conditional_edges("draft", after_draft)
graph.add_conditional_edges("validate", after_validate)
graph.add_edge("finish", END)
graph.add_edge("hand_over", END)
