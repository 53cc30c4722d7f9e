"""Parsing of callers' JSON schemas, and validation of values."""

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
    assert schema_violation({}, parse_schema('{"$ref": "#"}')) == "$: the schema has an infinite reference cycle"
