"""Validates values against JSON Schemas (draft 2020-12) in time that is linear in the value, whatever the schema.

A plain validator takes exponential time for some regular expressions and for alternatives that refer to each other,
quadratic time for unique items, and describes each error of each alternative with the whole value.
"""

from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from itertools import islice
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker, ValidationError, validators
from referencing import Registry

from graphmesh_chassis.large_values import size_of
from graphmesh_chassis.linear_patterns import is_linear, linear_search

STEPS = 10_000
"""Keywords that are evaluated for any value: more than a schema of a hundred fields has."""
STEPS_PER_ELEMENT = 50
"""Keywords that are evaluated besides for each element of a value. Each takes some microseconds."""
TOO_MANY = "the schema has too many alternatives, or an infinite reference cycle"
SHORT_ELEMENTS, SHORT_CHARACTERS = 10, 300
"""The size of a value that the message of its error has in it."""

NO_REMOTE_SCHEMAS: Registry[Any] = Registry()
"""References are resolved only within a schema: it must not make a server fetch anything."""

Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]


class TooManySteps(ValueError):
    """A value takes more steps to validate than its size accounts for."""


@dataclass
class _Steps:
    left: int


_steps: ContextVar[_Steps] = ContextVar("graphmesh_schema_steps")


def schema_errors(
    schema: Mapping[str, Any], value: Any, limit: int, formats: FormatChecker | None = None
) -> list[ValidationError]:
    """Return the first `limit` errors of a value.

    Raises:
        TooManySteps: the schema has too many alternatives for the value, or an infinite reference cycle.
        ValueError: the schema has a pattern that has no linear-time match.
    """
    token = _steps.set(_Steps(STEPS + STEPS_PER_ELEMENT * size_of(value).elements))
    try:
        validator = BoundedValidator(schema, registry=NO_REMOTE_SCHEMAS, format_checker=formats)
        return list(islice(validator.iter_errors(value), limit))
    except RecursionError as error:
        raise TooManySteps(TOO_MANY) from error
    finally:
        _steps.reset(token)


def patterns_of(schema: Any) -> Iterator[str]:
    """Yield the regular expressions of a schema, and of whatever it has inside."""
    unvisited = [schema]
    while unvisited:
        match unvisited.pop():
            case dict() as inner:
                yield from (pattern for pattern in (inner.get("pattern"),) if isinstance(pattern, str))
                yield from inner.get("patternProperties", ())
                unvisited.extend(inner.values())
            case list() as inner:
                unvisited.extend(inner)


def _counted(keyword: Keyword) -> Keyword:
    @wraps(keyword)
    def evaluate(validator: Any, stated: Any, value: Any, schema: Any) -> Iterator[ValidationError] | None:
        steps = _steps.get()
        steps.left -= 1
        if steps.left < 0:
            raise TooManySteps(TOO_MANY)
        return keyword(validator, stated, value, schema)

    return evaluate


def _pattern(validator: Any, pattern: str, value: Any, schema: Any) -> Iterator[ValidationError]:
    if validator.is_type(value, "string") and not linear_search(pattern)(value):
        yield ValidationError(f"{_short(value)} does not match {pattern!r}")


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
            return


def _any_of(validator: Any, schemas: list[Any], value: Any, schema: Any) -> Iterator[ValidationError]:
    """Each alternative is left at its first error."""
    if not any(_fits(validator, inner, value) for inner in schemas):
        yield ValidationError(f"{_short(value)} is not valid under any of the given schemas")


def _one_of(validator: Any, schemas: list[Any], value: Any, schema: Any) -> Iterator[ValidationError]:
    fitting = sum(_fits(validator, inner, value) for inner in schemas)
    if fitting != 1:
        yield ValidationError(f"{_short(value)} is valid under {fitting} of the given schemas, not under one")


def _fits(validator: Any, schema: Any, value: Any) -> bool:
    return next(validator.descend(value, schema), None) is None


def _unique_items(validator: Any, is_unique: bool, value: Any, schema: Any) -> Iterator[ValidationError]:
    if is_unique and validator.is_type(value, "array") and len({*map(_key, value)}) < len(value):
        yield ValidationError(f"{_short(value)} has non-unique elements")


def _key(value: Any) -> Any:
    """Return a hashable value that is equal for equal JSON. Numbers are equal to numbers, and to nothing else."""
    match value:
        case dict():
            return dict, frozenset((name, _key(member)) for name, member in value.items())
        case list():
            return list, tuple(map(_key, value))
        case bool():
            return bool, value
        case _:
            return value


def _short(value: Any) -> str:
    """Return the representation of a small value."""
    size = size_of(value, max_elements=SHORT_ELEMENTS)
    if size.elements > SHORT_ELEMENTS or size.bytes > SHORT_CHARACTERS:
        return "the value"
    return repr(value)


BoundedValidator: Any = validators.extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    {
        name: _counted(keyword)
        for name, keyword in {
            **Draft202012Validator.VALIDATORS,
            "pattern": _pattern,
            "patternProperties": _pattern_properties,
            "additionalProperties": _additional_properties,
            "anyOf": _any_of,
            "oneOf": _one_of,
            "uniqueItems": _unique_items,
        }.items()
    },
)
FORMATS = FormatChecker(())
FORMATS.checkers = {**Draft202012Validator.FORMAT_CHECKER.checkers, "regex": (is_linear, ValueError)}
"""The formats of Draft 2020-12, with that of a schema's own expressions."""
