"""The violations of a value are few and short, whatever the value is."""

from graphmesh_nodes.json_schemas import MAX_ERRORS, MAX_RULE, violations_of

STRINGS = {"type": "array", "items": {"type": "integer"}}


def test_violations_are_bounded_in_number_and_length() -> None:
    unknown = violations_of({"additionalProperties": False}, {f"field_{n}": n for n in range(100_000)}, "input")
    assert len(unknown) == MAX_ERRORS
    assert (unknown[0].field, unknown[0].description) == ("input.field_0", "is not a known field")
    texts = violations_of(STRINGS, ["a" * 10_000] * 1_000, "input")
    assert len(texts) == MAX_ERRORS
    assert max(len(violation.description) for violation in texts) <= MAX_RULE


def test_every_missing_field_is_named_once() -> None:
    names = [f"field_{number}" for number in range(20)]
    violations = violations_of({"required": names, "additionalProperties": False}, {"other": 1}, "input")
    assert [one.field for one in violations] == [*(f"input.{name}" for name in names), "input.other"]


def test_value_that_takes_too_many_steps_is_refused() -> None:
    node = {"$ref": "#/$defs/node"}
    kinds = [{"properties": {"child": node, name: {"type": "string"}}, "required": [name]} for name in ("a", "b")]
    value: dict[str, object] = {}
    for _ in range(40):
        value = {"child": value}
    [violation] = violations_of({**node, "$defs": {"node": {"anyOf": kinds}}}, value, "input")
    assert violation.field == "input"
    assert "the schema has too many alternatives" in violation.description
