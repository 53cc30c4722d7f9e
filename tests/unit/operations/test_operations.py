"""The operations agent: it changes nothing without a confirmation, verifies what it changes, and can undo it."""

from typing import Any

import pytest
from graphmesh.crm.v1 import CrmService
from graphmesh.model.v1 import ModelService
from graphmesh.ticketing import v1 as ticketing
from graphmesh.ticketing.v1 import TicketingService
from graphmesh_nodes.errors import ApproverIsRequester, Unreachable
from graphmesh_nodes.testing import GraphHarness

from tests.unit.operations.desk import Desk, accept, harness_of

EMAIL = {"message": "Change the email address of customer cu_1 to nadia@example.org."}
ALL_TICKETS = {"message": "Set the priority of all open tickets of customer cu_1 to high."}
TIER = {"change": {"record": "customer", "ids": ["cu_1"], "set": {"tier": "vip"}}}


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def harness(desk: Desk) -> GraphHarness:
    return harness_of(desk)


def effects(harness: GraphHarness) -> int:
    return len(harness.executed(CrmService.UpdateCustomer)) + len(harness.executed(TicketingService.UpdateTicket))


async def test_change_is_proposed_as_a_difference_then_applied_and_verified(desk: Desk, harness: GraphHarness) -> None:
    result = await harness.run(EMAIL)
    [question] = result.questions
    proposal = question.value["proposal"]
    assert proposal["differences"] == [
        {"id": "cu_1", "before": {"email": "cu_1@example.org"}, "after": {"email": "nadia@example.org"}}
    ]
    assert proposal["versions"] == {"cu_1": 1}
    assert effects(harness) == 0
    output = (await accept(harness, result)).output
    assert (output["outcome"], desk.customers["cu_1"].email) == ("applied", "nadia@example.org")
    assert output["change_id"] in output["answer"]


@pytest.mark.parametrize("answer", ["no", "Nein.", {"message": "nie"}])
async def test_declined_change_is_not_made(harness: GraphHarness, answer: Any) -> None:
    [question] = (await harness.run(EMAIL)).questions
    assert (await harness.answer(question, answer)).output["outcome"] == "declined"
    assert effects(harness) == 0


async def test_message_in_place_of_an_answer_is_the_next_request(desk: Desk, harness: GraphHarness) -> None:
    [question] = (await harness.run(EMAIL)).questions
    result = await harness.answer(question, "Set the phone number of cu_1 to +49 555 1.")
    output = (await accept(harness, result)).output
    assert (output["outcome"], desk.customers["cu_1"].phone) == ("applied", "+49 555 1")
    assert desk.customers["cu_1"].email == "cu_1@example.org"


@pytest.mark.parametrize(
    ("roles", "field", "is_permitted"),
    [
        (["operations_agent"], "email", True),
        (["operations_agent"], "tier", False),
        (["operations_lead"], "tier", True),
        (["guest"], "email", False),
        ([], "email", False),
        (["guest", "operations_lead"], "attributes.city", True),
        (["operations_agent"], "attributes.city", False),
        (None, "tier", True),
    ],
)
async def test_roles_decide_before_a_record_is_read(
    desk: Desk, roles: list[str] | None, field: str, is_permitted: bool
) -> None:
    harness = harness_of(desk, roles)
    values = {"tier": "vip", "email": "new@example.org"}
    change = {"record": "customer", "ids": ["cu_1"], "set": {field: values.get(field, "Leeds")}}
    result = await harness.run({"change": change})
    assert bool(result.questions) is is_permitted
    if not is_permitted:
        assert (result.output["outcome"], harness.calls(CrmService.GetCustomer)) == ("refused", [])
        assert "operations_lead" in result.output["answer"]


