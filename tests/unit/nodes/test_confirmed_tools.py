"""An effect that a model requests is made when the person has accepted its proposal, each for itself."""

from typing import Any

import pytest
from graphmesh.billing.v1 import BillingService, GetInvoiceResponse, Invoice, Refund, RefundRequest, RefundResponse
from graphmesh.common.v1 import Money
from graphmesh_nodes import ApprovalRule, GraphmeshChatModel, proposal_of, tools
from graphmesh_nodes.errors import RuleViolated
from graphmesh_nodes.guardrails.confirmation import Proposal
from graphmesh_nodes.testing import GraphHarness
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, ToolMessage

EUROS = Money(currency_code="EUR", amount_minor=500)
QUESTION = {"messages": [{"role": "user", "content": "Refund it."}]}


def refund(number: int) -> dict[str, Any]:
    amount = {"currency_code": "EUR", "amount_minor": 500}
    return {
        "name": "billing_Refund",
        "args": {"charge_id": f"ch_{number}", "amount": amount, "cause": "damaged"},
        "id": f"r{number}",
    }


def harness_of(*calls: dict[str, Any], **options: Any) -> GraphHarness:
    rpcs = (BillingService.GetInvoice, BillingService.Refund)
    agent = create_agent(GraphmeshChatModel(), tools(*rpcs, **{"confirm": proposal_of, **options}))
    harness = GraphHarness(agent)
    harness.serve(BillingService.Refund, refunded)
    harness.serve(BillingService.GetInvoice, lambda request: GetInvoiceResponse(invoice=Invoice(invoice_id="in_1")))
    harness.model_replies(AIMessage("", tool_calls=list(calls)), "Done.")
    return harness


def refunded(request: RefundRequest) -> RefundResponse:
    made = Refund(refund_id="re_1", charge_id=request.charge_id, amount=request.amount)
    return RefundResponse(refund=made, refundable=EUROS)


def answers(result: Any) -> list[str]:
    return [str(one.text) for one in result.state["messages"] if isinstance(one, ToolMessage)]


async def test_effect_waits_for_the_person_and_reads_do_not() -> None:
    read = {"name": "billing_GetInvoice", "args": {"invoice_id": "in_1"}, "id": "a"}
    harness = harness_of(read, refund(1))
    [question] = (await harness.run(QUESTION)).questions
    assert question.value["proposal"]["arguments"]["charge_id"] == "ch_1"
    assert harness.calls(BillingService.Refund) == []
    result = await harness.answer(question, {"proposal": question.value["proposal"]["id"], "accept": True})
    assert (result.status, len(harness.executed(BillingService.Refund))) == ("success", 1)


async def test_effects_of_a_turn_are_confirmed_one_by_one() -> None:
    harness = harness_of(refund(1), refund(2))
    first, second = (await harness.run(QUESTION)).questions
    await harness.answer(first, {"proposal": first.value["proposal"]["id"], "accept": False})
    result = await harness.answer(second, "yes")
    assert [call.request.charge_id for call in harness.executed(BillingService.Refund)] == ["ch_2"]
    assert answers(result)[0].startswith("DECLINED")


async def test_answer_to_another_proposal_confirms_nothing() -> None:
    harness = harness_of(refund(1))
    [question] = (await harness.run(QUESTION)).questions
    result = await harness.answer(question, {"proposal": "0" * 16, "accept": True})
    assert result.questions[0].value["error"].startswith("proposal: ")
    assert harness.calls(BillingService.Refund) == []


async def test_message_in_place_of_an_answer_reaches_the_model() -> None:
    harness = harness_of(refund(1))
    [question] = (await harness.run(QUESTION)).questions
    result = await harness.answer(question, "Only half of it, please.")
    assert '"Only half of it, please."' in answers(result)[0]
    assert harness.calls(BillingService.Refund) == []


async def test_approval_follows_the_confirmation_and_a_crash_repeats_neither() -> None:
    harness = harness_of(refund(1), approvals={BillingService.Refund: ApprovalRule()})
    harness.crash_in_call(BillingService.Refund)
    [question] = (await harness.run(QUESTION)).questions
    [approval] = (await harness.answer(question, "yes")).approvals
    result = await harness.approve(approval)
    assert (result.status, len(harness.executed(BillingService.Refund))) == ("success", 1)


async def test_proposal_that_code_refuses_is_not_put_to_the_person() -> None:
    async def refuse(rpc: Any, state: Any, request: Any) -> Proposal:
        raise RuleViolated("the person has not asked for money", rule="refund.not_asked_for")

    result = await harness_of(refund(1), confirm=refuse).run(QUESTION)
    assert answers(result) == ["RULE_VIOLATED: the person has not asked for money"]


def test_hidden_fields_are_in_no_schema() -> None:
    [refund_tool] = tools(BillingService.Refund, hidden=("policy_exception",))
    assert "policy_exception" not in str(refund_tool.args)
    with pytest.raises(ValueError, match="bound fields of no tool: policy_excepton"):
        tools(BillingService.Refund, hidden=("policy_excepton",))
