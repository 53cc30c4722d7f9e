"""The test kit: a graph in a unit test, with twins of services, a fake clock, answers and forced failures."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from graphmesh.billing.v1 import BillingService, Refund, RefundRequest, RefundResponse
from graphmesh.model.v1 import ModelService
from graphmesh.ticketing.v1 import CreateTicketRequest, TicketingService
from graphmesh_chassis.calls import fingerprint
from graphmesh_contracts import Overrides
from graphmesh_nodes import GraphmeshChatModel, Limits, call, run_context
from graphmesh_nodes.errors import (
    ApprovalExpired,
    ConnectionLost,
    DeadlineExceeded,
    GraphmeshError,
    InvalidRequest,
    NotFound,
    TokenLimit,
    Unreachable,
)
from graphmesh_nodes.testing import FakeClock, GraphHarness, HarnessError, RunNotSuccessful
from langchain_core.messages import AIMessage
from langgraph.config import get_stream_writer
from langgraph.types import interrupt
from pydantic import BaseModel

from tests.unit.nodes.refund_graph import Services, chain, eur, graph, read, refund, ticket

SMALL = {"charge_id": "ch_1", "amount": 500}
LARGE = {"charge_id": "ch_1", "amount": 1890}


def serving(harness: GraphHarness) -> GraphHarness:
    harness.serve_all(BillingService, Services())
    harness.serve_all(TicketingService, Services())
    return harness


@pytest.fixture
def harness() -> GraphHarness:
    return serving(GraphHarness(graph))


async def test_runs_a_graph_against_twins(harness: GraphHarness) -> None:
    result = await harness.run(SMALL)
    assert result.output["refund_id"] == "re_1"
    assert result.output["ticket_id"] == "T-Refund re_1"
    assert result.nodes == ["read", "refund", "ticket"]
    [called] = harness.calls(BillingService.Refund)
    assert called.request == RefundRequest(charge_id="ch_1", amount=eur(500), cause="damaged")
    assert (called.node, len(called.effect_key), called.approval_id) == ("refund", 64, "")
    assert [call.tool for call in result.tool_calls] == [
        "billing.GetCharge",
        "billing.Refund",
        "ticketing.CreateTicket",
    ]


async def test_compiled_graphs_run_too() -> None:
    assert (await serving(GraphHarness(graph.compile())).run(SMALL)).status == "success"


async def test_a_second_run_continues_on_the_thread(harness: GraphHarness) -> None:
    await harness.run(SMALL)
    again = await harness.run({"charge_id": "ch_2", "amount": 1})
    assert again.output["notes"] == ["charged 5000", "charged 5000"]
    assert len({call.effect_key for call in harness.calls(BillingService.Refund)}) == 2


async def test_inputs_are_checked_against_the_schema(harness: GraphHarness) -> None:
    with pytest.raises(InvalidRequest, match=r"input\.amount: is required"):
        await harness.run({"charge_id": "ch_1"})
    with pytest.raises(InvalidRequest, match=r"input\.colour: is not a known field"):
        await harness.run({**SMALL, "colour": "red"})


# Twins


async def test_a_call_without_a_twin_is_named_with_its_remedy() -> None:
    with pytest.raises(HarnessError) as raised:
        await GraphHarness(graph).run(SMALL)
    assert "billing.GetCharge, which has no twin" in str(raised.value)
    assert "harness.serve(BillingService.GetCharge, lambda request: GetChargeResponse(...))" in str(raised.value)


async def test_a_call_without_a_twin_cannot_be_caught_by_a_node() -> None:
    async def careless(state: Any) -> dict[str, Any]:
        try:
            await call(TicketingService.CreateTicket, CreateTicketRequest(subject="Hi"))
        except BaseException:
            return {"notes": ["caught"]}
        raise NotImplementedError

    with pytest.raises(HarnessError, match=r"ticketing\.CreateTicket"):
        await GraphHarness(chain(careless=careless)).run(SMALL)


async def test_twins_may_be_functions_and_change(harness: GraphHarness) -> None:
    def missing(request: Any) -> Any:
        raise NotFound(resource="charge", id=request.charge_id)

    harness.serve(BillingService.GetCharge, missing)
    assert "no such charge" in (await harness.run(SMALL)).output["notes"]
    assert len(harness.calls(BillingService.GetCharge)) == 1


async def test_requests_are_validated() -> None:
    """A request that breaks its contract is refused, as a service refuses it."""
    harness = serving(GraphHarness(chain(refund=refund)))
    result = await harness.run({"charge_id": "not an id", "amount": 0})
    assert isinstance(result.error, InvalidRequest)
    assert {violation.field for violation in result.error.violations} == {"charge_id", "amount"}
    assert harness.executed(BillingService.Refund) == []


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (None, "returned None, not a RefundResponse"),
        (RefundResponse(), "breaks its contract: refund: value is required; refundable"),
    ],
)
async def test_responses_of_twins_are_validated(harness: GraphHarness, response: Any, message: str) -> None:
    harness.serve(BillingService.Refund, lambda request: response)
    with pytest.raises(HarnessError, match=message):
        await harness.run(SMALL)


async def test_a_graph_cannot_change_what_a_twin_was_given(harness: GraphHarness) -> None:
    """Requests are copied for the record and for the twin."""

    def changing(request: RefundRequest) -> Any:
        request.cause = "changed"
        return RefundResponse(refund=Refund(refund_id="re_2"), refundable=eur(0))

    harness.serve(BillingService.Refund, changing)
    await harness.run(SMALL)
    assert harness.calls(BillingService.Refund)[0].request.cause == "damaged"


async def test_an_exception_of_a_twin_reaches_the_test(harness: GraphHarness) -> None:
    def broken(request: RefundRequest) -> RefundResponse:
        raise KeyError("bug")

    harness.serve(BillingService.Refund, broken)
    with pytest.raises(KeyError, match="bug"):
        await harness.run(SMALL)


async def test_output_of_a_failed_run_is_an_error() -> None:
    harness = serving(GraphHarness(chain(refund=refund)))
    result = await harness.run({"charge_id": "ch_1", "amount": 0})
    with pytest.raises(RunNotSuccessful, match=r"it is error: amount: must be positive"):
        _ = result.output


# Effect keys and approvals, as services handle them


IDENTITY = {
    "x-graphmesh-tenant": "default",
    "x-graphmesh-subject": "local",
    "x-graphmesh-scopes": "billing.refund",
}


def sending(*calls: tuple[int, dict[str, str]]) -> tuple[Any, list[str]]:
    """A graph that sends refunds of these amounts with these headers, without what `call` adds; and their outcomes."""
    outcomes: list[str] = []

    async def send(state: Any) -> dict[str, Any]:
        channel, deadline = run_context().channel, run_context().deadline
        for amount, headers in calls:
            request = RefundRequest(charge_id="ch_1", amount=eur(amount), cause="damaged")
            try:
                response = await channel.unary(
                    BillingService.Refund, request, deadline=deadline, headers=[*{**IDENTITY, **headers}.items()]
                )
                outcomes.append(response.refund.refund_id)
            except GraphmeshError as error:
                outcomes.append(error.reason)
        return {}

    return chain(send=send), outcomes


async def test_twins_handle_effect_keys_as_services_do() -> None:
    key = {"idempotency-key": "k"}
    sender, outcomes = sending((1, {}), (1, key), (1, key), (2, key))
    harness = serving(GraphHarness(sender))
    await harness.run(SMALL)
    assert outcomes == ["IDEMPOTENCY_KEY_REQUIRED", "re_1", "re_1", "IDEMPOTENCY_KEY_REUSED"]
    assert len(harness.executed(BillingService.Refund)) == 1


async def test_twins_refuse_an_epoch_that_is_over() -> None:
    run = {"x-graphmesh-run": "run_7"}
    epochs = [{**run, "x-graphmesh-epoch": str(epoch), "idempotency-key": str(epoch)} for epoch in (1, 2)]
    sender, outcomes = sending((1, epochs[1]), (1, epochs[0]))
    await serving(GraphHarness(sender)).run(SMALL)
    assert outcomes == ["re_1", "FENCED"]


async def test_twins_refuse_calls_without_scope_or_approval() -> None:
    required = Overrides(methods={"Refund": {"approval": "APPROVAL_REQUIRED"}})
    key = {"idempotency-key": "k"}
    request = RefundRequest(charge_id="ch_1", amount=eur(1), cause="damaged")
    digest = fingerprint(BillingService.Refund.path, request).hex()
    approved = {**key, "x-graphmesh-approval": "apr_1", "x-graphmesh-approval-digest": digest}
    sender, outcomes = sending((1, key), (2, approved), (1, approved), (1, {"x-graphmesh-scopes": ""}))
    await serving(GraphHarness(sender, overrides={BillingService.NAME: required})).run(SMALL)
    assert outcomes == ["APPROVAL_REQUIRED", "APPROVAL_MISMATCH", "re_1", "SCOPE_MISSING"]


async def test_a_stored_refusal_is_repeated() -> None:
    """The crash comes after the refusal: the second execution gets the stored one, though the twin would accept now."""
    answers = iter([NotFound(resource="charge", id="ch_1")])

    def once(request: Any) -> Any:
        for error in answers:
            raise error
        return RefundResponse(refund=Refund(refund_id="re_1"), refundable=eur(0))

    async def tolerant(state: Any) -> dict[str, Any]:
        request = RefundRequest(charge_id="ch_1", amount=eur(1), cause="damaged")
        try:
            await call(BillingService.Refund, request)
        except NotFound:
            return {"notes": ["refused"]}
        return {"notes": ["refunded"]}

    harness = GraphHarness(chain(tolerant=tolerant))
    harness.serve(BillingService.Refund, once)
    harness.crash_after("tolerant")
    result = await harness.run(SMALL)
    assert result.output["notes"] == ["refused"]
    assert len(harness.calls(BillingService.Refund)) == 2


# Failures


async def test_failures_before_the_call_are_retried_without_waiting(harness: GraphHarness) -> None:
    """Two failures, then success: three attempts under one key, with backoff on the fake clock only."""
    harness.fail(TicketingService.CreateTicket, Unreachable(), times=2)
    before = harness.clock.time()
    async with asyncio.timeout(60):
        result = await harness.run(SMALL)
    assert result.output["ticket_id"] == "T-Refund re_1"
    attempts = harness.calls(TicketingService.CreateTicket)
    assert [type(attempt.error).__name__ for attempt in attempts] == ["Unreachable", "Unreachable", "NoneType"]
    assert len({attempt.effect_key for attempt in attempts}) == 1
    assert len(harness.executed(TicketingService.CreateTicket)) == 1
    assert 0.15 <= harness.clock.time() - before <= 0.3


async def test_a_service_that_stays_down_leads_to_the_fallback(harness: GraphHarness) -> None:
    harness.fail(BillingService, Unreachable())
    result = await harness.run(SMALL)
    assert result.output["notes"] == ["not read: UNREACHABLE", "not refunded: UNREACHABLE"]
    assert len(harness.calls(BillingService.Refund)) == 3
    harness.heal(BillingService)
    assert (await harness.run(SMALL)).output["refund_id"] == "re_1"


async def test_failures_that_envoy_has_retried_are_final(harness: GraphHarness) -> None:
    harness.fail(TicketingService.CreateTicket, Unreachable(flag="UF"))
    assert (await harness.run(SMALL)).output["notes"][-1] == "no ticket: UNREACHABLE"
    assert len(harness.calls(TicketingService.CreateTicket)) == 1


async def test_a_lost_response_leaves_one_effect(harness: GraphHarness) -> None:
    """The first attempt is executed and its response lost; the second gets the stored response."""
    harness.lose_response(BillingService.Refund, times=1)
    assert (await harness.run(SMALL)).output["refund_id"] == "re_1"
    first, second = harness.calls(BillingService.Refund)
    assert (first.executed, type(first.error), first.response) == (True, ConnectionLost, None)
    assert (second.executed, second.error) == (False, None)


async def test_responses_that_stay_lost_may_have_happened(harness: GraphHarness) -> None:
    harness.lose_response(BillingService.Refund)
    result = await harness.run(SMALL)
    assert result.output["notes"][-1] == "not refunded: CONNECTION_LOST, it may have happened"
    assert len(harness.executed(BillingService.Refund)) == 1


# Time


async def test_slow_twins_exceed_the_deadline_of_the_call(harness: GraphHarness) -> None:
    """The policy gives Refund 5 s; the twin takes 6 on the fake clock."""
    twin = Services()

    async def slow(request: RefundRequest) -> Any:
        await harness.clock.sleep(6)
        return await twin.Refund(request)

    harness.serve(BillingService.Refund, slow)
    async with asyncio.timeout(60):
        result = await harness.run(SMALL)
    assert result.output["notes"][-1] == "not refunded: DEADLINE_EXCEEDED, it may have happened"


async def test_calls_end_with_the_deadline_of_the_run() -> None:
    harness = serving(GraphHarness(graph, deadline=timedelta(0)))
    result = await harness.run(SMALL)
    assert result.output["notes"][0] == "not read: DEADLINE_EXCEEDED"
    assert isinstance(harness.calls(BillingService.Refund)[0].error, DeadlineExceeded)


async def test_parallel_sleeps_overlap() -> None:
    clock = FakeClock()
    woken: list[tuple[int, float]] = []

    async def sleep(seconds: int) -> None:
        await clock.sleep(seconds)
        woken.append((seconds, clock.monotonic()))

    await asyncio.gather(sleep(30), sleep(10), sleep(20))
    assert woken == [(10, 10), (20, 20), (30, 30)]


# Approvals and questions


async def test_a_run_parks_until_it_is_approved(harness: GraphHarness) -> None:
    result = await harness.run(LARGE)
    [approval] = result.approvals
    assert (result.status, approval.node, approval.tool) == ("interrupted", "refund", "billing.Refund")
    assert (approval.question, approval.scopes) == ("Refund 1890 of ch_1?", ["approvals.billing"])
    assert approval.arguments["charge_id"] == "ch_1"
    assert harness.calls(BillingService.Refund) == []
    with pytest.raises(RunNotSuccessful, match="it is interrupted"):
        _ = result.output
    result = await harness.approve(approval)
    assert result.output["refund_id"] == "re_1"
    assert harness.calls(BillingService.Refund)[0].approval_id == approval.approval_id


async def test_a_denial_is_a_refusal(harness: GraphHarness) -> None:
    [approval] = (await harness.run(LARGE)).approvals
    assert (await harness.deny(approval)).output["notes"][-1] == "denied: APPROVAL_DENIED"
    assert harness.calls(BillingService.Refund) == []


async def test_approvals_expire_on_the_fake_clock(harness: GraphHarness) -> None:
    await harness.run(LARGE)
    assert (await harness.advance(hours=23)).status == "interrupted"
    result = await harness.advance(days=2)
    assert result.output["notes"][-1] == "denied: APPROVAL_EXPIRED"


async def test_late_approvals_are_refused(harness: GraphHarness) -> None:
    [approval] = (await harness.run(LARGE)).approvals
    harness.clock.advance(timedelta(days=2))
    with pytest.raises(ApprovalExpired):
        await harness.approve(approval)


async def test_the_time_of_a_parked_run_does_not_run(harness: GraphHarness) -> None:
    """An approval may take longer than the run's deadline."""
    [approval] = (await harness.run(LARGE)).approvals
    await harness.advance(hours=20)
    assert (await harness.approve(approval)).output["refund_id"] == "re_1"


