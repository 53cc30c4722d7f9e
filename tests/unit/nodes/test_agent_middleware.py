"""LangChain's own middleware and structured output in agents whose tools are RPCs: each effect once."""

from typing import Any

import pytest
from graphmesh.billing.v1 import BillingService, Refund, RefundRequest, RefundResponse
from graphmesh.common.v1 import Money
from graphmesh.model.v1 import ModelService
from graphmesh_nodes import ApprovalRule, GraphmeshChatModel, tools
from graphmesh_nodes.errors import ProviderMisconfigured
from graphmesh_nodes.testing import GraphHarness
from langchain.agents import create_agent
from langchain.agents.middleware import (
    ClearToolUsesEdit,
    ContextEditingMiddleware,
    HumanInTheLoopMiddleware,
    ModelCallLimitMiddleware,
    ModelFallbackMiddleware,
    ModelRetryMiddleware,
    PIIMiddleware,
    SummarizationMiddleware,
    TodoListMiddleware,
    ToolCallLimitMiddleware,
    ToolRetryMiddleware,
)
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import interrupt
from pydantic import BaseModel

EUROS = Money(currency_code="EUR", amount_minor=500)
REFUND = {"charge_id": "ch_1", "amount": {"currency_code": "EUR", "amount_minor": 500}, "cause": "damaged"}
QUESTION = {"messages": [{"role": "user", "content": "Refund it. I am ada@example.org."}]}


class Outcome(BaseModel):
    """The outcome of a request."""

    refunded: bool


def refunds(*ids: str, **changes: Any) -> AIMessage:
    calls = [{"name": "billing_Refund", "args": {**REFUND, **changes}, "id": one} for one in ids]
    return AIMessage("", tool_calls=calls)


def harness_of(*replies: Any, approvals: Any = None, **options: Any) -> GraphHarness:
    billing = tools(BillingService, approvals=approvals or {})
    return served(GraphHarness(create_agent(GraphmeshChatModel(), billing, **options)), *replies)


def served(harness: GraphHarness, *replies: Any) -> GraphHarness:
    made = iter(range(100))

    def refund(request: RefundRequest) -> RefundResponse:
        made_refund = Refund(
            refund_id=f"re_{next(made)}", charge_id=request.charge_id, amount=request.amount, cause=request.cause
        )
        return RefundResponse(refund=made_refund, refundable=EUROS)

    harness.serve(BillingService.Refund, refund)
    harness.model_replies(*replies)
    return harness


def answers(result: Any) -> list[str]:
    return [str(one.text) for one in result.state["messages"] if isinstance(one, ToolMessage)]


def done(harness: GraphHarness) -> int:
    return len(harness.executed(BillingService.Refund))


REVIEW = HumanInTheLoopMiddleware(interrupt_on={"billing_Refund": True})


async def test_person_decides_on_each_call_of_a_turn() -> None:
    harness = harness_of(refunds("a", "b", "c"), "Done.", middleware=[REVIEW])
    [question] = (await harness.run(QUESTION)).questions
    assert len(question.value["action_requests"]) == 3
    edited = {"name": "billing_Refund", "args": {**REFUND, "charge_id": "ch_2"}}
    decisions = [{"type": "approve"}, {"type": "reject", "message": "no"}, {"type": "edit", "edited_action": edited}]
    result = await harness.answer(question, {"decisions": decisions})
    assert result.text == "Done."
    assert {call.request.charge_id for call in harness.executed(BillingService.Refund)} == {"ch_1", "ch_2"}
    assert done(harness) == 2
    assert sum("rejected" in answer for answer in answers(result)) == 1


async def test_reviewed_calls_happen_once_after_a_crash() -> None:
    harness = harness_of(refunds("a", "b"), "Done.", middleware=[REVIEW])
    [question] = (await harness.run(QUESTION)).questions
    harness.crash_after("tools")
    result = await harness.answer(question, {"decisions": [{"type": "approve"}] * 2})
    assert result.status == "success"
    assert done(harness) == 2


@pytest.mark.parametrize("crashes", [False, True])
async def test_two_approvals_of_a_turn_are_answered_apart(crashes: bool) -> None:
    rule = ApprovalRule(question=lambda state, request: f"Refund {request.charge_id}?")
    harness = harness_of(refunds("a", "b"), "Done.", approvals={BillingService.Refund: rule})
    first, second = (await harness.run(QUESTION)).approvals
    assert first.approval_id != second.approval_id
    assert (await harness.approve(first)).status == "interrupted"
    if crashes:
        harness.crash_after("tools")
    result = await harness.deny(second)
    assert result.status == "success"
    assert done(harness) == 1
    assert sum("APPROVAL_DENIED" in answer for answer in answers(result)) == 1


