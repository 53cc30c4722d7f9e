"""JSON text that other programs can read again: no NaN, no infinity, no half of a character."""

import json
import math
from typing import Any


def read(text: str) -> Any:
    """The value of `text`, with whole numbers as integers however they are spelt.

    Raises:
        ValueError: it is not JSON, or holds what cannot be sent on.
    """
    try:
        value = json.loads(text, parse_float=_number, parse_constant=_refuse)
        write(value).encode()  # a lone surrogate can be escaped in JSON, and is in no UTF-8
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON: {error}") from error
    return value


def write(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _number(text: str) -> float | int:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number is too large")
    return int(number) if number.is_integer() else number


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")
