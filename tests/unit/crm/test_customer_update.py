"""An update of a customer makes a version, and a change for each field that differs."""

from datetime import UTC, datetime, timedelta

from graphmesh_crm.domain import Change, Profile, ProfileUpdate, Tier, apply_update, new_customer

THEN = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
NOW = THEN + timedelta(days=1)
MIRA = new_customer(
    "cu_1",
    Profile("Mira Odenwald", "mira@example.com", "", "", Tier.STANDARD, "de-DE", {"city": "Freiburg", "ink": "red"}),
    THEN,
)


def changes_of(values: ProfileUpdate) -> list[tuple[str, str, str]]:
    _, changes = apply_update(MIRA, values, reason="requested", author="ana", now=NOW)
    return [(change.field, change.old, change.new) for change in changes]


def test_change_has_author_time_values_and_reason() -> None:
    after, changes = apply_update(MIRA, {"tier": Tier.VIP}, reason="a regular", author="ana", now=NOW)
    assert changes == (Change("cu_1", 2, "tier", "standard", "vip", "a regular", "ana", NOW),)
    assert (after.profile.tier, after.version, after.created, after.updated) == (Tier.VIP, 2, THEN, NOW)
    assert after.profile.email == MIRA.profile.email


def test_each_attribute_is_a_field() -> None:
    """A new attribute, a changed and a deleted one are changes; an unchanged one is not."""
    changes = changes_of({"attributes": {"ink": "green", "pen": "Wren"}})
    assert changes == [
        ("attributes.city", "Freiburg", ""),
        ("attributes.ink", "red", "green"),
        ("attributes.pen", "", "Wren"),
    ]


def test_update_with_stored_values_makes_no_version() -> None:
    after, changes = apply_update(
        MIRA, {"name": "Mira Odenwald", "attributes": {"ink": "red", "city": "Freiburg"}}, reason="", author="", now=NOW
    )
    assert after is MIRA
    assert changes == ()
