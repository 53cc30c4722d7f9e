"""Pages of listings and their tokens (AIP-158). Tokens are opaque to callers; a forged one is refused."""

import base64
import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Generic, TypeAlias, TypeVar

from google.protobuf.message import Message

from graphmesh_chassis.errors import FieldViolation, InvalidRequest

DEFAULT_PAGE_SIZE = 50
PAGE_BYTES = 2 * 1024 * 1024
"""The limit for listings whose rows may be large: half of what gRPC clients read by default."""
MAX_NUMBER = 253_402_300_799
"""Bound of the absolute values of numbers in tokens; as seconds it is the end of the year 9999."""

FirstT = TypeVar("FirstT", str, int, float, datetime)
SecondT = TypeVar("SecondT", str, int, float, datetime)
RowT = TypeVar("RowT")
MessageT = TypeVar("MessageT", bound=Message)
Position: TypeAlias = tuple[str | float | datetime, ...]
"""The sort key of a row."""


class Page(Generic[MessageT]):
    """Collects the messages of one page: at most `size`, and at most `max_bytes` of them, but always the first."""

    def __init__(self, size: int, max_bytes: int | None = None) -> None:
        self.messages: list[MessageT] = []
        self.next_token = ""
        """The token of the next page; empty until a message did not fit."""
        self.size = size
        self._bytes_left = max_bytes
        self._last: Position = ()

    def add(self, message: MessageT, position: Position) -> bool:
        """Append a message and return True; return False, and set `next_token`, where it belongs to the next page."""
        if self._bytes_left is not None:
            self._bytes_left -= message.ByteSize()
        if self.messages and (len(self.messages) == self.size or (self._bytes_left or 0) < 0):
            self.next_token = encode_token(*self._last)
            return False
        self.messages.append(message)
        self._last = position
        return True


def page_of(
    rows: Iterable[RowT],
    size: int,
    encode: Callable[[RowT], MessageT],
    position: Callable[[RowT], Position],
    *,
    max_bytes: int | None = None,
) -> Page[MessageT]:
    """The page that begins with the first of `rows`, of which the caller queries `size + 1`.

    The extra row shows that there is a next page, without a query for the count.

    Args:
        size: the number of rows of a page, from `page_size`.
        encode: makes the message of a row.
        position: the sort key of a row, which the token of the next page holds.
        max_bytes: a limit on the serialized messages together; the first one is exempt.
    """
    page: Page[MessageT] = Page(size, max_bytes)
    for row in rows:
        if not page.add(encode(row), position(row)):
            break
    return page


def page_size(requested: int) -> int:
    """The number of rows of a page; 0 requests the default."""
    return requested or DEFAULT_PAGE_SIZE


def encode_token(*position: str | float | datetime) -> str:
    """The token of the page that begins after `position`, the sort key of the last row of the page before."""
    parts = [part.astimezone(UTC).isoformat() if isinstance(part, datetime) else part for part in position]
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode()


def decode_position(token: str, first: type[FirstT], second: type[SecondT]) -> tuple[FirstT, SecondT] | None:
    """The position in a token of two parts; None for the first page.

    Raises:
        InvalidRequest: `encode_token` did not make the token, or made it of parts of other types.
    """
    if not token:
        return None
    try:
        left, right = json.loads(base64.urlsafe_b64decode(token.encode()))
        return _part(left, first), _part(right, second)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidRequest(violations=[FieldViolation("page_token", "is not a token of this listing")]) from error


def _part(value: Any, kind: type[FirstT]) -> FirstT:
    """One part of a position.

    Raises:
        ValueError: it has another type, or a database could not take it, since tokens can be forged.
    """
    if kind is datetime and isinstance(value, str):
        value = datetime.fromisoformat(value).astimezone(UTC)
    if not isinstance(value, kind) or not _is_storable(value):
        raise ValueError(f"not a {kind.__name__} of a token")
    return value


def _is_storable(value: Any) -> bool:
    match value:
        case str():
            value.encode()  # raises for lone surrogates
            return "\0" not in value
        case int() | float():
            return abs(value) <= MAX_NUMBER
        case _:
            return True
