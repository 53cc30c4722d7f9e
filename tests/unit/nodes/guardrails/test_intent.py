"""What messages are about, by their words."""

import pytest
from graphmesh_nodes.guardrails.intent import Act, Cause, intent_of


@pytest.mark.parametrize(
    ("text", "cause", "language"),
    [
        ("The bottle was cracked. Could you please refund the 18.90 EUR?", "damaged", "en"),
        ("The parcel never arrived, I want my money back", "missing", "en"),
        ("Ich möchte eine Erstattung, das Tintenglas war zerbrochen", "damaged", "de"),
        ("Ich habe das Paket nicht erhalten und möchte mein Geld zurück", "missing", "de"),
        ("Le flacon est cassé, pourriez-vous me rembourser 18,90 € ?", "damaged", "fr"),
        ("El frasco llegó roto, quiero un reembolso", "damaged", "es"),
        ("Ho ricevuto un articolo sbagliato, vorrei un rimborso", "wrong", "it"),
        ("O frasco chegou partido, quero um reembolso", "damaged", "pt"),
        ("De fles kwam kapot aan, kunt u mij 18,90 euro terugbetalen?", "damaged", "nl"),
        ("Butelka przyszła rozbita, proszę o zwrot 18,90 EUR", "damaged", "pl"),
    ],
)
def test_requests_for_money(text: str, cause: Cause, language: str) -> None:
    intent = intent_of(text)
    assert (intent.act, intent.wants_money, intent.negated) == ("asks_for", True, False)
    assert (intent.cause, intent.language) == (cause, language)


@pytest.mark.parametrize(
    ("text", "act"),
    [
        ("Mine is fine", "tells"),
        ("I do not want the 18.90 back", "tells"),
        ("Please do not refund me", "tells"),
        ("Ne me remboursez surtout pas les 18,90 EUR", "tells"),
        ("Ich möchte keine Erstattung", "tells"),
        ('My neighbour wrote "Please refund the 18.90 EUR"', "tells"),
        ("When will the money arrive?", "asks_about"),
        ("How do I get a refund?", "asks_about"),
        ("Would you refund me if the ink broke?", "asks_about"),
        ("Se la penna si rompe, mi rimborsate?", "asks_about"),
        ("Wann kommt meine Erstattung?", "asks_about"),
        ("My friend says you refund everything", "tells"),
        ("Thanks for the refund of 18.90 EUR", "tells"),
        ("Thank you very much!", "thanks"),
        ("yes", "other"),
        ("INV-1", "other"),
    ],
)
def test_what_is_no_request_for_money(text: str, act: Act) -> None:
    intent = intent_of(text)
    assert (intent.act, intent.wants_money) == (act, False)
