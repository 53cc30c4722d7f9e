"""A model's answer is proposed only where the message has it as a whole."""

from typing import Any

import pytest
from graphmesh.ticketing import v1 as ticketing

from tests.unit.operations.desk import Desk, accept, harness_of

HIGH = "Set the priority of ticket T-1 to high."


def parsed(record: str = "ticket", **fields: Any) -> dict[str, Any]:
    return {"kind": "change", "record": record, "ids": [], "where": {}, "set": {}, **fields}


def of_customer(**values: str) -> dict[str, Any]:
    return parsed("customer", ids=["cu_1"], set=values)


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.customers["cu_1"].phone = "+49 1"
    desk.tickets["1"] = ticketing.Ticket(ticket_id="1", customer_id="cu_2", priority="normal", version=1)
    return desk


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (HIGH, parsed(where={"customer_id": ""}, set={"priority": "high"})),
        (HIGH, parsed(where={"queue": " "}, set={"priority": "high"})),
        (HIGH, parsed(ids=["T-1"], where={"customer_id": ""}, set={"priority": "high"})),
        (HIGH, parsed(ids=["1"], set={"priority": "high"})),
        (HIGH, parsed(ids=["T-1"], set={"assignee": ""})),
        (HIGH, parsed(ids=["T-1"], set={"assignee": "."})),
        ("Set the phone number of cu_1 to +49 555 1.", of_customer(phone="")),
        ("Set the phone number of cu_1 to +49 555 1.", of_customer(phone="555 1")),
        ("Set the phone number of cu_1 to +49 555 1.", of_customer(phone="+49 555")),
        ("Change the email address of cu_1 to nadia@example.org.uk.", of_customer(email="nadia@example.org")),
        ("Change the email address of cu_1 to x.nadia@example.org", of_customer(email="nadia@example.org")),
        ("Please never touch the email of cu_1, nadia@example.org is wrong.", of_customer(email="nadia@example.org")),
        ("Bitte bei cu_1 nicht mehr nadia@example.org eintragen.", of_customer(email="nadia@example.org")),
    ],
)
async def test_parts_and_what_is_negated_are_not_proposed(desk: Desk, message: str, answer: dict[str, Any]) -> None:
    result = await harness_of(desk, model=answer).run({"message": message})
    assert (result.questions, result.output["outcome"]) == ([], "clarify")


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        ("cu_1: email → nadia@example.org.", of_customer(email="nadia@example.org")),
        ("Ring “+49  555 1” is the phone of (CU_1)!", of_customer(phone="+49 555 1")),
        (
            "All Open tickets of cu_1 get high",
            parsed(where={"customer_id": "cu_1", "status": "Open"}, set={"priority": "High"}),
        ),
    ],
)
async def test_whole_names_are_proposed_in_any_notation(desk: Desk, message: str, answer: dict[str, Any]) -> None:
    harness = harness_of(desk, model=answer)
    assert (await accept(harness, await harness.run({"message": message}))).output["outcome"] == "applied"


@pytest.mark.parametrize("part", ["cu_1 ", "cu_1", "1 ", "1", "."])
async def test_long_messages_take_linear_time(desk: Desk, part: str) -> None:
    answer = of_customer(phone=part * 100)
    result = await harness_of(desk, model=answer).run({"message": part * (20_000 // len(part))})
    assert result.questions == []
