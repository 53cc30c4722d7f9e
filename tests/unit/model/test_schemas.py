"""Callers' JSON schemas, and values held against them (H2)."""

import pytest
from graphmesh_model.schemas import misfit, parse_schema


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
        ('{"$ref": "http://127.0.0.1:1/schema.json"}', "refers to what it does not contain: http"),
        ('{"items": {"$ref": "#/$defs/Gone"}}', "refers to what it does not contain"),
    ],
)
def test_what_is_no_schema_is_refused(text: str, why: str) -> None:
    """References to elsewhere among them: nobody makes this service fetch anything."""
    with pytest.raises(ValueError, match=why):
        parse_schema(text)


def test_a_misfit_is_named_without_the_value() -> None:
    """Values may be personal; the message of an error travels (H3)."""
    schema = parse_schema('{"type": "object", "properties": {"iban": {"type": "string", "maxLength": 3}}}')
    assert misfit({"iban": "GB29"}, schema) == "$.iban: maxLength"
    assert misfit({"iban": "GB"}, schema) is None


def test_a_schema_that_is_only_itself_fits_nothing() -> None:
    assert misfit({}, parse_schema('{"$ref": "#"}')) == "$: the schema refers to itself without end"
