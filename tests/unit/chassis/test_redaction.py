"""Personal data and secrets are replaced by stable placeholders; ids, amounts and times stay readable."""

import json

import pytest
from graphmesh_chassis.redaction import CREDENTIALS, DEFAULT, Redactor
from graphmesh_chassis.redaction_numbers import is_iban, is_luhn
from hypothesis import given
from hypothesis import strategies as st

CARD, IBAN = "4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00"
JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJtaXJhIn0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("text", "secret", "kind"),
    [
        (f"card {CARD}, please", CARD, "card"),
        ("card 4111-1111-1111-1111", "4111-1111-1111-1111", "card"),
        ("card ４１１１１１１１１１１１１１１１", "４１１１", "card"),
        ("card 4111\u200b1111\u00ad11111111", "1111", "card"),
        ("card ٤١١١ ١١١١ ١١١١ ١١١١", "١١١١", "card"),
        ("378282246310005", "378282246310005", "card"),
        (f"pay to {IBAN}.", "3704", "iban"),
        ("GB82WEST12345698765432", "WEST1234", "iban"),
        ("write to mira.odenwald+shop@example.co.uk!", "mira", "email"),
        ("call +49 171 5550 123", "5550", "phone"),
        ("call 0171 5550123", "5550123", "phone"),
        ("call (555) 123-4567", "123-4567", "phone"),
        (f"Authorization: Bearer {JWT}", JWT, "secret"),
        (f"token={JWT}", JWT, "secret"),
        ("key sk-proj-0123456789abcdefghij", "0123456789abcdefghij", "secret"),
        ("AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE", "secret"),
        ("ghp_0123456789abcdefghijABCDEFGHIJ", "0123456789", "secret"),
        ("postgresql://admin:hunter2@db/x", "hunter2", "secret"),
        ('{"password": "correct horse1"}', "correct", "secret"),
        ("my password is hunter2hunter2", "hunter2hunter2", "secret"),
        ("-----BEGIN PRIVATE KEY-----\nMIIBVQ==\n-----END PRIVATE KEY-----", "MIIBVQ", "secret"),
    ],
)
def test_replaces(text: str, secret: str, kind: str) -> None:
    redacted = DEFAULT.redact(text)
    assert secret not in redacted
    assert f"[{kind}:" in redacted


@pytest.mark.parametrize(
    "text",
    [
        "INV-2038 of 2026-11-30T12:20:10Z, 18.90 EUR, run_8472725306b84f18884744908a269d17",
        "1764547200000 ms, 1,234,567.89, 0.269 s, 127.0.0.1:44453",
        "4111 1111 1111 1112 has no check digit",
        "T-17 at 10:30 in 2.5 hours, version 1.2.3, order 4101-17",
        "https://example.com/a?b=1#c, 18884744908a269d, 99b4a0c8-0840-4a1e",
        "The key to the secret garden is a token of love.",
    ],
)
def test_leaves(text: str) -> None:
    assert DEFAULT.redact(text) == text


def test_placeholders_are_stable_and_of_the_value_whatever_its_form() -> None:
    one, other = DEFAULT.redact(CARD), DEFAULT.redact(CARD.replace(" ", ""))
    assert one == other
    assert DEFAULT.redact("5555 5555 5555 4444") != one


def test_names_of_records_are_replaced_as_whole_words() -> None:
    redactor = Redactor(names=["Mira Odenwald", "Mira", "Jo"])
    redacted = redactor.redact("mira  ODENWALD and Mira, not Miranda; Jo, not Joy")
    assert redacted.count("[name:") == 3
    assert "Miranda" in redacted
    assert "Joy" in redacted


def test_values_are_redacted_at_every_depth() -> None:
    value = {"a": [{"note": f"card {CARD}"}], "n": 4111111111111111}
    redacted = json.dumps(DEFAULT.redact_value(value))
    assert "4111 1111" not in redacted
    assert "4111111111111111" not in redacted
    deep: object = CARD
    for _ in range(100):
        deep = [deep]
    assert CARD not in str(DEFAULT.redact_value(deep))


def test_credentials_leave_addresses() -> None:
    assert Redactor(CREDENTIALS).redact(f"a@example.org {CARD}").startswith("a@example.org [card:")


@given(st.text(max_size=300))
def test_redacting_twice_changes_nothing(text: str) -> None:
    once = DEFAULT.redact(text)
    assert DEFAULT.redact(once) == once


@pytest.mark.parametrize(
    "part", ["4", "4 ", "a@", "a.", "+1 ", "DE89", "eyJ", "password:", "(1", "-----BEGIN A-----", "0 ", "\u0661"]
)
def test_a_million_characters_are_redacted(part: str) -> None:
    assert isinstance(DEFAULT.redact(part * (1_000_000 // len(part))), str)


def test_check_digits() -> None:
    assert is_luhn("5555555555554444")
    assert not is_luhn("0000000000000000")
    assert is_iban("DE89370400440532013000")
    assert not is_iban("DE88370400440532013000")