async def test_change_that_needs_four_eyes_is_approved_by_another_person(desk: Desk, harness: GraphHarness) -> None:
    result = await accept(harness, await harness.run(TIER))
    [approval] = result.approvals
    with pytest.raises(ApproverIsRequester):
        await harness.approve(approval, by="mira")
    assert effects(harness) == 0
    assert (await harness.approve(approval, by="lena")).output["outcome"] == "applied"
    assert desk.customers["cu_1"].tier == 3


async def test_denied_approval_changes_nothing(harness: GraphHarness) -> None:
    [approval] = (await accept(harness, await harness.run(TIER))).approvals
    output = (await harness.deny(approval, by="lena")).output
    assert (output["outcome"], output["change_id"], effects(harness)) == ("refused", "", 0)


async def test_attributes_that_are_not_named_are_kept(desk: Desk, harness: GraphHarness) -> None:
    desk.customers["cu_1"].attributes.update({"city": "Bergen", "vat": "1"})
    change = {"record": "customer", "ids": ["cu_1"], "set": {"attributes.city": "Oslo"}}
    await accept(harness, await harness.run({"change": change}))
    assert dict(desk.customers["cu_1"].attributes) == {"city": "Oslo", "vat": "1"}


# Several records


async def test_bulk_change_is_previewed_and_applied_record_by_record(desk: Desk, harness: GraphHarness) -> None:
    desk.tickets["T-3"].status = ticketing.TicketStatus.TICKET_STATUS_CLOSED
    result = await harness.run(ALL_TICKETS)
    assert result.questions[0].value["proposal"]["count"] == 2
    result = await accept(harness, result)
    assert [desk.tickets[name].priority for name in ("T-1", "T-2", "T-3")] == ["high", "high", "normal"]
    assert [event["done"] for event in result.custom_events if "done" in event] == [1, 2]
    assert result.nodes.count("apply") == 2


async def test_bulk_change_is_exactly_once_through_crashes(desk: Desk, harness: GraphHarness) -> None:
    result = await harness.run(ALL_TICKETS)
    harness.crash_in_call(TicketingService.UpdateTicket, number=2)
    output = (await accept(harness, result)).output
    assert (output["outcome"], effects(harness)) == ("applied", 3)
    assert {one.version for one in desk.tickets.values()} == {2}


async def test_more_records_than_the_policy_permits_are_refused(desk: Desk, harness: GraphHarness) -> None:
    await harness.store.aput(("policies", "operations"), "policy", {"max_records": 2})
    output = (await harness.run(ALL_TICKETS)).output
    assert (output["outcome"], effects(harness)) == ("refused", 0)
    assert "2" in output["answer"]


async def test_change_can_be_undone_and_the_undoing_too(desk: Desk, harness: GraphHarness) -> None:
    await accept(harness, await harness.run(ALL_TICKETS))
    desk.tickets["T-2"].version += 1
    result = await harness.run({"message": "Undo that."})
    assert result.questions[0].value["proposal"]["skipped"] == {"T-2": "conflict"}
    output = (await accept(harness, result)).output
    assert [desk.tickets[name].priority for name in ("T-1", "T-2", "T-3")] == ["normal", "high", "normal"]
    assert "T-2" in output["answer"]
    result = await accept(harness, await harness.run({"undo": output["change_id"]}))
    assert (result.output["outcome"], desk.tickets["T-1"].priority) == ("undone", "high")


async def test_undoing_needs_the_rights_of_the_change(desk: Desk) -> None:
    lead = harness_of(desk)
    [approval] = (await accept(lead, await lead.run(TIER))).approvals
    change_id = (await lead.approve(approval, by="lena")).output["change_id"]
    agent = harness_of(desk, ["operations_agent"])
    for item in await lead.store.asearch(("operations", change_id)):
        await agent.store.aput(item.namespace, item.key, item.value)
    assert (await agent.run({"undo": change_id})).output["outcome"] == "refused"


async def test_unknown_change_cannot_be_undone(harness: GraphHarness) -> None:
    assert "chg_0" in (await harness.run({"undo": "chg_0"})).output["answer"]


# Failures


