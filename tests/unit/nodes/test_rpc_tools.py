"""Prebuilt agents call RPCs as tools, each effect of a message once."""

from typing import Any

import pytest
from graphmesh.billing.v1 import (
    BillingService,
    GetInvoiceRequest,
    GetInvoiceResponse,
    Invoice,
    Refund,
    RefundRequest,
    RefundResponse,
)
from graphmesh.common.v1 import Money
from graphmesh.ticketing.v1 import TicketingService
from graphmesh_nodes import ApprovalRule, GraphmeshChatModel, tools
from graphmesh_nodes.errors import ConnectionLost, NotFound, Unreachable
from graphmesh_nodes.testing import GraphHarness, HarnessError
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

REFUND = {"charge_id": "ch_1", "amount": {"currency_code": "EUR", "amount_minor": 500}, "cause": "damaged"}
EUROS = Money(currency_code="EUR", amount_minor=500)
QUESTION = {"messages": [{"role": "user", "content": "Refund it."}]}


def refunds(*ids: str) -> AIMessage:
    """A message that requests one equal refund for each id."""
    return AIMessage("", tool_calls=[{"name": "billing_Refund", "args": REFUND, "id": one} for one in ids])


def read() -> AIMessage:
    return AIMessage("", tool_calls=[{"name": "billing_GetInvoice", "args": {"invoice_id": "in_1"}, "id": "read"}])


def agent(**options: Any) -> Any:
    return create_agent(GraphmeshChatModel(), tools(BillingService, **options))


def tool_node(**options: Any) -> Any:
    """One task for all calls of a message."""
    builder = StateGraph(MessagesState)
    model = GraphmeshChatModel().bind_tools(tools(BillingService))

    async def think(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    def more(state: MessagesState) -> str:
        return "tools" if state["messages"][-1].tool_calls else "__end__"  # type: ignore[union-attr]

    builder.add_node("model", think)
    builder.add_node("tools", ToolNode(tools(BillingService, **options)))
    builder.add_edge(START, "model").add_conditional_edges("model", more).add_edge("tools", "model")
    return builder


AGENTS = [agent, tool_node]


def harness_of(graph: Any, *replies: Any) -> GraphHarness:
    harness, made = GraphHarness(graph), iter(range(10))
    harness.serve(BillingService.Refund, lambda request: refunded(next(made), request))
    harness.serve(BillingService.GetInvoice, an_invoice)
    harness.model_replies(*replies, "Done.")
    return harness


def refunded(number: int, request: RefundRequest) -> RefundResponse:
    refund = Refund(refund_id=f"re_{number}", charge_id=request.charge_id, amount=request.amount, cause=request.cause)
    return RefundResponse(refund=refund, refundable=EUROS)


def an_invoice(request: GetInvoiceRequest) -> GetInvoiceResponse:
    invoice = Invoice(invoice_id=request.invoice_id, customer_id="cu_1", total=EUROS, outstanding=EUROS)
    return GetInvoiceResponse(invoice=invoice)


def answers(result: Any) -> list[tuple[str, str]]:
    """The answers of tools that the model got, each with its status."""
    return [(str(one.text), one.status) for one in result.state["messages"] if isinstance(one, ToolMessage)]


@pytest.mark.parametrize("make", AGENTS)
async def test_agent_calls_rpcs(make: Any) -> None:
    harness = harness_of(make(), read(), refunds("a"))
    result = await harness.run(QUESTION)
    assert result.state["messages"][-1].text == result.text == "Done."
    [(invoice, _), (refund, _)] = answers(result)
    assert '"invoice_id": "in_1"' in invoice
    assert '"refund_id": "re_0"' in refund
    assert len(harness.executed(BillingService.Refund)) == 1


@pytest.mark.parametrize("make", AGENTS)
async def test_equal_calls_of_a_message_are_effects_of_their_own(make: Any) -> None:
    harness = harness_of(make(), refunds("a", "b"))
    result = await harness.run(QUESTION)
    assert len({text for text, _ in answers(result)}) == 2
    assert len(harness.executed(BillingService.Refund)) == 2


@pytest.mark.parametrize("make", AGENTS)
async def test_crash_repeats_no_effect(make: Any) -> None:
    harness = harness_of(make(), refunds("a", "b"))
    harness.crash_after("tools")
    result = await harness.run(QUESTION)
    assert (result.status, result.epoch) == ("success", 2)
    assert len(harness.calls(BillingService.Refund)) > 2
    assert len(harness.executed(BillingService.Refund)) == 2


@pytest.mark.parametrize("make", AGENTS)
@pytest.mark.parametrize("number", [1, 2])
async def test_crash_between_two_effects_of_a_turn_repeats_none(make: Any, number: int) -> None:
    """The first was made, and the second was not, or was not answered."""
    harness = harness_of(make(), refunds("a", "b"))
    harness.crash_in_call(BillingService.Refund, number=number)
    result = await harness.run(QUESTION)
    assert (result.status, result.epoch) == ("success", 2)
    assert len({text for text, _ in answers(result)}) == 2
    assert len(harness.executed(BillingService.Refund)) == 2


async def test_crash_that_does_not_happen_is_an_error_of_the_test() -> None:
    harness = harness_of(agent(), refunds("a"))
    harness.crash_in_call(BillingService.Refund, number=2)
    with pytest.raises(HarnessError, match="nothing has crashed"):
        await harness.run(QUESTION)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (NotFound(resource="charge", id="ch_1"), "RESOURCE_NOT_FOUND: There is no charge ch_1"),
        (Unreachable(), "UNREACHABLE"),
    ],
)
@pytest.mark.parametrize("make", AGENTS)
async def test_model_receives_what_it_can_work_around(make: Any, error: Any, text: str) -> None:
    harness = harness_of(make(), refunds("a"))
    harness.fail(BillingService.Refund, error)
    result = await harness.run(QUESTION)
    [(answer, status)] = answers(result)
    assert text in answer
    assert (status, result.status) == ("error", "success")


