"""Replaces parts of LangGraph's stream: what it leaves out, and what takes long for large values.

The results of cached nodes and the starts of error handlers are not in its stream of tasks.

LangGraph 1.2 searches what nodes take and return for messages, texts character by character, and copies the value of an
interrupt deeply: a second for megabytes that pass all bounds, in which no other run or call is served.
"""

from collections.abc import Callable, Iterator
from typing import Any

from langchain_core.messages import BaseMessage
from langgraph._internal._constants import ERROR, INTERRUPT
from langgraph.constants import TAG_HIDDEN
from langgraph.pregel import _messages, debug
from langgraph.pregel._loop import AsyncPregelLoop, PregelLoop
from langgraph.pregel._messages import StreamMessagesHandler
from langgraph.pregel.protocol import StreamChunk

_state_values = _messages._state_values
_own_output_writes, _own_schedule_error_handler = PregelLoop.output_writes, AsyncPregelLoop.aschedule_error_handler


class ModelMessages(StreamMessagesHandler):
    """Streams the messages of models in the mode `text`, and none that nodes return: they are no text of a model."""

    def __init__(self, put: Callable[[StreamChunk], None]) -> None:
        super().__init__(lambda chunk: put((chunk[0], "text", chunk[2])), subgraphs=True)

    def on_chain_start(self, serialized: dict[str, Any], inputs: Any, **options: Any) -> Any:
        """Nothing that a node takes or returns is streamed."""

    def on_chain_end(self, response: Any, **options: Any) -> Any:  # type: ignore[override]  # as LangGraph's
        """Nothing that a node takes or returns is streamed."""


def replace_stream() -> None:
    """Replace the parts in this process."""
    PregelLoop.output_writes = _output_writes  # type: ignore[method-assign, assignment]
    AsyncPregelLoop.aschedule_error_handler = _schedule_error_handler  # type: ignore[method-assign, assignment]
    _messages._state_values = _values_with_messages  # type: ignore[assignment]
    debug.asdict = _members  # type: ignore[attr-defined, assignment]


def _output_writes(loop: PregelLoop, task_id: str, writes: Any, *, cached: bool = False) -> None:
    """Stream the writes of a task. LangGraph leaves out the result of one that is not executed, as it is cached."""
    _own_output_writes(loop, task_id, writes, cached=cached)
    task = loop.tasks.get(task_id)
    if cached and task and writes[0][0] not in (INTERRUPT, ERROR) and TAG_HIDDEN not in task.config.get("tags", ()):
        loop._emit("tasks", _cached_results, (task, writes), loop.stream_keys)


def _cached_results(*args: Any) -> Iterator[Any]:
    return ({**result, "cached": True} for result in debug.map_debug_task_results(*args))


async def _schedule_error_handler(loop: AsyncPregelLoop, failed: Any, error: BaseException) -> Any:
    """Schedule the task that handles the error of another. LangGraph streams its result, and not its start."""
    handler = await _own_schedule_error_handler(loop, failed, error)
    if handler is not None:
        loop._emit("tasks", debug.map_debug_tasks, [handler])
    return handler


def _values_with_messages(state: Any) -> list[Any]:
    """Return the values of a state that may be messages or have some, which texts do not."""
    return [value for value in _state_values(state) if isinstance(value, (BaseMessage, list, tuple))]


def _members(interrupt: Any) -> dict[str, Any]:
    """Return the members of an interrupt, which are not copied."""
    return {"value": interrupt.value, "id": interrupt.id}
