"""Pages and their tokens (AIP-158): a token survives its encoding, a forged one is refused."""

import base64
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from graphmesh_chassis.errors import InvalidRequest
from graphmesh_chassis.pages import DEFAULT_PAGE_SIZE, Page, decode_position, encode_token, page_of, page_size
from hypothesis import given
from hypothesis import strategies as st

times = st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # `timezones` sets the zone
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(times, texts)
def test_position_survives_its_encoding(moment: datetime, text: str) -> None:
    """To the microsecond, up to the year 9999."""
    assert decode_position(encode_token(moment, text), datetime, str) == (moment, text)


@given(st.integers(-(10**11), 10**11), st.floats(-1e11, 1e11))
def test_numbers_survive_their_encoding(number: int, seconds: float) -> None:
    assert decode_position(encode_token(number, seconds), int, float) == (number, seconds)


def test_time_zone_of_a_position_does_not_matter() -> None:
    moment = datetime(2026, 5, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    position = decode_position(encode_token(moment, ""), datetime, str)
    assert position == (moment, "")


def test_empty_token_is_the_first_page() -> None:
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
def test_forged_token_is_refused(text: str, kind: Any) -> None:
    """It is invalid input of the caller, never a failure of the server."""
    with pytest.raises(InvalidRequest, match="page_token"):
        decode_position(base64.urlsafe_b64encode(text.encode()).decode() or "x", kind, str)


@given(st.text(min_size=1))
def test_arbitrary_text_is_refused(token: str) -> None:
    with pytest.raises(InvalidRequest):
        decode_position(token, int, datetime)


def test_page_size_has_a_default() -> None:
    assert (page_size(0), page_size(7)) == (DEFAULT_PAGE_SIZE, 7)


def listing(count: int, size: int, max_bytes: int | None = None) -> Page[StringValue]:
    """A page of rows `0`, `1`, …, each a message of 3 bytes."""
    rows = range(count)
    return page_of(
        rows,
        size,
        lambda row: StringValue(value=str(row)),
        lambda row: (row, f"id-{row}"),
        max_bytes=max_bytes,
    )


@pytest.mark.parametrize("count", [0, 1, 3])
def test_last_page_has_no_token(count: int) -> None:
    page = listing(count, 3)
    assert [message.value for message in page.messages] == [str(row) for row in range(count)]
    assert page.next_token == ""


def test_row_beyond_the_size_becomes_a_token() -> None:
    page = listing(4, 3)
    assert [message.value for message in page.messages] == ["0", "1", "2"]
    assert decode_position(page.next_token, int, str) == (2, "id-2")


def test_page_ends_before_the_message_that_exceeds_the_bytes() -> None:
    page = listing(10, 9, max_bytes=6)
    assert len(page.messages) == 2
    assert decode_position(page.next_token, int, str) == (1, "id-1")


def test_first_message_may_exceed_the_bytes() -> None:
    """Otherwise a listing would never get past a row that is too large."""
    page = listing(2, 9, max_bytes=1)
    assert len(page.messages) == 1
    assert decode_position(page.next_token, int, str) == (0, "id-0")


def test_rows_beyond_the_page_are_not_encoded() -> None:
    """At most one: the row that did not fit."""
    encoded: list[int] = []

    def encode(row: int) -> StringValue:
        encoded.append(row)
        return StringValue(value=str(row))

    page_of(range(100), 2, encode, lambda row: (row, ""))
    assert encoded == [0, 1, 2]
