"""The fast test of a value against a schema never accepts what a JSON Schema validator refuses."""

from typing import Any

import pytest
from graphmesh_chassis.large_values import INLINE_ELEMENTS, is_large
from graphmesh_nodes.json_schemas import MAX_ERRORS, violations_of
from graphmesh_nodes.schema_fit import fits
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import BaseModel, TypeAdapter
from typing_extensions import TypedDict

from tests.integration.orchestrator.loop_steps import cpu_seconds


class Item(BaseModel):
    name: str
    price: float | None = None
    parts: "list[Item]" = []


class State(TypedDict, total=False):
    items: list[Item]
    counts: dict[str, int]
    note: str | None


SCHEMA = TypeAdapter(State).json_schema()
SCHEMAS = [
    SCHEMA,
    {"type": "array", "items": {"type": "integer"}},
    {
        "anyOf": [
            {"type": "string"},
            {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
        ]
    },
    {"type": "object", "additionalProperties": False, "properties": {"name": {}, "price": {"type": "number"}}},
    {"items": False},
    {"type": ["string", "null"]},
    {"minimum": 3},
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 5) | st.sampled_from([1.0, 2.5, "a"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "price", "parts", "items", "counts", "note"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize("schema", SCHEMAS, ids=range(len(SCHEMAS)))
@given(value=VALUES)
def test_a_value_that_fits_is_valid(schema: dict[str, Any], value: Any) -> None:
    if fits(schema, value):
        assert Draft202012Validator(schema).is_valid(value)


def test_values_of_a_state_fit() -> None:
    item = {"name": "a", "price": 1.5, "parts": [{"name": "b"}]}

    assert fits(SCHEMA, {"items": [item, item], "counts": {"a": 1}, "note": None})
    assert not fits(SCHEMA, {"items": [{"price": 1.5}]})


def test_a_large_value_is_checked_in_a_microsecond_an_element() -> None:
    value = {"items": [{"name": "a", "price": None} for _ in range(15_000)]}
    assert violations_of(SCHEMA, value, "input") == ()

    # 45,000 elements, which take 0.02 s; a JSON Schema validator takes 0.6 s
    assert cpu_seconds(violations_of, SCHEMA, value, "input") < 0.2


def test_violations_of_a_large_value_are_bounded() -> None:
    found = violations_of(SCHEMA, {"items": [{"name": 1}] * 15_000}, "input")

    assert len(found) == MAX_ERRORS
    assert found[0].field == "input.items[0].name"


@pytest.mark.parametrize("value", [[None] * (INLINE_ELEMENTS + 1), {"a": [[None] * 3000, {"b": [1] * 3000}]}])
def test_large_values_are_those_of_many_elements(value: Any) -> None:
    assert is_large(value)
    assert not is_large(None, {"a": "x" * 100_000}, [1] * 100)
