"""A response that is not plausible is handled, and not believed."""

from typing import Any

import pytest
from graphmesh.billing.v1 import (
    BillingService,
    Charge,
    GetChargeRequest,
    GetChargeResponse,
    RefundRequest,
    RefundResponse,
)
from graphmesh.billing.v1 import Refund as RefundRecord
from graphmesh.common.v1 import Money
from graphmesh_nodes import degrade, remote
from graphmesh_nodes.fallbacks import Fallback, Node
from graphmesh_nodes.guardrails.tool_outputs import first_broken, has_amounts_in, has_at_most, is_record
from graphmesh_nodes.testing import GraphHarness

from tests.unit.nodes.refund_graph import State, chain, eur, note

LIMIT = 20


def expected(state: State, response: GetChargeResponse) -> str:
    return first_broken(
        is_record(response.charge.charge_id, state["charge_id"]),
        has_at_most(response.refunds, LIMIT),
        has_amounts_in(response, {"EUR"}),
    )


unbelieved = degrade(lambda state, error: note(str(error)))
read = remote(
    BillingService.GetCharge,
    request=lambda state: GetChargeRequest(charge_id=state["charge_id"]),
    update=lambda state, response: note(f"charged {response.charge.amount.amount_minor}"),
    expect=expected,
    fallback=unbelieved,
)


def refund(fallback: Fallback) -> Node:
    return remote(
        BillingService.Refund,
        request=lambda state: RefundRequest(charge_id=state["charge_id"], amount=eur(state["amount"]), cause="damaged"),
        update=lambda state, response: {"refund_id": response.refund.refund_id},
        expect=lambda state, response: is_record(response.refund.charge_id, state["charge_id"]),
        fallback=fallback,
    )


def charge(charge_id: str = "ch_1", amount: int = 500, currency: str = "EUR", refunds: int = 0) -> GetChargeResponse:
    refunded = RefundRecord(refund_id="re_1", amount=eur(1))
    money = Money(currency_code=currency, amount_minor=amount)
    return GetChargeResponse(charge=Charge(charge_id=charge_id, amount=money), refunds=[refunded] * refunds)


async def notes(**nodes: Any) -> list[str]:
    response = nodes.pop("response")
    harness = GraphHarness(chain(**nodes))
    harness.serve(BillingService.GetCharge, lambda request: response)
    harness.serve(BillingService.Refund, lambda request: response)
    return list((await harness.run({"charge_id": "ch_1", "amount": 500})).output["notes"])


async def test_a_plausible_response_is_used() -> None:
    assert await notes(read=read, response=charge(refunds=LIMIT)) == ["charged 500"]


@pytest.mark.parametrize(
    ("response", "rule"),
    [
        (charge(charge_id="ch_2"), "it is of another record than was requested"),
        (charge(amount=-1), "charge.amount is below zero"),
        (charge(currency="XXX"), "charge.amount is in an unknown currency"),
        (charge(refunds=100_000), "it has 100,000 elements, and at most 20 were requested"),
    ],
    ids=["another record", "negative", "unknown currency", "too many"],
)
async def test_another_response_is_handled_by_the_fallback(response: GetChargeResponse, rule: str) -> None:
    [only] = await notes(read=read, response=response)
    assert only == f"billing.GetCharge: the response is not plausible: {rule}"


async def test_an_effect_with_such_a_response_may_have_happened() -> None:
    unknown = degrade(lambda state, error: note(f"{error.reason}, it may have happened: {error.may_have_happened}"))
    response = RefundResponse(refund=RefundRecord(refund_id="re_1", charge_id="ch_2"), refundable=eur(0))
    [only] = await notes(refund=refund(unknown), response=response)
    assert only == "INVALID_RESPONSE, it may have happened: True"
