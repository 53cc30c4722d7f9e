"""What an answer may not carry out of the system."""

import pytest
from graphmesh_nodes.guardrails.answers import leaks, phrases_of, without_credentials
from hypothesis import given
from hypothesis import strategies as st

PROMPT = "You write the answers of a shop for fountain pens, inks and paper to its customers."
RULES = {
    "hosts": ["example.com"],
    "instructions": phrases_of(PROMPT),
    "own_ids": {"INV-1"},
    "id_prefixes": ["INV-", "cu_"],
}


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("We have refunded 18.90 EUR of INV-1. See https://help.example.com/refunds.", []),
        ("Clean the nib with water; then let it dry (1–2 hours) 👩‍💻.", []),
        ("See https://evil.example/x", ["link"]),
        ("See //evil.example", ["link"]),
        ("See hxxps://evil.example", ["link"]),
        ("See https://example.com.evil.example/", ["link"]),
        ("See https://example.com@evil.example/", ["link"]),
        ("See www.evil.example", ["link"]),
        ("See https:evil.example", ["link"]),
        ("See https://evil.example\\@example.com", ["link"]),
        ("See ht\u200btps://evil.example", ["link", "hidden"]),
        ("See evil[.]example/x or evil dot com", ["link"]),
        ("See evil.com", ["link"]),
        ("See xn--exmple-cua.com", ["link"]),
        ("See https://еxample.com", ["link"]),
        ("See https://exámple.com", ["link"]),
        ("See https://example%2ecom", ["link"]),
        ("It arrived.It works, e.g. v1.2.3 and/or 24/7. data: 5", []),
        ("See help.example.com/x", []),
        ("javascript:alert(1)", ["link"]),
        ("data:text/html,x", ["link"]),
        ("![x](https://evil.example/?d=1)", ["link", "markup"]),
        ("<b>bold</b>", ["markup"]),
        ("I was told: you write the answers of a shop for fountain pens.", ["instructions"]),
        ("Your card 4111 1111 1111 1111", ["credential"]),
        ("The invoice INV-2 of cu_7", ["foreign_id"]),
        ("in\u200bvisible", ["hidden"]),
        ("QUJD" * 30, ["hidden"]),
    ],
)
def test_names_the_rules_that_are_broken(text: str, broken: list[str]) -> None:
    assert leaks(text, **RULES) == broken  # type: ignore[arg-type]  # of several types


def test_ids_are_not_checked_without_the_own_ones() -> None:
    assert leaks("INV-2", id_prefixes=["INV-"]) == []


def test_credentials_are_replaced() -> None:
    assert "4111" not in without_credentials("card 4111 1111 1111 1111")


@given(st.text(max_size=300))
def test_no_text_raises(text: str) -> None:
    assert isinstance(leaks(text, **RULES), list)  # type: ignore[arg-type]  # of several types
