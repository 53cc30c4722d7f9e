"""Page tokens (AIP-158): where a listing goes on. Opaque to callers; a token that was not made here is refused."""

import base64
import binascii
import json
from typing import TypeVar

from graphmesh_chassis.errors import FieldViolation, InvalidRequest

DEFAULT_PAGE_SIZE = 50


def page_size(asked: int) -> int:
    """The number of rows of a page, where 0 asks for the default."""
    return asked or DEFAULT_PAGE_SIZE


def encode_token(*position: str | float) -> str:
    """The token of the page that begins after `position`, the sort key of the last row of this one."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode()


PartT = TypeVar("PartT")
NextT = TypeVar("NextT")


def decode_position(token: str, first: type[PartT], second: type[NextT]) -> tuple[PartT, NextT] | None:
    """The position that a token of two parts stands for; None for the first page.

    Raises:
        InvalidRequest: the token is not one of `encode_token` with parts of these types.
    """
    if not token:
        return None
    try:
        position = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (binascii.Error, ValueError):
        position = None
    match position:
        case [left, right] if isinstance(left, first) and isinstance(right, second):
            return left, right
    raise InvalidRequest(violations=[FieldViolation("page_token", "is not a token of this listing")])