async def test_structured_output_as_a_tool() -> None:
    reply = AIMessage("", tool_calls=[{"name": "Outcome", "args": {"refunded": True}, "id": "o"}])
    harness = harness_of(refunds("a"), reply, response_format=ToolStrategy(Outcome))
    result = await harness.run(QUESTION)
    assert result.state["structured_response"] == Outcome(refunded=True)
    assert done(harness) == 1


async def test_structured_output_of_the_provider() -> None:
    harness = harness_of(refunds("a"), Outcome(refunded=True), response_format=ProviderStrategy(Outcome, strict=True))
    result = await harness.run(QUESTION)
    assert result.state["structured_response"] == Outcome(refunded=True)
    assert '"refunded"' in harness.prompts[0].response_schema_json
    assert harness.prompts[0].strict


async def test_effect_is_not_repeated_by_a_retry_of_tools() -> None:
    """The tool's own errors are texts; a lost response, which it raises, is retried under the same key."""
    retry = ToolRetryMiddleware(max_retries=2, initial_delay=0.0, jitter=False)
    harness = harness_of(refunds("a"), "Done.", middleware=[retry])
    harness.lose_response(BillingService.Refund, times=3)
    result = await harness.run(QUESTION)
    assert result.status == "success"
    assert done(harness) == 1


@pytest.mark.parametrize(
    "middleware",
    [
        ModelFallbackMiddleware(GraphmeshChatModel(model="other")),
        ModelRetryMiddleware(max_retries=1, initial_delay=0.0, jitter=False),
    ],
)
async def test_model_that_fails_is_replaced_or_called_again(middleware: Any) -> None:
    harness = harness_of(refunds("a"), "Done.", middleware=[middleware])
    harness.fail(ModelService, ProviderMisconfigured(provider="twin", rejected="key"), times=1)
    result = await harness.run(QUESTION)
    assert (result.status, done(harness)) == ("success", 1)


@tool
def ask(question: str) -> str:
    """Ask a person."""
    return str(interrupt(question))


@pytest.mark.parametrize("make", ["agent", "tool node"])
async def test_question_of_a_tool_repeats_no_effect_beside_it(make: str) -> None:
    """The node of both is executed again with the answer."""
    both = refunds("a")
    both.tool_calls.append({"type": "tool_call", "name": "ask", "args": {"question": "Sure?"}, "id": "q"})
    mine = [*tools(BillingService), ask]
    graph = create_agent(GraphmeshChatModel(), mine) if make == "agent" else one_node(mine)
    harness = served(GraphHarness(graph), both, "Done.")
    [question] = (await harness.run(QUESTION)).questions
    result = await harness.answer(question, "yes")
    assert result.status == "success"
    assert "yes" in answers(result)
    assert done(harness) == 1


def one_node(mine: list[Any]) -> Any:
    """A graph with one task for all tool calls of a message."""
    model = GraphmeshChatModel().bind_tools(mine)

    async def think(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("model", think)
    builder.add_node("tools", ToolNode(mine))
    builder.add_edge(START, "model").add_conditional_edges("model", tools_condition).add_edge("tools", "model")
    return builder


MIDDLEWARE = {
    "summarization": SummarizationMiddleware(GraphmeshChatModel(), trigger=("messages", 3), keep=("messages", 2)),
    "todo list": TodoListMiddleware(),
    "model calls": ModelCallLimitMiddleware(run_limit=5),
    "tool calls": ToolCallLimitMiddleware(run_limit=5),
    "personal data": PIIMiddleware("email"),
    "context editing": ContextEditingMiddleware(edits=[ClearToolUsesEdit(trigger=1, keep=0)]),
}


@pytest.mark.parametrize("middleware", MIDDLEWARE.values(), ids=MIDDLEWARE.keys())
async def test_middleware_keeps_effects_apart(middleware: Any) -> None:
    """Equal calls of one turn and of the next are effects of their own, each once, also after a crash."""
    harness: GraphHarness = harness_of(lambda prompt: reply(prompt, harness), middleware=[middleware])
    harness.crash_after("tools")
    result = await harness.run(QUESTION)
    assert (result.status, result.epoch) == ("success", 2)
    assert done(harness) == 3


def reply(prompt: Any, harness: GraphHarness) -> Any:
    if not prompt.tools:
        return "a summary"
    return {0: refunds("a", "b"), 2: refunds("a")}.get(done(harness), "Done.")
