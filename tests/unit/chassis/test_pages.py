"""Page tokens: what was made here is read again, what was not is refused (AIP-158)."""

import base64
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from graphmesh_chassis.errors import InvalidRequest
from graphmesh_chassis.pages import DEFAULT_PAGE_SIZE, decode_position, encode_token, page_size
from hypothesis import given
from hypothesis import strategies as st

times = st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # the zone is beside it
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(times, texts)
def test_a_position_survives(moment: datetime, text: str) -> None:
    """To the microsecond, up to the year 9999."""
    assert decode_position(encode_token(moment, text), datetime, str) == (moment, text)


@given(st.integers(-(10**11), 10**11), st.floats(-1e11, 1e11))
def test_numbers_survive(number: int, seconds: float) -> None:
    assert decode_position(encode_token(number, seconds), int, float) == (number, seconds)


def test_a_time_of_any_zone_is_one_instant() -> None:
    moment = datetime(2026, 5, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    position = decode_position(encode_token(moment, ""), datetime, str)
    assert position == (moment, "")


def test_no_token_is_the_first_page() -> None:
    assert decode_position("", datetime, str) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "null",
        "[1]",
        '[1,"a",2]',
        '["a",1]',
        '[true,"a"]',
        '[NaN,"a"]',
        '[Infinity,"a"]',
        '[1e300,"a"]',
        '["0001-01-01T00:00:00+14:00","a"]',
        '["yesterday","a"]',
        '[1,"\\ud800"]',
        '[1,"\\u0000"]',
        "[" * 100,
    ],
)
@pytest.mark.parametrize("kind", [float, datetime])
def test_a_forged_token_is_refused(text: str, kind: Any) -> None:
    """Never a failure of the server: a token is a caller's text like any other."""
    with pytest.raises(InvalidRequest, match="page_token"):
        decode_position(base64.urlsafe_b64encode(text.encode()).decode() or "x", kind, str)


@given(st.text(min_size=1))
def test_any_text_is_refused(token: str) -> None:
    with pytest.raises(InvalidRequest):
        decode_position(token, int, datetime)


def test_a_page_has_a_default_size() -> None:
    assert (page_size(0), page_size(7)) == (DEFAULT_PAGE_SIZE, 7)
