"""Parses JSON Schemas of callers, and validates values against them.

References are resolved only within the schema: it is untrusted text and must not make this service fetch anything.
"""

from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from graphmesh_model import json_text
from graphmesh_model.domain import Schema
from graphmesh_model.linear_patterns import FORMATS, NOT_LINEAR, LinearValidator

NO_REMOTE_SCHEMAS: Registry[Any] = Registry()
META_SCHEMA_VALIDATOR = Draft202012Validator(Draft202012Validator.META_SCHEMA, format_checker=FORMATS)


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
        if error := next(iter(META_SCHEMA_VALIDATOR.iter_errors(schema)), None):
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
        error = next(iter(LinearValidator(schema, registry=NO_REMOTE_SCHEMAS).iter_errors(value)), None)
    except RecursionError:
        return "$: the schema has an infinite reference cycle"
    return f"{error.json_path}: {error.validator}" if error else None


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
