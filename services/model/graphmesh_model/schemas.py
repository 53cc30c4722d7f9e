"""Parses JSON Schemas of callers, and validates values against them."""

from typing import Any

from graphmesh_chassis.bounded_schemas import FORMATS, NO_REMOTE_SCHEMAS, TooManySteps, schema_errors
from graphmesh_chassis.linear_patterns import NOT_LINEAR
from jsonschema import Draft202012Validator
from referencing import Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from graphmesh_model import json_text
from graphmesh_model.domain import Schema

META_SCHEMA = Draft202012Validator.META_SCHEMA


def parse_object(text: str) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        ValueError: `text` is not a JSON object.
    """
    value = json_text.loads(text)
    if not isinstance(value, dict):
        raise ValueError("is not a JSON object")
    return value


def parse_schema(text: str) -> Schema:
    """Parse a JSON Schema (draft 2020-12).

    Raises:
        ValueError: `text` is not a JSON Schema, or it refers to something outside itself.
    """
    schema = parse_object(text)
    try:
        for error in schema_errors(META_SCHEMA, schema, 1, FORMATS):
            cause = NOT_LINEAR if error.validator_value == "regex" else error.message
            raise ValueError(f"is not a JSON Schema: {error.json_path}: {cause}")
        _resolve_all(schema)
    except Unresolvable as error:
        raise ValueError(f"has a reference that it does not contain: {error.ref}") from error
    except RecursionError as error:
        raise ValueError("has an infinite reference cycle, or is nested too deeply") from error
    return schema


def schema_violation(value: Any, schema: Schema) -> str | None:
    """Return path and keyword of the first violation, or None. It never contains the value, which may be personal."""
    try:
        errors = schema_errors(schema, value, 1)
    except TooManySteps as error:
        return f"$: {error}"
    return next((f"{error.json_path}: {error.validator}" for error in errors), None)


def _resolve_all(schema: Schema) -> None:
    resolver = NO_REMOTE_SCHEMAS.resolver_with_root(Resource.from_contents(schema, default_specification=DRAFT202012))
    unvisited: list[Any] = [schema]
    while unvisited:
        match unvisited.pop():
            case {"unevaluatedProperties": _, "patternProperties": _}:
                raise ValueError("has unevaluatedProperties beside patternProperties, which is not supported")
            case {"$ref": str(reference), **siblings}:
                resolver.lookup(reference)
                unvisited.extend(siblings.values())
            case dict() as inner:
                unvisited.extend(inner.values())
            case list() as inner:
                unvisited.extend(inner)
