"""A fast test of large values against the keywords that schemas of states have most.

A JSON Schema validator takes some 15 us an element, this takes half of one. It only finds that a value fits; any other
value, and any schema with another keyword, is left to the validator, which names the violations.
"""

from collections.abc import Callable, Mapping
from typing import Any

Test = Callable[[Any], bool]

TYPES: Mapping[str, frozenset[type]] = {
    "string": frozenset({str}),
    "integer": frozenset({int}),
    "number": frozenset({int, float}),
    "boolean": frozenset({bool}),
    "null": frozenset({type(None)}),
    "array": frozenset({list}),
    "object": frozenset({dict}),
}
ANNOTATIONS = frozenset({"title", "description", "default", "examples", "$defs"})
REFERENCE = "#/$defs/"


class _UnknownKeywordError(Exception):
    """The schema has a keyword that is not tested here."""


def fits(schema: Mapping[str, Any], value: Any) -> bool:
    """Report whether a value surely fits a schema. False: it does not, or it is not known here."""
    try:
        return _Tests(schema.get("$defs", {})).schema_test(schema)(value)
    except (_UnknownKeywordError, RecursionError):
        return False


class _Tests:
    """Makes the tests of one schema."""

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions
        self._referred: dict[str, Test] = {}

    def schema_test(self, schema: Any) -> Test:
        if isinstance(schema, bool):
            return lambda value: schema
        tests = [self._test(keyword, schema) for keyword in schema if keyword not in ANNOTATIONS]
        match tests:
            case []:
                return lambda value: True
            case [only]:
                return only
        return lambda value: all(test(value) for test in tests)

    def _test(self, keyword: str, schema: Mapping[str, Any]) -> Test:
        stated = schema[keyword]
        match keyword:
            case "type" if isinstance(stated, str):
                types = TYPES[stated]
                return lambda value: type(value) in types
            case "anyOf":
                return self._any(stated)
            case "items":
                element = self.schema_test(stated)
                return lambda value: type(value) is not list or all(map(element, value))
            case "required":
                return lambda value: type(value) is not dict or all(name in value for name in stated)
            case "properties":
                properties = {name: self.schema_test(inner) for name, inner in stated.items()}
                return lambda value: (
                    type(value) is not dict
                    or all(name not in value or test(value[name]) for name, test in properties.items())
                )
            case "additionalProperties" if "patternProperties" not in schema:
                known, other = schema.get("properties", {}), self.schema_test(stated)
                return lambda value: (
                    type(value) is not dict or all(name in known or other(value[name]) for name in value)
                )
            case "$ref" if str(stated).startswith(REFERENCE):
                return self._reference(str(stated).removeprefix(REFERENCE))
        raise _UnknownKeywordError

    def _any(self, schemas: list[Any]) -> Test:
        if all(isinstance(schema, dict) and set(schema) == {"type"} for schema in schemas):
            types = frozenset[type]().union(*(TYPES[schema["type"]] for schema in schemas))
            return lambda value: type(value) in types
        tests = [self.schema_test(schema) for schema in schemas]
        return lambda value: any(test(value) for test in tests)

    def _reference(self, name: str) -> Test:
        """The test of a definition, which may refer to itself: it is made once, and found when it is called."""
        if name not in self._referred:
            self._referred[name] = lambda value: self._referred[name](value)
            self._referred[name] = self.schema_test(self._definitions[name])
        return lambda value: self._referred[name](value)
