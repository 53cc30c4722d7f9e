"""Arguments of tools are accepted in the forms in which models write them, where these can mean only one value."""

from typing import Any

import pytest
from graphmesh_nodes.argument_forms import in_form_of

SCHEMA = {
    "type": "object",
    "properties": {
        "note": {"type": "string"},
        "place": {"type": "object", "properties": {"zip": {"type": "string"}}, "required": ["zip"]},
        "lines": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer"}}}},
        "counts": {"type": "object", "additionalProperties": {"type": "object"}},
        "any": {},
        "nothing": {"type": "null"},
    },
    "required": ["note"],
}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"place": '{"zip": "10001"}'}, {"place": {"zip": "10001"}}),
        ({"lines": '[{"n": 2.0}]'}, {"lines": [{"n": 2.0}]}),
        ({"lines": ['{"n": 2}']}, {"lines": [{"n": 2}]}),
        ({"counts": {"a": "{}"}}, {"counts": {"a": {}}}),
        ({"place": None, "lines": [{"n": None}]}, {"lines": [{}]}),
    ],
)
def test_forms_with_one_meaning_are_accepted(written: Any, meant: Any) -> None:
    assert in_form_of(SCHEMA, written) == meant


@pytest.mark.parametrize(
    "written",
    [
        {"note": '{"zip": "10001"}'},  # a text that is to be one
        {"note": None},  # required
        {"place": {"zip": None}},
        {"any": None, "nothing": None},
        {"place": "[1]"},
        {"place": "Riga"},
        {"place": "[" * 100_000},
        {"unknown": None},
    ],
)
def test_all_else_is_left_for_the_schema(written: Any) -> None:
    assert in_form_of(SCHEMA, written) == written
