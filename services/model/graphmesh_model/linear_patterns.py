"""Regular expressions of callers, matched in linear time, and the JSON Schema keywords that have them.

Python's `re` takes exponential time for some expressions. The engine of pydantic is linear for all that it accepts; it
refuses look-around and backreferences.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Annotated, Any

from jsonschema import Draft202012Validator, FormatChecker, ValidationError, validators
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


def _pattern(validator: Any, pattern: str, value: Any, schema: Any) -> Iterator[ValidationError]:
    if validator.is_type(value, "string") and not linear_search(pattern)(value):
        yield ValidationError(f"does not match {pattern!r}")


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Any], value: Any, schema: Any
) -> Iterator[ValidationError]:
    if validator.is_type(value, "object"):
        for pattern, inner in patterns.items():
            for name in filter(linear_search(pattern), value):
                yield from validator.descend(value[name], inner, path=name, schema_path=pattern)


def _additional_properties(validator: Any, allowed: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    if not validator.is_type(value, "object"):
        return
    patterns = [linear_search(pattern) for pattern in schema.get("patternProperties", {})]
    known = schema.get("properties", {})
    for name in value:
        if name in known or any(matches(name) for matches in patterns):
            continue
        if validator.is_type(allowed, "object"):
            yield from validator.descend(value[name], allowed, path=name)
        elif allowed is False:
            yield ValidationError("additional properties are not allowed")


LinearValidator: Any = validators.extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
    },
)
"""Draft 2020-12."""
FORMATS = FormatChecker(())
FORMATS.checkers = {**Draft202012Validator.FORMAT_CHECKER.checkers, "regex": (is_linear, ValueError)}
"""The formats of Draft 2020-12, with that of a schema's own expressions."""
