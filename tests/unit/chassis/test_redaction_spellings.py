"""Values are found in any spelling, and the work of a text is in proportion to its length."""

import re
from re import _constants, _parser  # type: ignore[attr-defined]
from typing import Any

import pytest
from graphmesh_chassis import redaction, redaction_patterns
from graphmesh_chassis.redaction import MAX_DEPTH, TOO_DEEP, Redactor
from hypothesis import given
from hypothesis import strategies as st

REDACTOR = Redactor(names=["Erika Mustermann", "José García", "12 Main Street", "山田太郎"])
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----"
FOUND = [
    ("4111 1111 1111 1111", "card"),
    ("5500-0055-5555-5559", "card"),
    ("378282246310005", "card"),
    ("6 0 1 1 1 1 1 1 1 1 1 1 1 1 1 7", "card"),
    ("card4111111111111111", "card"),
    ("４１１１ １１１１ １１１１ １１１１", "card"),
    ("٤١١١١١١١١١١١١١١١", "card"),
    ("4\u200b11\u00ad1\u20601 1111 1111 111", "card"),
    ("4111\x001111\x0011111111", "card"),
    ("4111‑1111–1111—1111", "card"),
    ("DE89 3704 0044 0532 0130 00", "iban"),
    ("gb82west12345698765432", "iban"),
    ("4111 1111 1111 1111 12/27 123", "card"),
    ("DE89 3704 0044 0532 0130 00 BIC COBADEFFXXX", "iban"),
    ("IBANFR1420041010050500013M02606", "iban"),
    ("a.b+c@example.co.uk", "email"),
    ("erika＠example。org".replace("。", "."), "email"),
    ("+49 (0)170 1234567", "phone"),
    ("0049 170 1234567", "phone"),
    ("06 12 34 56 78", "phone"),
    ("0170/1234567", "phone"),
    ("(555) 234-5678", "phone"),
    ("tel. 501 234 567", "phone"),
    ("Authorization: Bearer abcdefghijklmnop", "secret"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2ln", "secret"),
    ("sk-proj-abc123def456ghi", "secret"),
    ("AKIAIOSFODNN7EXAMPLE", "secret"),
    ("ghp_16C7e42F292c6912E7710c838347Ae178B4a", "secret"),
    ("xoxb-1234-5678-abcdef", "secret"),
    (PEM, "secret"),
    (PEM[:40], "secret"),
    ("postgresql://user:p%40ss@host/db", "secret"),
    ("password: hunter2", "secret"),
    ("Passwort: geheimnis", "secret"),
    ("ma contraseña es Abc123", "secret"),
    ('{"password": "correct horse"}', "secret"),
    ("cvv 2: 123".replace(" 2", "2"), "secret"),
    ("ERIKA  MUSTERMANN", "name"),
    ("Jose Garci\u0301a", "name"),
    ("12 main street", "name"),
    ("山田太郎さん", "name"),
]
LEFT = [
    "2026-12-01T02:20:53.123456Z",
    "2026-12-01 10:20:33 and 01.12.2026 10:15",
    "1733019653 1733019653123",
    "order 0123456789, ord_12345678901, INV-2024-000123, #1004512345",
    "1,234,567.89 EUR and 12 345 678,90 €",
    "550e8400-e29b-41d4-a716-446655440000",
    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "4111 1111 1111 1112",
    "DE89 3704 0044 0532 0130 01",
    "0.4111111111111111",
    "192.168.100.200:8080 v1.2.3",
    "Reset your password: go to Settings. token: 512 tokens",
    "task-list of sk-learn; Erikas Mustermann",
    "Wir melden uns.",
]
HOSTILE = [
    *(
        "a@",
        "@",
        "eyJ",
        "eyJaaaaaaaa.",
        "://a:",
        "password: ",
        "1 ",
        "4",
        "4111 ",
        "0170 ",
        "+1",
        "de89 3",
        "sk-",
        "[card:",
    ),
    *("-----BEGIN PRIVATE KEY-----", "Erika ", "\u200b4", "\u0301", "山", "call 1", "'", "basic a"),
]


@pytest.mark.parametrize(("text", "kind"), FOUND)
def test_replaces_values_in_any_spelling(text: str, kind: str) -> None:
    redacted = REDACTOR.redact(f"Hello, {text}, thank you.")
    placeholders = re.findall(r"\[(\w+):[0-9a-f]{4}\]", redacted)
    assert placeholders == [kind]
    assert redacted.endswith(", thank you.") or text == PEM[:40]


@pytest.mark.parametrize("text", LEFT)
def test_leaves_ids_amounts_dates_and_hashes(text: str) -> None:
    assert REDACTOR.redact(text) == text


def test_redacts_json_values_and_keeps_keys() -> None:
    value = {"a@b.example": ["a@b.example", 4111111111111111, 12.5, None, True], "password": "x", "count": 10**40}
    redacted = REDACTOR.redact_value(value)
    assert list(redacted) == ["a@b.example", "password", "count"]
    assert redacted["a@b.example"] == [
        REDACTOR.redact("a@b.example"), REDACTOR.redact("4111111111111111"), 12.5, None, True]  # fmt: skip
    assert redacted["password"].startswith("[secret:")
    assert redacted["count"] == 10**40
    assert REDACTOR.redact_value(redacted) == redacted


def test_replaces_what_is_nested_too_deeply() -> None:
    value: Any = "a@b.example"
    for _ in range(10_000):
        value = [value]
    redacted = REDACTOR.redact_value(value)
    for _ in range(MAX_DEPTH):
        (redacted,) = redacted
    assert redacted == TOO_DEEP


PIECES = st.sampled_from([*"0123456789 +-.@:/=[]()abcdefx\n'", "é", "\u200b", "４", "password", "tel ", "[card:12ab]"])


@given(st.lists(PIECES).map("".join))
def test_redacting_twice_changes_nothing(text: str) -> None:
    once = REDACTOR.redact(text)
    assert REDACTOR.redact(once) == once


def judged(text: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Count the characters of all matches that are judged."""
    total = 0

    def counted(judge: Any) -> Any:
        def count(match: re.Match[str], floor: int) -> Any:
            nonlocal total
            found, position = judge(match, floor)
            assert position > match.start()
            total += max(match.end(), position) - match.start()
            return found, position

        return count

    with monkeypatch.context() as patch:
        patch.setattr(redaction, "_JUDGES", {kind: counted(judge) for kind, judge in redaction._JUDGES.items()})
        REDACTOR.redact(text)
    return total


@pytest.mark.parametrize("unit", HOSTILE)
def test_twice_the_text_is_twice_the_work(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    single, double = (judged(unit * (length // len(unit)), monkeypatch) for length in (20_000, 40_000))
    assert double <= 2 * single + 1000


def test_the_pattern_has_no_unbounded_backtracking() -> None:
    """Each repetition is possessive, or of a bounded number of characters."""

    def check(items: Any) -> None:
        for kind, argument in items:
            if kind in (_constants.MAX_REPEAT, _constants.MIN_REPEAT):
                assert argument[1] <= 256, argument
            for inner in argument if isinstance(argument, tuple | list) else [argument]:
                walk(inner)

    def walk(value: Any) -> None:
        if isinstance(value, _parser.SubPattern):
            check(value)
        elif isinstance(value, list):
            for one in value:
                walk(one)

    check(_parser.parse(redaction_patterns.TRIGGER.pattern))
