"""Synchronous nodes call models and agents: they wait for the event loop of the run."""

from typing import Any

import pytest
from graphmesh.billing.v1 import BillingService
from graphmesh_nodes import ApprovalRule, GraphmeshChatModel, tools
from graphmesh_nodes.testing import GraphHarness
from langchain.agents import create_agent
from langgraph.graph import START, MessagesState, StateGraph

from tests.unit.nodes.test_rpc_tools import QUESTION, answers, refunded, refunds

MODEL = GraphmeshChatModel()


def graph_of(node: Any) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("answer", node)
    return builder.add_edge(START, "answer")


def invoke(state: MessagesState) -> dict[str, Any]:
    return {"messages": [MODEL.invoke(state["messages"])]}


def stream(state: MessagesState) -> dict[str, Any]:
    chunks = list(MODEL.stream(state["messages"]))
    assert len(chunks) > 2
    return {"messages": [sum(chunks[1:], chunks[0])]}


@pytest.mark.parametrize("node", [invoke, stream])
async def test_synchronous_node_calls_the_model(node: Any) -> None:
    harness = GraphHarness(graph_of(node))
    harness.model_replies("Good evening, Ada.")
    result = await harness.run(QUESTION)
    assert result.state["messages"][-1].text == result.text == "Good evening, Ada."
    assert [call.tool for call in result.tool_calls] == ["model.StreamGenerate"]


@pytest.mark.parametrize("crashes", [False, True])
async def test_agent_in_a_synchronous_node_makes_each_effect_once(crashes: bool) -> None:
    rule = ApprovalRule(question=lambda state, request: "Refund?")
    agent = create_agent(MODEL, tools(BillingService, approvals={BillingService.Refund: rule}))

    def node(state: MessagesState) -> dict[str, Any]:
        answer: dict[str, Any] = agent.invoke(state)  # type: ignore[arg-type]
        return answer

    harness, made = GraphHarness(graph_of(node)), iter(range(9))
    harness.serve(BillingService.Refund, lambda request: refunded(next(made), request))
    harness.model_replies(refunds("a"), "Done.")
    [approval] = (await harness.run(QUESTION)).approvals
    if crashes:
        harness.crash_after("answer")
    result = await harness.approve(approval)
    assert (result.status, len(answers(result))) == ("success", 1)
    assert len(harness.executed(BillingService.Refund)) == 1


async def test_call_on_the_event_loop_is_refused_with_advice() -> None:
    async def node(state: MessagesState) -> dict[str, Any]:
        return {"messages": [MODEL.invoke(state["messages"])]}

    harness = GraphHarness(graph_of(node))
    with pytest.raises(Exception, match="use ainvoke, astream and abatch"):
        await harness.run(QUESTION)
