"""Conversion between moments and timestamps."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from graphmesh_chassis.timestamps import from_timestamp, to_timestamp


@pytest.mark.parametrize(
    "moment",
    [
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2026, 11, 30, 9, 45, 1, 250_001, tzinfo=timezone(timedelta(hours=-5, minutes=-30))),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2026, 11, 30, 9, 45, tzinfo=UTC).replace(tzinfo=None),
    ],
)
def test_moments_are_converted_as_protobuf_does(moment: datetime) -> None:
    expected = Timestamp()
    expected.FromDatetime(moment)
    assert to_timestamp(moment) == expected
    assert from_timestamp(expected) == (moment if moment.tzinfo else moment.replace(tzinfo=UTC))
