"""Replaces two parts of LangGraph's stream, whose time on the event loop grows with each character and each element.

LangGraph 1.2 searches what nodes take and return for messages, texts character by character, and copies the value of an
interrupt deeply: a second for megabytes that pass all bounds, in which no other run or call is served.
"""

from typing import Any

from langgraph.pregel import debug, main
from langgraph.pregel._messages import StreamMessagesHandler


class ModelMessages(StreamMessagesHandler):
    """Streams the messages of models, and none that nodes return: they are no text of a model."""

    def on_chain_start(self, serialized: dict[str, Any], inputs: Any, **options: Any) -> Any:
        return super().on_chain_start(serialized, {}, **options)

    def on_chain_end(self, response: Any, **options: Any) -> Any:  # type: ignore[override]  # as LangGraph's
        return super().on_chain_end(None, **options)


def bound_stream() -> None:
    """Replace the parts in this process."""
    main.StreamMessagesHandler = ModelMessages  # type: ignore[attr-defined]
    debug.asdict = _members  # type: ignore[attr-defined, assignment]


def _members(interrupt: Any) -> dict[str, Any]:
    """Return the members of an interrupt, which are not copied."""
    return {"value": interrupt.value, "id": interrupt.id}