async def test_approvals_required_by_the_policy_are_requested() -> None:
    required = Overrides(methods={"CreateTicket": {"approval": "APPROVAL_REQUIRED", "approvers": ["approvals.x"]}})
    harness = serving(GraphHarness(chain(ticket=ticket), overrides={TicketingService.NAME: required}))
    [approval] = (await harness.run(SMALL)).approvals
    assert approval.scopes == ["approvals.x"]
    assert (await harness.approve(approval)).output["ticket_id"] == "T-Refund -"


async def test_questions_are_answered_by_value() -> None:
    def asking(state: Any) -> dict[str, Any]:
        return {"notes": [f"{interrupt('how many?')} {interrupt({'colour': ['red', 'blue']})}"]}

    harness = GraphHarness(chain(asking=asking))
    [first] = (await harness.run(SMALL)).questions
    assert (first.node, first.value) == ("asking", "how many?")
    [second] = (await harness.answer(first, 2)).questions
    assert second.value == {"colour": ["red", "blue"]}
    assert (await harness.answer(second, "red")).output["notes"] == ["2 red"]


async def test_a_run_resumes_when_all_is_answered() -> None:
    builder = chain(start=lambda state: {})
    for side in ("left", "right"):
        builder.add_node(side, lambda state, side=side: {"notes": [f"{side} {interrupt(side)}"]})
        builder.add_edge("start", side)
    harness = GraphHarness(builder)
    left, right = sorted((await harness.run(SMALL)).questions, key=lambda question: question.node)
    assert (await harness.answer(right, "b")).questions == [left]
    assert sorted((await harness.answer(left, "a")).output["notes"]) == ["left a", "right b"]


