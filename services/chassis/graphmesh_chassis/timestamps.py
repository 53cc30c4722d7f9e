"""Converts between `google.protobuf.Timestamp` and datetime."""

from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_timestamp(moment: datetime) -> Timestamp:
    """Convert a moment; one without a time zone is in UTC."""
    since = moment - (EPOCH if moment.tzinfo is not None else EPOCH.replace(tzinfo=None))
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1000)


def from_timestamp(timestamp: Timestamp) -> datetime:
    """Convert to UTC, in whole microseconds. Unlike `ToDatetime`, accepts any nanos: no contract can bound them."""
    return EPOCH + timedelta(seconds=timestamp.seconds, microseconds=timestamp.nanos // 1000)
