"""Parsing of callers' JSON schemas, and validation of values."""

from typing import Any

import pytest
from graphmesh_model.schemas import parse_schema, schema_violation


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"minimum": 1e999}', "is not JSON: a number is too large"),
        ('{"const": NaN}', "is not JSON: NaN"),
        ('{"const": "\\ud800"}', "is not JSON: .*surrogates"),
        ("[]", "is not a JSON object"),
        ('{"type": "objekt"}', r"is not a JSON Schema: \$.type"),
        ('{"type": "string", "pattern": "("}', r"is not a JSON Schema: \$.pattern"),
        ('{"$ref": "http://127.0.0.1:1/schema.json"}', "has a reference that it does not contain: http"),
        ('{"items": {"$ref": "#/$defs/Gone"}}', "has a reference that it does not contain"),
    ],
)
def test_invalid_schema_is_rejected(text: str, why: str) -> None:
    """Including references to other documents, which would make this service fetch something."""
    with pytest.raises(ValueError, match=why):
        parse_schema(text)


def test_violation_does_not_contain_the_value() -> None:
    """Values may be personal data, and error messages reach callers and logs."""
    schema = parse_schema('{"type": "object", "properties": {"iban": {"type": "string", "maxLength": 3}}}')
    assert schema_violation({"iban": "GB29"}, schema) == "$.iban: maxLength"
    assert schema_violation({"iban": "GB"}, schema) is None


def test_self_referencing_schema_is_a_violation() -> None:
    violation = schema_violation({}, parse_schema('{"$ref": "#"}'))
    assert violation == "$: the schema has too many alternatives, or an infinite reference cycle"


HOSTILE = "a" * 5000 + "!"


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ('{"pattern": "^(a+)+$"}', HOSTILE),
        ('{"patternProperties": {"^(a+)+$": false}}', {HOSTILE: 1}),
        ('{"patternProperties": {"^(a|aa)+$": true}, "additionalProperties": true}', {HOSTILE: 1}),
    ],
)
def test_expressions_of_callers_take_linear_time(schema: str, value: Any) -> None:
    """Each of these takes exponential time in Python's own engine, which never ends for this text."""
    found = schema_violation(value, parse_schema(schema))

    assert found == ("$: pattern" if isinstance(value, str) else None)


def test_expressions_without_linear_match_are_refused() -> None:
    with pytest.raises(ValueError, match="linear time"):
        parse_schema('{"type": "string", "pattern": "(?=a)b"}')


def test_additional_properties_are_those_without_a_pattern() -> None:
    schema = parse_schema('{"patternProperties": {"^a": {"type": "string"}}, "additionalProperties": false}')

    assert schema_violation({"ab": "x"}, schema) is None
    assert schema_violation({"ab": 1}, schema) == "$.ab: type"
    assert schema_violation({"b": "x"}, schema) == "$: additionalProperties"