# Crashes


async def test_an_effect_before_a_crash_happens_once(harness: GraphHarness) -> None:
    """The node is executed again under the same key, and gets the stored response."""
    harness.crash_after("refund")
    result = await harness.run(SMALL)
    assert result.output["refund_id"] == "re_1"
    assert (result.nodes, result.epoch) == (["read", "refund", "refund", "ticket"], 2)
    first, second = harness.calls(BillingService.Refund)
    assert (first.executed, second.executed, first.effect_key == second.effect_key) == (True, False, True)
    assert len(harness.calls(BillingService.GetCharge)) == 1


async def test_a_crash_after_an_approval_needs_no_second_one(harness: GraphHarness) -> None:
    [approval] = (await harness.run(LARGE)).approvals
    harness.crash_after("refund")
    result = await harness.approve(approval)
    assert (result.output["refund_id"], result.epoch) == ("re_1", 3)
    assert len(harness.executed(BillingService.Refund)) == 1


async def test_an_unknown_outcome_is_resolved_after_a_crash(harness: GraphHarness) -> None:
    """The earlier epoch may have sent the effect, so the call is retried beyond the attempts of its policy."""
    harness.crash_after("refund")
    twin = Services()

    async def then_down(request: RefundRequest) -> Any:
        harness.fail(BillingService.Refund, Unreachable(), times=5)
        return await twin.Refund(request)

    harness.serve(BillingService.Refund, then_down)
    assert (await harness.run(SMALL)).output["refund_id"] == "re_1"
    assert len(harness.calls(BillingService.Refund)) == 7


