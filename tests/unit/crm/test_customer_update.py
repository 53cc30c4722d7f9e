"""How a change of a customer is told (F5)."""

from datetime import UTC, datetime, timedelta

import pytest
from graphmesh_chassis.search_keys import search_key
from graphmesh_crm.domain import Change, Profile, ProfileUpdate, Tier, apply_update, new_customer
from hypothesis import given
from hypothesis import strategies as st

THEN = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
NOW = THEN + timedelta(days=1)
MIRA = new_customer(
    "cu_1",
    Profile("Mira Odenwald", "mira@example.com", "", "", Tier.STANDARD, "de-DE", {"city": "Freiburg", "ink": "red"}),
    THEN,
)


def told(values: ProfileUpdate) -> list[tuple[str, str, str]]:
    _, changes = apply_update(MIRA, values, reason="she asked", author="ana", now=NOW)
    return [(change.field, change.old, change.new) for change in changes]


def test_a_change_says_who_when_what_and_why() -> None:
    after, changes = apply_update(MIRA, {"tier": Tier.VIP}, reason="a regular", author="ana", now=NOW)
    assert changes == (Change("cu_1", 2, "tier", "standard", "vip", "a regular", "ana", NOW),)
    assert (after.profile.tier, after.version, after.created, after.updated) == (Tier.VIP, 2, THEN, NOW)
    assert after.profile.email == MIRA.profile.email


def test_each_attribute_is_a_field_of_its_own() -> None:
    """One is set, one changed, one forgotten; what stays is not told."""
    changes = told({"attributes": {"ink": "green", "pen": "Wren"}})
    assert changes == [
        ("attributes.city", "Freiburg", ""),
        ("attributes.ink", "red", "green"),
        ("attributes.pen", "", "Wren"),
    ]


def test_values_as_stored_make_no_version() -> None:
    after, changes = apply_update(
        MIRA, {"name": "Mira Odenwald", "attributes": {"ink": "red", "city": "Freiburg"}}, reason="", author="", now=NOW
    )
    assert after is MIRA
    assert changes == ()


@pytest.mark.parametrize("text", ["MIRA  odenwald", " mira odenwald ", "Mira\tOdenwald"])
def test_letter_case_and_white_space_do_not_matter_in_a_search(text: str) -> None:
    assert search_key(text) == search_key("Mira Odenwald")


@given(st.text(), st.text(min_size=1))
def test_a_text_never_matches_across_two_fields(left: str, right: str) -> None:
    """A key has a line for each field, and a key of one text has no line end."""
    assert "\n" not in search_key(left)
    assert search_key(left, right).split("\n") == [search_key(left), search_key(right)]
