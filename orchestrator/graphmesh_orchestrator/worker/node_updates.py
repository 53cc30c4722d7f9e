"""The updates of nodes, as events show them: without the marks with which LangGraph records them."""

from collections.abc import Mapping
from typing import Any

from langgraph.types import Overwrite

RESULTS = {"__end__": "value", "__return__": "value"}
"""The channels of the results of workflows and of their tasks, by the names that are shown."""
PREVIOUS = "__previous__"
"""The channel of what a workflow saves for its next run; the state has it."""


def update_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a node has written, by channel: where it has written to a channel several times, a list."""
    return {RESULTS.get(channel, channel): _written(value) for channel, value in result.items() if channel != PREVIOUS}


def _written(value: Any) -> Any:
    match value:
        case {"$writes": [*values]} if len(value) == 1:
            return [_written(one) for one in values]
        case Overwrite():
            return value.value
        case {"__overwrite__": overwriting} if len(value) == 1:
            return overwriting
    return value