async def test_record_that_changes_meanwhile_is_proposed_again(desk: Desk, harness: GraphHarness) -> None:
    result = await harness.run(EMAIL)
    desk.customers["cu_1"].email, desk.customers["cu_1"].version = "other@example.org", 2
    result = await accept(harness, result)
    [question] = result.questions
    assert question.value["proposal"]["differences"][0]["before"] == {"email": "other@example.org"}
    assert (await accept(harness, result)).output["outcome"] == "applied"


async def test_unreachable_service_is_named(harness: GraphHarness) -> None:
    harness.fail(CrmService, Unreachable(flag="UF"))
    output = (await harness.run(EMAIL)).output
    assert (output["outcome"], "crm" in output["answer"], len(output["notes"])) == ("unavailable", True, 1)


async def test_uncertain_change_is_resolved_by_reading_it_back(desk: Desk, harness: GraphHarness) -> None:
    result = await harness.run(EMAIL)
    harness.lose_response(CrmService.UpdateCustomer)
    output = (await accept(harness, result)).output
    assert (output["outcome"], desk.customers["cu_1"].email) == ("applied", "nadia@example.org")


async def test_change_that_cannot_be_verified_is_handed_over(desk: Desk, harness: GraphHarness) -> None:
    result = await harness.run(EMAIL)
    harness.lose_response(CrmService.UpdateCustomer)
    harness.fail(CrmService.GetCustomer, Unreachable(flag="UF"))
    output = (await accept(harness, result)).output
    assert (output["outcome"], len(desk.opened)) == ("escalated", 1)
    assert "T-99" in output["answer"]


async def test_without_a_model_the_word_lists_understand(harness: GraphHarness) -> None:
    harness.fail(ModelService, Unreachable(flag="UF"))
    assert (await accept(harness, await harness.run(EMAIL))).output["outcome"] == "applied"


# Models


def parsed(**fields: Any) -> dict[str, Any]:
    return {"kind": "change", "record": "customer", "ids": [], "where": {}, "set": {}, **fields}


@pytest.mark.parametrize(
    "answer",
    [
        parsed(ids=["cu_2"], set={"email": "nadia@example.org"}),
        parsed(ids=["cu_1"], set={"email": "thief@example.net"}),
        parsed(where={"text": "example"}, set={"email": "nadia@example.org"}),
        parsed(ids=["cu_1", "cu_3"], set={"email": "nadia@example.org"}),
        parsed(ids=["cu_1"], set={}),
        parsed(ids=["cu_1"], set={"password": "nadia@example.org"}),
    ],
)
async def test_models_propose_nothing_that_the_message_does_not_name(desk: Desk, answer: dict[str, Any]) -> None:
    harness = harness_of(desk, model=answer)
    result = await harness.run(EMAIL)
    assert result.questions == []
    assert result.output["outcome"] in ("clarify", "refused")


@pytest.mark.parametrize(
    "message",
    ["Do not change the email of cu_1 to nadia@example.org.", "Would it help if I set cu_1 to nadia@example.org?"],
)
async def test_models_make_no_change_of_a_message_that_requests_none(desk: Desk, message: str) -> None:
    harness = harness_of(desk, model=parsed(ids=["cu_1"], set={"email": "nadia@example.org"}))
    assert (await harness.run({"message": message})).questions == []


async def test_models_understand_what_no_word_list_does(desk: Desk) -> None:
    harness = harness_of(desk, model=parsed(record="ticket", ids=["T-1"], set={"status": "solved"}))
    result = await harness.run({"message": "Nadia called, T-1 is sorted and may be put to rest."})
    assert (await accept(harness, result)).output["outcome"] == "applied"
    assert desk.tickets["T-1"].status == 3


@pytest.mark.parametrize("given", [{}, {"message": "x", "undo": "chg_1"}])
async def test_input_has_one_request(harness: GraphHarness, given: dict[str, Any]) -> None:
    assert (await harness.run(given)).output["outcome"] == "clarify"