async def test_a_crash_in_the_first_node_repeats_it(harness: GraphHarness) -> None:
    harness.crash_after("read")
    assert (await harness.run(SMALL)).nodes == ["read", "read", "refund", "ticket"]


def test_only_nodes_of_the_graph_crash(harness: GraphHarness) -> None:
    with pytest.raises(ValueError, match="no node refnd; it has read, refund, ticket"):
        harness.crash_after("refnd")


async def test_a_crash_that_does_not_happen_is_an_error_of_the_test() -> None:
    builder = chain(read=read)
    builder.add_node("unused", refund)
    harness = serving(GraphHarness(builder))
    harness.crash_after("unused")
    with pytest.raises(HarnessError, match="before the node unused was executed"):
        await harness.run(SMALL)


# Models, budgets, artifacts, events


class Verdict(BaseModel):
    """Whether to refund."""

    refund: bool


async def judge(state: Any) -> dict[str, Any]:
    model = GraphmeshChatModel()
    text = await model.ainvoke("Is it damaged?")
    verdict = await model.with_structured_output(Verdict).ainvoke("Refund?")
    return {"notes": [str(text.text), str(verdict.refund)]}


async def test_models_reply_with_text_and_values() -> None:
    harness = GraphHarness(chain(judge=judge))
    harness.model_replies("It is.", Verdict(refund=True), input_tokens=60, output_tokens=40, cost=7)
    result = await harness.run(SMALL)
    assert result.output["notes"] == ["It is.", "True"]
    assert [prompt.messages[0].user.text for prompt in harness.prompts] == ["Is it damaged?", "Refund?"]
    assert (result.usage.steps, result.usage.input_tokens, result.usage.output_tokens, result.usage.cost) == (
        1,
        120,
        80,
        14,
    )
    assert result.text.startswith("It is.")


