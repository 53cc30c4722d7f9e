"""A tool-using agent for customers: it reads their records, and changes what they confirm.

    receive ─┬► agent ─► review ─┬► (answer)
             │                   ├► quote ─┬► (articles, word for word)
             │                   └─────────┤
             └─────────────────────────────┴► hand_over

`agent` is LangChain's `create_agent` with RPCs as tools. The mesh binds the customer of the input to every call, so
that the model can name no other one; effects wait for the customer's confirmation, and refunds for an approval too.
What is urgent goes to a person before any model. Without a model the agent states records that are named, quotes
articles, and has no effect.
"""

from typing import Literal

from graphmesh.model.v1 import ModelService
from graphmesh_nodes import GraphmeshChatModel, Limits, declare, routed
from graphmesh_nodes.guardrails.middleware import (
    CheckedAnswer,
    ModelFallback,
    QuotedResults,
    UncertainEffects,
    is_offline,
)
from langchain.agents import create_agent
from langgraph.graph import END, START, StateGraph

from tool_agent import checks, nodes, prompts
from tool_agent.policy import Policy
from tool_agent.rpcs import EFFECTS, READS
from tool_agent.state import Request, Response, State
from tool_agent.tools import TOOLS

MAX_MODEL_CALLS = 12
"""Of one turn."""

agent = create_agent(
    GraphmeshChatModel(),
    TOOLS,
    system_prompt=prompts.SYSTEM,
    middleware=[
        ModelFallback(MAX_MODEL_CALLS),
        UncertainEffects(),
        QuotedResults(),
        CheckedAnswer(checks.checked_answer),
    ],
)


def after_receive(state: State) -> Literal["agent", "hand_over"]:
    return "hand_over" if state["reason"] else "agent"


def after_review(state: State) -> Literal["hand_over", "quote", "__end__"]:
    if state["reason"]:
        return "hand_over"
    return "quote" if not state["answer"] and is_offline(state["messages"][-1]) else "__end__"


def after_quote(state: State) -> Literal["hand_over", "__end__"]:
    return "hand_over" if state["reason"] else "__end__"


graph = StateGraph(State, input_schema=Request, output_schema=Response)
graph.add_node("receive", nodes.receive)
graph.add_node("agent", agent)
graph.add_node("review", nodes.review)
graph.add_node("quote", nodes.quote)
graph.add_node("hand_over", nodes.hand_over)
graph.add_edge(START, "receive")
graph.add_conditional_edges("receive", routed(after_receive, "reason"))
graph.add_edge("agent", "review")
graph.add_conditional_edges(
    "review", routed(after_review, "reason", answered=lambda state: bool(state["answer"])), ["hand_over", "quote", END]
)
graph.add_conditional_edges("quote", routed(after_quote, "reason"), ["hand_over", END])
graph.add_edge("hand_over", END)

declare(
    graph,
    tools=[*READS, *EFFECTS, ModelService.Generate, ModelService.StreamGenerate],
    limits=Limits(max_steps=80, max_tokens=200_000, max_effects=6),
    policy=Policy,
    prompts=prompts.VERSIONS,
    customer="customer_id",
)
