"""Numbers of Structs keep their values: whole ones are integers, and what a double rounds is refused."""

from typing import Any

import pytest
from graphmesh.orchestrator.v1 import RunEvent
from graphmesh_contracts import to_struct
from graphmesh_contracts.message_json import message_dict, message_text
from graphmesh_contracts.structs import NotJsonError, require_exact


def test_whole_numbers_are_integers() -> None:
    event = RunEvent(custom=to_struct({"b": [1.5, {"c": -3}]}))
    assert message_text(to_struct({"a": [42, 1e300, "4.0", 0.5]})) == '{"a": [42, 1e+300, "4.0", 0.5]}'
    assert message_dict(event)["custom"]["b"] == [1.5, {"c": -3}]


@pytest.mark.parametrize("value", [{"a": [2**53, -(2**53)]}, [1.5, None, True, "9007199254740993"], 1e300])
def test_exact_numbers_are_accepted(value: Any) -> None:
    require_exact(value)


@pytest.mark.parametrize(
    ("value", "path"), [({"a": {"b": [1, 2**53 + 1]}}, r"\.a\.b\[1\]"), ([-(10**400)], r"\[0\]"), (2**60, "is an")]
)
def test_integers_that_would_be_rounded_are_refused_by_their_path(value: Any, path: str) -> None:
    with pytest.raises(NotJsonError, match=path):
        require_exact(value)
