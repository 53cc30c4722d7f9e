"""Filters select no other records than they state, and what is reported is what was changed."""

from typing import Any

import pytest
from graphmesh.crm import v1 as crm
from graphmesh.ticketing import v1 as ticketing
from operations.replies import differences
from operations.state import Item

from tests.unit.operations.desk import OPEN, Desk, accept, harness_of

ALL = ("T-1", "T-2", "T-3")


def change(*ids: str, **where: str) -> dict[str, Any]:
    filters = {"where": where} if where else {}
    return {
        "change": {"record": "ticket", "set": {"priority": "high"}, **({"ids": list(ids)} if ids else {}), **filters}
    }


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (change(status="OPENED"), "where.status"),
        (change(customer_id=""), "where.customer_id"),
        (change(text="  "), "where.text"),
        (change("T-1", status="closed"), "not both"),
        (change(), "ids"),
        (change(colour="red"), "where.colour"),
    ],
)
async def test_filter_that_breaks_a_rule_is_named(given: dict[str, Any], named: str) -> None:
    output = (await harness_of(Desk()).run(given)).output
    assert (output["outcome"], named in output["answer"]) == ("clarify", True)


@pytest.mark.parametrize(
    "where", [{"customer_id": "cu_1"}, {"queue": "legal"}, {"priority": "low"}, {"status": "closed"}]
)
async def test_search_that_returns_other_records_is_not_believed(where: dict[str, str]) -> None:
    desk = Desk()
    other = ticketing.Ticket(ticket_id="T-3", customer_id="cu_2", queue="normal", priority="normal", status=OPEN)
    harness = harness_of(desk)
    harness.serve(
        ticketing.TicketingService.SearchTickets,
        lambda request: ticketing.SearchTicketsResponse(tickets=[desk.tickets["T-1"], other]),
    )
    result = await harness.run(change(**where))
    assert (result.questions, result.output["outcome"]) == ([], "unavailable")


@pytest.mark.parametrize("size", [0, 1, 100])
async def test_search_without_an_end_ends(size: int) -> None:
    calls: list[crm.SearchCustomersRequest] = []

    def search(request: crm.SearchCustomersRequest) -> crm.SearchCustomersResponse:
        calls.append(request)
        customers = [crm.Customer(customer_id=f"cu_{number}") for number in range(size)]
        return crm.SearchCustomersResponse(customers=customers, next_page_token="more")

    harness = harness_of(Desk())
    harness.serve(crm.CrmService.SearchCustomers, search)
    given = {"change": {"record": "customer", "where": {"text": "x"}, "set": {"phone": "5"}}}
    result = await harness.run(given)
    assert (result.questions, len(calls) <= 51) == ([], True)


# Reports


async def test_records_with_the_values_already_are_named_and_make_nothing_partial() -> None:
    desk = Desk()
    desk.tickets["T-3"].priority = "high"
    harness = harness_of(desk)
    output = (await accept(harness, await harness.run(change(*ALL)))).output
    assert "2 of 3" not in output["answer"]
    assert output["answer"].endswith("already: T-3.")


async def test_partial_change_states_how_to_undo_it() -> None:
    desk = Desk()
    harness = harness_of(desk)
    result = await harness.run(change(*ALL))
    desk.tickets["T-2"].version = 2
    output = (await accept(harness, result)).output
    assert "2 of 3 records were changed" in output["answer"]
    assert output["change_id"] in output["answer"]


async def test_change_that_was_not_made_is_not_the_last_one() -> None:
    desk = Desk()
    harness = harness_of(desk)
    made = (await accept(harness, await harness.run(change("T-1")))).output["change_id"]
    result = await harness.run(change("T-2"))
    desk.tickets["T-2"].version = 2
    result = await accept(harness, result)
    output = (await harness.answer(result.questions[0], "no")).output
    assert (output["outcome"], output["change_id"]) == ("declined", "")
    [question] = (await harness.run({"message": "undo that"})).questions
    assert question.value["proposal"]["undoes"] == made


def test_differences_show_each_value_on_one_line_between_its_quotation_marks() -> None:
    value = "Acme”\ncu_2: tier “standard” → “plus\u202e\x1b[2J"
    item = Item(id="cu_1", version=1, before={}, after={"company": value}, status="pending", version_after=0)
    assert differences([item], 1) == "cu_1: company – → “Acme' cu_2: tier 'standard' > 'plus[2J”"


# Undoing


async def test_undoing_more_records_than_are_permitted_now_is_refused_and_not_cut() -> None:
    harness = harness_of(Desk())
    made = (await accept(harness, await harness.run(change(*ALL)))).output
    await harness.store.aput(("policies", "operations"), "policy", {"max_records": 2})
    output = (await harness.run({"undo": made["change_id"]})).output
    assert (output["outcome"], "3" in output["answer"]) == ("refused", True)


async def test_undoing_removes_attributes_that_were_not_there() -> None:
    desk = Desk()
    harness = harness_of(desk)
    given = {"change": {"record": "customer", "ids": ["cu_1"], "set": {"attributes.city": "Oslo"}}}
    made = (await accept(harness, await harness.run(given))).output
    assert dict(desk.customers["cu_1"].attributes) == {"city": "Oslo"}
    await accept(harness, await harness.run({"undo": made["change_id"]}))
    assert dict(desk.customers["cu_1"].attributes) == {}


@pytest.mark.parametrize("undo", ["a.b", "..", "x\n", "ü", "langgraph", "chg_0"])
async def test_any_text_in_place_of_a_change_is_answered(undo: str) -> None:
    assert (await harness_of(Desk()).run({"undo": undo})).output["outcome"] == "clarify"


async def test_record_that_another_person_changes_before_it_is_read_back_is_not_undone() -> None:
    desk = Desk()
    harness = harness_of(desk)
    result = await harness.run(change("T-1"))

    def changed_by_another(request: ticketing.GetTicketRequest) -> ticketing.GetTicketResponse:
        desk.tickets["T-1"].queue, desk.tickets["T-1"].version = "legal", 3
        return Desk.GetTicket(desk, request)

    harness.serve(ticketing.TicketingService.GetTicket, changed_by_another)
    made = (await accept(harness, result)).output
    assert (made["outcome"], made["items"][0]["version_after"]) == ("applied", 2)
    output = (await harness.run({"undo": made["change_id"]})).output
    assert (output["outcome"], "T-1" in output["answer"]) == ("refused", True)
