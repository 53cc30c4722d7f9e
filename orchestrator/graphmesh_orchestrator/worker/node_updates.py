"""The updates of nodes, as events show them: without the marks with which LangGraph records them."""

from collections.abc import Mapping
from typing import Any

from langgraph.types import Overwrite


def update_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a node has written, by channel: where it has written to a channel several times, a list."""
    return {channel: _written(value) for channel, value in result.items()}


def _written(value: Any) -> Any:
    match value:
        case {"$writes": [*values]} if len(value) == 1:
            return [_written(one) for one in values]
        case Overwrite():
            return value.value
        case {"__overwrite__": overwriting} if len(value) == 1:
            return overwriting
    return value
