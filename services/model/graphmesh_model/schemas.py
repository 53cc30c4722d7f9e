"""JSON schemas of callers, and values checked against them (H2).

No reference leaves the schema that it stands in: a schema is a caller's text and must not make
this service fetch anything.
"""

from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from graphmesh_model import json_text
from graphmesh_model.domain import Schema

NO_REMOTE: Registry[Any] = Registry()
SCHEMA_OF_SCHEMAS = Draft202012Validator(
    Draft202012Validator.META_SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER
)


def parse_object(text: str) -> dict[str, Any]:
    """The JSON object that `text` is.

    Raises:
        ValueError: it is none.
    """
    value = json_text.read(text)
    if not isinstance(value, dict):
        raise ValueError("is not a JSON object")
    return value


def parse_schema(text: str) -> Schema:
    """The JSON schema that `text` is.

    Raises:
        ValueError: it is none, or it refers to something outside itself.
    """
    schema = parse_object(text)
    try:
        if error := next(iter(SCHEMA_OF_SCHEMAS.iter_errors(schema)), None):
            raise ValueError(f"is not a JSON Schema: {error.json_path}: {error.message}")
        _resolve_all(schema)
    except Unresolvable as error:
        raise ValueError(f"refers to what it does not contain: {error.ref}") from error
    except RecursionError as error:
        raise ValueError("refers to itself without end, or is nested too deeply") from error
    return schema


def misfit(value: Any, schema: Schema) -> str | None:
    """Where and by which rule `value` does not fit `schema`; None where it fits. Never a part of the value itself."""
    try:
        error = next(iter(Draft202012Validator(schema, registry=NO_REMOTE).iter_errors(value)), None)
    except RecursionError:
        return "$: the schema refers to itself without end"
    return f"{error.json_path}: {error.validator}" if error else None


def _resolve_all(schema: Schema) -> None:
    resolver = NO_REMOTE.resolver_with_root(Resource.from_contents(schema, default_specification=DRAFT202012))
    waiting: list[Any] = [schema]
    while waiting:
        match waiting.pop():
            case {"$ref": str(reference), **beside}:
                resolver.lookup(reference)
                waiting.extend(beside.values())
            case dict() as inner:
                waiting.extend(inner.values())
            case list() as inner:
                waiting.extend(inner)
