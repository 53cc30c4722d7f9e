"""Replaces parts of LangGraph's stream whose time on the event loop grows with each character and each element.

LangGraph 1.2 searches what nodes take and return for messages, texts character by character, and copies the value of an
interrupt deeply: a second for megabytes that pass all bounds, in which no other run or call is served.
"""

from collections.abc import Callable
from typing import Any

from langchain_core.messages import BaseMessage
from langgraph.pregel import _messages, debug
from langgraph.pregel._messages import StreamMessagesHandler
from langgraph.pregel.protocol import StreamChunk

_state_values = _messages._state_values


class ModelMessages(StreamMessagesHandler):
    """Streams the messages of models in the mode `text`, and none that nodes return: they are no text of a model."""

    def __init__(self, put: Callable[[StreamChunk], None]) -> None:
        super().__init__(lambda chunk: put((chunk[0], "text", chunk[2])), subgraphs=True)

    def on_chain_start(self, serialized: dict[str, Any], inputs: Any, **options: Any) -> Any:
        """Nothing that a node takes or returns is streamed."""

    def on_chain_end(self, response: Any, **options: Any) -> Any:  # type: ignore[override]  # as LangGraph's
        """Nothing that a node takes or returns is streamed."""


def bound_stream() -> None:
    """Replace the parts in this process."""
    _messages._state_values = _values_with_messages  # type: ignore[assignment]
    debug.asdict = _members  # type: ignore[attr-defined, assignment]


def _values_with_messages(state: Any) -> list[Any]:
    """Return the values of a state that may be messages or have some, which texts do not."""
    return [value for value in _state_values(state) if isinstance(value, (BaseMessage, list, tuple))]


def _members(interrupt: Any) -> dict[str, Any]:
    """Return the members of an interrupt, which are not copied."""
    return {"value": interrupt.value, "id": interrupt.id}
