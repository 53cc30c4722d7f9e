"""What the word lists understand, and what they do not act on."""

import tomllib

import pytest
from operations.policy import DEFAULT, OperationsPolicy
from operations.state import Change
from operations.understanding import understand

POLICY = OperationsPolicy(**tomllib.loads(DEFAULT.read_text()))


def of_customer(record_id: str, field: str, value: str) -> Change:
    return {"record": "customer", "ids": [record_id], "set": {field: value}}


def of_ticket(field: str, value: str, *ids: str) -> Change:
    return {"record": "ticket", "ids": list(ids or ("T-1",)), "set": {field: value}}


@pytest.mark.parametrize(
    ("message", "change"),
    [
        ("Please set customer 59's tier to plus", of_customer("59", "tier", "plus")),
        ("Set the tier of customer 59 to PLUS", of_customer("59", "tier", "plus")),
        ("Put ticket T-1 into the queue legal", of_ticket("queue", "legal")),
        ("Weise die Tickets T-1 und T-2 zu: anna@example.org", None),
        ("Mettez le statut du ticket T-1 à solved", of_ticket("status", "solved")),
        ("Mueve el ticket T-1 a la cola legal", of_ticket("queue", "legal")),
        ("Sposta il ticket T-1 nella coda legal", of_ticket("queue", "legal")),
        ("Mova o ticket T-1 para a fila legal", of_ticket("queue", "legal")),
        ("Verplaats ticket T-1 naar de wachtrij legal", of_ticket("queue", "legal")),
        ("Przenieś zgłoszenie T-1 do kolejki legal", of_ticket("queue", "legal")),
        ("Set the priority of tickets T-1, T-2 and T-3 to low.", of_ticket("priority", "low", "T-1", "T-2", "T-3")),
        ("Set the tier of cu_1 to vip. Thanks!", of_customer("cu_1", "tier", "vip")),
        ("Change the company of cu_1 to Back to Nature Ltd.", of_customer("cu_1", "company", "Back to Nature Ltd")),
        ("Set the tier of cu_1 to vip, and that of cu_2.", None),
        ("Set the tier of cu_1 to vip. Set the tier of cu_2 to vip.", None),
        ("Set the tier and the email of cu_1 to vip", None),
        ("Never set the tier of cu_1 to vip", None),
        ("If she pays, set the tier of cu_1 to vip", None),
        ("We set the tier of cu_1 to vip yesterday", None),
        ("Who set the tier of cu_1 to vip?", None),
        ("Setze die Stufe von cu_1 keinesfalls auf vip", None),
        ("Zmień poziom klienta cu_1 na vip, jeśli zapłaci", None),
        ("Set the priority of all tickets to high", None),
        ("Set the tier of all customers to vip, as cu_1 asked", None),
    ],
)
def test_understands(message: str, change: Change | None) -> None:
    assert understand(message, POLICY).change == change


@pytest.mark.parametrize("message", ["undo that", "Mach das rückgängig!", "Annule ça.", "Deshazlo", "Cofnij to."])
def test_understands_that_a_change_is_to_be_undone(message: str) -> None:
    assert understand(message, POLICY).undo


@pytest.mark.parametrize("message", ["do not undo that", "undo that and delete cu_1", "can you undo that?"])
def test_undoes_nothing_that_is_more_than_a_request_to_undo(message: str) -> None:
    assert not understand(message, POLICY).undo


@pytest.mark.parametrize("part", ["set T-1 to ", "to ", "T-1 ", "ä", "email ", "\u200b"])
def test_long_messages_are_not_understood(part: str) -> None:
    assert understand(part * (200_000 // len(part)), POLICY).change is None
