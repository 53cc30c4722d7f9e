"""Regular expressions of callers and of graph authors, matched in linear time.

Python's `re` takes exponential time for some expressions. The engine of pydantic is linear for all that it accepts; it
refuses look-around and backreferences.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Annotated

from pydantic import Field, TypeAdapter
from pydantic_core import SchemaError

NOT_LINEAR = "is not a regular expression that can be matched in linear time"


@lru_cache(maxsize=1000)
def linear_search(pattern: str) -> Callable[[str], bool]:
    """Return a test that finds `pattern` anywhere in a text.

    Raises:
        ValueError: the pattern is not a regular expression, or one that has no linear-time match.
    """
    try:
        validator = TypeAdapter(Annotated[str, Field(pattern=pattern)]).validator
    except SchemaError as error:
        raise ValueError(f"{pattern!r} {NOT_LINEAR}") from error
    return lambda text: _is_unicode(text) and validator.isinstance_python(text)


def _is_unicode(text: str) -> bool:
    """Report whether a text has no lone surrogates, which no engine matches."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def is_linear(pattern: object) -> bool:
    """Report whether `pattern` can be matched. Raises ValueError where it cannot."""
    return not isinstance(pattern, str) or bool(linear_search(pattern))
