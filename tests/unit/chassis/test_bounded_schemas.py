"""Values are validated against JSON Schemas in linear time: no pattern, alternative or repetition takes longer."""

import json
from typing import Any

import pytest
from graphmesh_chassis import bounded_schemas
from graphmesh_chassis.bounded_schemas import TooManySteps, patterns_of, schema_errors
from jsonschema import Draft202012Validator

LEVELS = 40
EVIL = r"^(a+)+$"


def doubling(levels: int, keyword: str = "anyOf") -> dict[str, Any]:
    """Return a schema that names two alternatives at each level: 2 to the power of `levels` in all."""
    definitions: dict[str, Any] = {
        f"level_{number}": {keyword: [{"$ref": f"#/$defs/level_{number + 1}"}] * 2} for number in range(levels)
    }
    return {"$ref": "#/$defs/level_0", "$defs": {**definitions, f"level_{levels}": {"type": "string"}}}


@pytest.mark.parametrize(("keyword", "value"), [("anyOf", 1), ("oneOf", 1), ("oneOf", "a"), ("allOf", "a")])
def test_alternatives_of_alternatives_are_refused(keyword: str, value: object) -> None:
    with pytest.raises(TooManySteps):
        schema_errors(doubling(LEVELS, keyword), value, 1)


def test_recursive_alternatives_are_refused() -> None:
    """Each level of the value doubles the alternatives of a schema that a recursive type of two kinds has."""
    node = {"$ref": "#/$defs/node"}
    kinds = [{"properties": {"child": node, name: {"type": "string"}}, "required": [name]} for name in ("a", "b")]
    schema = {**node, "$defs": {"node": {"anyOf": kinds}}}
    value: dict[str, Any] = {}
    for _ in range(LEVELS):
        value = {"child": value}
    with pytest.raises(TooManySteps):
        schema_errors(schema, value, 1)


def test_evil_pattern_is_matched() -> None:
    """Python's `re` takes longer than the age of the universe."""
    assert schema_errors({"pattern": EVIL}, "a" * 20_000, 1) == []
    [error] = schema_errors({"pattern": EVIL}, "a" * 20_000 + "b", 1)
    assert error.message == f"the value does not match {EVIL!r}"
    [error] = schema_errors({"patternProperties": {EVIL: False}}, {"a" * 20_000: 1}, 1)
    assert list(error.schema_path) == ["patternProperties"]
    assert schema_errors({"propertyNames": {"pattern": EVIL}}, {"a" * 20_000 + "b": 1}, 1)


def test_pattern_without_a_linear_match_is_refused() -> None:
    with pytest.raises(ValueError, match="linear time"):
        schema_errors({"pattern": "(?=a)b"}, "b", 1)


def test_unique_items_are_compared_as_json() -> None:
    schema = {"uniqueItems": True}
    equal: list[Any] = [[1, 1.0], [{"a": [1]}, {"a": [1]}], [[], []], ["a", "a"], [None, None]]
    different: list[Any] = [[1, True], [0, False], [{"a": 1}, {"a": True}], ["1", 1], [[], {}], [None, 0]]
    assert all(schema_errors(schema, value, 1) for value in equal)
    assert not any(schema_errors(schema, value, 1) for value in different)


def test_unique_items_take_steps_by_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects have no order: a plain validator compares each with all others."""
    keyed: list[Any] = []
    key = bounded_schemas._key

    def counted(value: Any) -> Any:
        keyed.append(value)
        return key(value)

    monkeypatch.setattr(bounded_schemas, "_key", counted)
    assert schema_errors({"uniqueItems": True}, [{"number": number} for number in range(5_000)], 1) == []
    assert len(keyed) == 10_000


def test_errors_of_alternatives_are_not_collected() -> None:
    """A plain validator keeps an error with its text for each element of each alternative."""
    schema = {"anyOf": [{"items": {"type": "integer"}}, {"type": "string"}]}
    [error] = schema_errors(schema, ["a"] * 100_000, 10)
    assert (error.message, error.context) == ("the value is not valid under any of the given schemas", [])


@pytest.mark.parametrize(
    "schema",
    [
        {"type": ["string", "null"]},
        {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 3}]},
        {"oneOf": [{"type": "integer"}, {"minimum": 3}]},
        {"pattern": "^a+$"},
        {"uniqueItems": True, "items": {"type": "integer"}},
        {"properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False},
        {"patternProperties": {"^a": {"type": "integer"}}, "additionalProperties": {"type": "string"}},
        {"not": {"type": "string"}},
        {"if": {"type": "object"}, "then": {"required": ["a"]}, "else": {"minimum": 3}},
    ],
)
def test_values_fit_as_in_a_plain_validator(schema: dict[str, Any]) -> None:
    texts = ('"a"', '"b"', "1", "3", "3.5", "null", "[1]", "[1, 1]", "[[]]", "{}", '{"a": 1}', '{"a": "x", "b": "y"}')
    for text in texts:
        value = json.loads(text)
        assert bool(schema_errors(schema, value, 1)) is not Draft202012Validator(schema).is_valid(value), text


def test_patterns_are_found_at_every_level() -> None:
    schema = {"$defs": {"a": {"items": [{"pattern": "x"}]}}, "patternProperties": {"y": {"pattern": "z"}}}
    assert sorted(patterns_of(schema)) == ["x", "y", "z"]
    assert list(patterns_of({"properties": {"pattern": {"type": "string"}}})) == []
