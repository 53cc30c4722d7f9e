"""Types that pydantic can make JSON schemas of, and the violations of a value against a schema."""

import functools
import operator
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import typing_extensions
from graphmesh_chassis.bounded_schemas import TooManySteps, schema_errors
from graphmesh_chassis.errors import FieldViolation
from graphmesh_chassis.large_values import is_large

from graphmesh_nodes.schema_fit import fits

MAX_ERRORS = 100
MAX_RULE = 500
"""Characters of a violated rule. It has the value in it."""


def portable_type(state: Any) -> Any:
    """Return the type with typing_extensions' TypedDicts: before Python 3.12 pydantic refuses those of typing."""
    if typing_extensions.is_typeddict(state):
        hints = typing_extensions.get_type_hints(state, include_extras=True)
        fields = {name: _required(state, name, portable_type(bare_hint(hint))) for name, hint in hints.items()}
        return typing_extensions.TypedDict(state.__name__, fields)  # type: ignore[operator]
    origin, arguments = typing.get_origin(state), typing.get_args(state)
    if origin is typing.Annotated:
        return typing.Annotated[(portable_type(arguments[0]), *state.__metadata__)]
    if origin in (typing.Union, types.UnionType):
        return functools.reduce(operator.or_, (portable_type(argument) for argument in arguments))
    if origin in (list, dict, tuple, set, frozenset):
        return origin[tuple(portable_type(argument) for argument in arguments)]
    return state


def _required(typed_dict: Any, name: str, hint: Any) -> Any:
    wrapper = typing_extensions.Required if name in typed_dict.__required_keys__ else typing_extensions.NotRequired
    return wrapper[hint]


def bare_hint(hint: Any) -> Any:
    """Return the hint without `Required` and `NotRequired` around it."""
    wrappers = (typing.Required, typing.NotRequired)
    return typing.get_args(hint)[0] if typing.get_origin(hint) in wrappers else hint


def violations_of(schema: Mapping[str, Any], value: Any, root: str) -> tuple[FieldViolation, ...]:
    """Return the violations of `value` against `schema`, each under its field's path; `root` names `value` itself.

    Of a value with more than `MAX_ERRORS` errors the first ones are returned.
    """
    if is_large(value) and fits(schema, value):
        return ()
    try:
        errors = schema_errors(schema, value, MAX_ERRORS)
    except TooManySteps as error:
        return (FieldViolation(root, f"cannot be checked: {error}"),)
    found = dict[FieldViolation, None]()
    for violation in (violation for error in errors for violation in _violations(error, root)):
        found[violation] = None
        if len(found) == MAX_ERRORS:
            break
    return tuple(found)


def _violations(error: Any, root: str) -> Iterator[FieldViolation]:
    """Yield violations under the path of a missing or unknown field itself, not of the object around it."""
    path = (root + error.json_path.removeprefix("$")).removeprefix(".")
    inside = f"{path}." if path else ""
    match error.validator:
        case "required":
            missing = (name for name in error.validator_value if name not in error.instance)
            yield from (FieldViolation(f"{inside}{name}", "is required") for name in missing)
        case "additionalProperties":
            unknown = (name for name in error.instance if name not in error.schema.get("properties", {}))
            yield from (FieldViolation(f"{inside}{name}", "is not a known field") for name in unknown)
        case _:
            yield FieldViolation(path, error.message[:MAX_RULE])
