"""Replaces two parts of LangGraph's stream, whose time on the event loop grows with each character and each element.

LangGraph 1.2 searches texts that nodes return for messages, character by character, and copies the value of an
interrupt deeply: a second for megabytes that pass all bounds, in which no other run or call is served.
"""

from typing import Any

from graphmesh_chassis.large_values import MAX_ELEMENTS
from langgraph.pregel import debug, main
from langgraph.pregel._messages import StreamMessagesHandler, _state_values


class NodeMessages(StreamMessagesHandler):
    """Streams the messages of models and nodes. It searches no texts, and no lists that are too large to be stored."""

    def on_chain_start(self, serialized: dict[str, Any], inputs: Any, **options: Any) -> Any:
        is_node = options.get("name") == (options.get("metadata") or {}).get("langgraph_node")
        return super().on_chain_start(serialized, _searchable(inputs) if is_node else {}, **options)

    def on_chain_end(self, response: Any, **options: Any) -> Any:  # type: ignore[override]  # as LangGraph's
        return super().on_chain_end(None if _is_opaque(response) else response, **options)

    def _find_and_emit_messages(self, meta: Any, response: Any) -> None:
        super()._find_and_emit_messages(meta, _searchable(response) if _state_values(response) else response)


def bound_stream() -> None:
    """Replace the parts in this process."""
    main.StreamMessagesHandler = NodeMessages  # type: ignore[attr-defined]
    debug.asdict = _members  # type: ignore[attr-defined, assignment]


def _searchable(state: Any) -> dict[str, Any]:
    values = {str(number): value for number, value in enumerate(_state_values(state))}
    return {number: value for number, value in values.items() if not _is_opaque(value)}


def _is_opaque(value: Any) -> bool:
    """Whether a value has no messages in it, or is refused anyway."""
    if isinstance(value, str | bytes | bytearray | memoryview):
        return True
    return isinstance(value, list | tuple) and len(value) > MAX_ELEMENTS


def _members(interrupt: Any) -> dict[str, Any]:
    """Return the members of an interrupt, which are not copied."""
    return {"value": interrupt.value, "id": interrupt.id}
