"""Emergencies in messages."""

import time

import pytest
from graphmesh_nodes.guardrails.urgency import Topic, urgency_of


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("I cannot go on, I want to kill myself", "self-harm"),
        ("Ich will mich umbringen", "self-harm"),
        ("死にたい", "self-harm"),
        ("Mon enfant a avalé de l'encre", "poison"),
        ("Dziecko wypiło atrament", "poison"),
        ("A splinter of the bottle is in my eye and it is bleeding", "injury"),
        ("Ik steek jullie winkel in brand", "threat"),
        ("My card was stolen", "account-takeover"),
        ("Someone else used my account", "account-takeover"),
        ("У меня украли карту", "account-takeover"),
        ("Somebody withdrew 500 EUR from my account and it was not me", "account-takeover"),
        ("There is a payment that I did not make", "account-takeover"),
        ("Mi abogado se pondrá en contacto", "legal"),
        ("Eliminate i miei dati personali", "privacy"),
        ("My lawyer knows that I want to kill myself", "self-harm"),
    ],
)
def test_emergencies_are_recognised(text: str, topic: Topic) -> None:
    """The most urgent of several."""
    found = urgency_of(text)
    assert found is not None
    assert found.topic == topic


@pytest.mark.parametrize(
    "text",
    [
        "How do I clean a nib?",
        "This ink is to die for, I am killing it with my new nib!",
        "The bottle leaked over my desk",
        "Wie lange dauert der Versand?",
        "Mine is fine",
        "I am sad that my pen broke",
        "¿La pluma tiene bomba?",
        "Podem processar a minha encomenda?",
        "Hebt u een pen voor de rechter hand?",
        "I do not remember my order number",
        "I never ordered this notebook, you sent the wrong one",
        "",
    ],
)
def test_other_messages_are_none(text: str) -> None:
    assert urgency_of(text) is None


def test_long_texts_take_linear_time() -> None:
    """Twice the text takes about twice as long, with words that begin many phrases."""
    urgency_of("built before")
    short, long = ("i will the my account someone else has used " * times for times in (200, 800))
    began = time.process_time()
    urgency_of(short)
    middle = time.process_time()
    urgency_of(long)
    assert time.process_time() - middle < 12 * (middle - began)
