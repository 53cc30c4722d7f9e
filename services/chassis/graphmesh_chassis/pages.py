"""Page tokens (AIP-158): where a listing goes on. Opaque to callers; a token that was not made here is refused."""

import base64
import json
from datetime import UTC, datetime
from typing import Any, TypeVar

from graphmesh_chassis.errors import FieldViolation, InvalidRequest

DEFAULT_PAGE_SIZE = 50
MAX_NUMBER = 253_402_300_799
"""Numbers of tokens lie between this and its negative; as seconds it is the end of the year 9999."""

FirstT = TypeVar("FirstT", str, int, float, datetime)
SecondT = TypeVar("SecondT", str, int, float, datetime)


def page_size(asked: int) -> int:
    """The number of rows of a page, where 0 asks for the default."""
    return asked or DEFAULT_PAGE_SIZE


def encode_token(*position: str | float | datetime) -> str:
    """The token of the page that begins after `position`, the sort key of the last row of this one."""
    parts = [part.astimezone(UTC).isoformat() if isinstance(part, datetime) else part for part in position]
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode()


def decode_position(token: str, first: type[FirstT], second: type[SecondT]) -> tuple[FirstT, SecondT] | None:
    """The position that a token of two parts stands for; None for the first page.

    Raises:
        InvalidRequest: the token is not one of `encode_token` with parts of these types.
    """
    if not token:
        return None
    try:
        left, right = json.loads(base64.urlsafe_b64decode(token.encode()))
        return _part(left, first), _part(right, second)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidRequest(violations=[FieldViolation("page_token", "is not a token of this listing")]) from error


def _part(value: Any, kind: type[FirstT]) -> FirstT:
    """One part of a position. Raises ValueError for what a database would choke on, since tokens can be forged."""
    if kind is datetime and isinstance(value, str):
        value = datetime.fromisoformat(value).astimezone(UTC)
    if not isinstance(value, kind) or not _harmless(value):
        raise ValueError(f"not a {kind.__name__} that was put into a token")
    return value


def _harmless(value: Any) -> bool:
    match value:
        case str():
            value.encode()  # raises for lone surrogates
            return "\0" not in value
        case int() | float():
            return abs(value) <= MAX_NUMBER
        case _:
            return True
