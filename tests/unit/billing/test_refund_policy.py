"""The periods of a refund policy, and what a refund breaks."""

from datetime import UTC, datetime, timedelta

import pytest
from graphmesh_billing.refund_policy import (
    Broken,
    Calendar,
    Consequence,
    Limit,
    RefundPolicy,
    Rule,
    Scope,
    Subject,
    Used,
    check_limit,
    from_json,
    to_json,
)
from graphmesh_contracts.money import Money
from hypothesis import given
from hypothesis import strategies as st

MICROSECOND = timedelta(microseconds=1)
SUBJECT = Subject(Scope.CHARGE, "ch_1", 100)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("calendar", "zone", "now", "begin"),
    [
        (Calendar.DAY, "", "2026-03-10 00:00", "2026-03-10 00:00"),
        (Calendar.DAY, "Europe/Berlin", "2026-03-09 23:30", "2026-03-09 23:00"),
        (Calendar.DAY, "America/New_York", "2026-03-10 03:59", "2026-03-09 04:00"),
        (Calendar.WEEK, "", "2026-03-08 23:59", "2026-03-02 00:00"),
        (Calendar.MONTH, "Europe/Berlin", "2026-03-31 21:59", "2026-02-28 23:00"),
        (Calendar.MONTH, "Europe/Berlin", "2026-03-31 22:00", "2026-03-31 22:00"),
        (Calendar.YEAR, "Pacific/Auckland", "2026-06-01 00:00", "2025-12-31 11:00"),
        # Midnight does not exist there on this day: the clocks go from 23:59:59 to 01:00.
        (Calendar.DAY, "Africa/Cairo", "2026-04-24 10:00", "2026-04-23 22:00"),
        # It exists twice there on this day.
        (Calendar.DAY, "America/Havana", "2026-11-01 12:00", "2026-11-01 04:00"),
    ],
)
def test_calendar_periods_begin_in_their_time_zone(calendar: Calendar, zone: str, now: str, begin: str) -> None:
    """A refund at the very beginning counts."""
    since = Limit(Scope.CUSTOMER, 1, calendar=calendar, time_zone=zone).since(utc(now))
    assert since == utc(begin) - MICROSECOND


def test_rolling_periods_end_exactly() -> None:
    """What is as old as the period does not count any more."""
    now = utc("2026-03-31 12:00")
    assert Limit(Scope.CUSTOMER, 1, period=timedelta(days=30)).since(now) == utc("2026-03-01 12:00")
    assert Limit(Scope.CUSTOMER, 1).since(now) is None


@pytest.mark.parametrize(
    ("limit", "used", "broken"),
    [
        (Limit(Scope.CHARGE, 1), Used(0, 0), False),
        (Limit(Scope.CHARGE, 1), Used(1, 0), True),
        (Limit(Scope.CHARGE, 0), Used(0, 0), True),
        (Limit(Scope.CHARGE, None, (Money("EUR", 250),)), Used(9, 150), False),
        (Limit(Scope.CHARGE, None, (Money("EUR", 250),)), Used(1, 151), True),
        (Limit(Scope.CHARGE, None, (Money("JPY", 250),)), Used(0, 0), True),
        (Limit(Scope.CHARGE, 5, (Money("EUR", 250),)), Used(5, 0), True),
    ],
)
def test_limits_count_the_refund_too(limit: Limit, used: Used, broken: bool) -> None:
    """A currency that a limit of amounts does not name may not be refunded."""
    rule = Rule("r", Consequence.DENY, limit)
    assert (check_limit(rule, limit, SUBJECT, used, "EUR") is not None) is broken


def test_a_broken_limit_has_its_numbers() -> None:
    limit = Limit(Scope.CHARGE, 2, (Money("JPY", 250),))
    found = check_limit(Rule("r", Consequence.REQUIRE_APPROVAL, limit), limit, SUBJECT, Used(1, 200), "JPY")
    message = "300 JPY would be refunded per charge ch_1, 250 JPY may be"
    assert found == Broken("r", Consequence.REQUIRE_APPROVAL, message, "ch_1", 200, 250, 1, 2)


limits = st.builds(
    Limit,
    st.sampled_from(Scope),
    st.none() | st.integers(0, 9),
    st.lists(st.builds(Money, st.sampled_from(["EUR", "JPY"]), st.integers(0, 10**15))).map(tuple),
    st.none() | st.timedeltas(MICROSECOND, timedelta(days=3650)),
    st.none() | st.sampled_from(Calendar),
    st.sampled_from(["", "Europe/Berlin"]),
)


@given(st.lists(st.builds(Rule, st.text(), st.sampled_from(Consequence), st.none() | limits), max_size=5))
def test_policies_are_stored_without_a_loss(rules: list[Rule]) -> None:
    policy = RefundPolicy(tuple(rules), 7)
    assert from_json(to_json(policy), 7) == policy  # type: ignore[arg-type]