async def test_models_call_tools_and_functions_reply() -> None:
    async def agent(state: Any) -> dict[str, Any]:
        answer = await GraphmeshChatModel().ainvoke("Go")
        return {"notes": [call["name"] for call in answer.tool_calls] or [str(answer.text)]}

    harness = GraphHarness(chain(one=agent, two=agent, three=agent))
    wanted = {"id": "c1", "name": "billing_Refund", "args": {"charge_id": "ch_1"}}
    harness.model_replies(AIMessage("", tool_calls=[wanted]), lambda prompt: prompt.messages[0].user.text.upper())
    assert (await harness.run(SMALL)).output["notes"] == ["billing_Refund", "GO", "GO"]


async def test_a_model_without_a_reply_is_an_error_of_the_test() -> None:
    harness = GraphHarness(chain(judge=judge))
    harness.model_replies("It is.")
    with pytest.raises(HarnessError, match=r"called the model 2 times(.|\n)*Refund\?"):
        await harness.run(SMALL)


async def test_first_reply_of_a_model_is_requested_by_the_method_that_adds_it() -> None:
    with pytest.raises(HarnessError, match=r"harness\.model_replies"):
        await GraphHarness(chain(judge=judge)).run(SMALL)


async def test_models_fail_like_services() -> None:
    harness = GraphHarness(chain(judge=judge))
    harness.fail(ModelService, Unreachable())
    assert isinstance((await harness.run(SMALL)).error, Unreachable)


async def test_budgets_end_runs_between_supersteps() -> None:
    harness = serving(GraphHarness(chain(judge=judge, refund=refund), limits=Limits(max_tokens=20)))
    harness.model_replies("It is.", Verdict(refund=True))
    result = await harness.run(SMALL)
    assert (result.status, type(result.error)) == ("error", TokenLimit)
    assert result.state["notes"] == ["It is.", "True"]
    assert harness.calls(BillingService.Refund) == []


async def test_artifacts_and_custom_events_are_collected() -> None:
    async def report(state: Any) -> dict[str, Any]:
        get_stream_writer()({"progress": 50})
        return {"notes": [await run_context().artifacts.put(b"a long report")]}

    harness = GraphHarness(chain(report=report, read=read))
    serving(harness)
    result = await harness.run(SMALL)
    assert await harness.artifacts.get(result.output["notes"][0]) == b"a long report"
    assert result.custom_events == [{"progress": 50}]
