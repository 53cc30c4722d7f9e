"""Strict JSON text: no NaN, no infinity, no lone surrogate, so that every JSON parser can read it."""

import json
import math
from typing import Any


def loads(text: str) -> Any:
    """Parse JSON text. Whole numbers become integers, also those written as `1.0` or `1e3`.

    Raises:
        ValueError: the text is not JSON, or contains a value that strict JSON cannot represent.
    """
    try:
        value = json.loads(text, parse_float=_number, parse_constant=_refuse)
        dumps(value).encode()  # JSON can escape a lone surrogate; UTF-8 cannot encode it.
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON: {error}") from error
    return value


def dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _number(text: str) -> float | int:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number is too large")
    return int(number) if number.is_integer() else number


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")
