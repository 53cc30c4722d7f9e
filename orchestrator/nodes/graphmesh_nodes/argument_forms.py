"""The forms in which models write arguments: objects and lists as texts of JSON, and null for what is absent.

What can mean only one value of the schema is accepted. All else is left as it is, for the schema to refuse.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

CONTAINERS: Final[Mapping[str, type]] = {"object": dict, "array": list}


def in_form_of(schema: Schema, value: Any) -> Any:
    """Return the value in the form of the schema of a tool, where it has another one with that meaning."""
    wanted = str(schema.get("type"))
    if isinstance(value, str) and wanted in CONTAINERS:
        value = _parsed(value, CONTAINERS[wanted])
    if isinstance(value, dict) and wanted == "object":
        return _members(schema, value)
    if isinstance(value, list) and wanted == "array":
        return [in_form_of(schema.get("items", {}), element) for element in value]
    return value


def _parsed(text: str, kind: type) -> Any:
    """Return what a text of JSON states, where it is of that type; else the text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, kind) else text


def _members(schema: Schema, value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members, without those that are null where that means nothing."""
    properties, required = schema.get("properties", {}), schema.get("required", ())
    others = schema.get("additionalProperties", {})
    schemas = {name: properties.get(name, others if isinstance(others, Mapping) else {}) for name in value}
    optional = {name for name in properties if name not in required and properties[name].get("type", "null") != "null"}
    stated = {name: inner for name, inner in value.items() if inner is not None or name not in optional}
    return {name: in_form_of(schemas[name], inner) for name, inner in stated.items()}