async def test_model_receives_its_wrong_arguments_by_name() -> None:
    wrong = AIMessage("", tool_calls=[{"name": "billing_Refund", "args": {"charge": "ch_1"}, "id": "a"}])
    result = await harness_of(agent(), wrong).run(QUESTION)
    [(answer, _)] = answers(result)
    assert "charge is not a known field" in answer
    assert "charge_id is required" in answer


async def test_effect_whose_outcome_is_open_ends_the_run() -> None:
    """The model would repeat it, under another key."""
    harness = harness_of(agent(), refunds("a"))
    harness.fail(BillingService.Refund, ConnectionLost())
    result = await harness.run(QUESTION)
    assert result.error is not None
    assert (result.error.reason, result.error.may_have_happened) == ("CONNECTION_LOST", True)


async def test_read_that_is_lost_is_left_to_the_model() -> None:
    harness = harness_of(agent(), read())
    harness.fail(BillingService.GetInvoice, ConnectionLost())
    result = await harness.run(QUESTION)
    [(answer, _)] = answers(result)
    assert answer.startswith("CONNECTION_LOST")


@pytest.mark.parametrize("make", AGENTS)
async def test_call_waits_for_its_approval(make: Any) -> None:
    rule = ApprovalRule(question=lambda state, request: f"Refund {request.charge_id}?")
    harness = harness_of(make(approvals={BillingService.Refund: rule}), refunds("a"), "It was denied.")
    result = await harness.run(QUESTION)
    [approval] = result.approvals
    assert (result.status, approval.question) == ("interrupted", "Refund ch_1?")
    result = await harness.approve(approval)
    assert result.status == "success"
    [made] = harness.executed(BillingService.Refund)
    assert made.approval_id == approval.approval_id


@pytest.mark.parametrize("make", AGENTS)
async def test_model_is_told_of_a_denial(make: Any) -> None:
    harness = harness_of(make(approvals={BillingService.Refund: ApprovalRule()}), refunds("a"))
    [approval] = (await harness.run(QUESTION)).approvals
    result = await harness.deny(approval, comment="too much")
    [(answer, status)] = answers(result)
    assert (status, harness.executed(BillingService.Refund)) == ("error", [])
    assert "APPROVAL_DENIED" in answer


async def test_calls_with_one_id_are_refused() -> None:
    result = await harness_of(tool_node(), refunds("a", "a")).run(QUESTION)
    assert all("several tool calls have the id a" in text for text, _ in answers(result))


def test_tools_are_those_for_models() -> None:
    names = {tool.name for tool in tools(BillingService, TicketingService.CreateTicket)}
    assert {"billing_Refund", "ticketing_CreateTicket"} <= names
    assert "billing_CreateInvoice" not in names
    with pytest.raises(ValueError, match=r"approvals of no tool: billing\.Refund"):
        tools(TicketingService, approvals={BillingService.Refund: ApprovalRule()})


async def test_effect_outlasts_an_outage_of_its_service() -> None:
    """Longer than its policy retries, since the model would lose it; a read is left to the model at once."""
    harness = harness_of(agent(), read(), refunds("a"))
    harness.fail(BillingService.Refund, Unreachable(flag="UF"), times=12)
    harness.fail(BillingService.GetInvoice, Unreachable(flag="UF"))
    result = await harness.run(QUESTION)
    assert answers(result)[0][0].startswith("UNREACHABLE")
    assert len(harness.executed(BillingService.Refund)) == 1
    assert len(harness.calls(BillingService.GetInvoice)) == 1
