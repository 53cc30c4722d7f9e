"""Bounds the custom events of a run that wait to be recorded, so that a graph writes no faster than they are stored."""

import asyncio
from dataclasses import dataclass
from threading import Condition
from typing import Any

from graphmesh_chassis.large_values import MAX_ELEMENTS, Size, size_of
from graphmesh_nodes.errors import ValueNotStorable
from graphmesh_nodes.json_values import MAX_BYTES
from graphmesh_nodes.tool_calls import ToolCalled
from langgraph.runtime import Runtime
from langgraph.types import StreamWriter

PENDING_EVENTS = 1_000
"""Events that may wait to be recorded before a synchronous node waits."""
PENDING_BYTES = 1024 * 1024
"""The same in bytes."""
ASYNC_FACTOR = 8
"""An asynchronous node cannot wait in its writer: it may be ahead by so many times as much, then its write fails."""


@dataclass(frozen=True, slots=True)
class CustomEvent:
    """A value that a node has written to the stream."""

    value: Any
    size: Size


class PendingEvents:
    """The custom events of one execution that its stream has and its journal has not yet."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._events = self._bytes = 0
        self._is_closed = False

    @property
    def runtime(self) -> Runtime[Any]:
        """The runtime to give to a graph as that of its parent: it bounds the writer that LangGraph makes."""
        return _BoundedRuntime(pending=self)

    def bounded(self, write: StreamWriter) -> StreamWriter:
        """Return a writer for nodes, in any thread. A synchronous node waits in it while too many events are pending.

        Raises:
            ValueNotStorable: by the writer: the value is too large, or an asynchronous node is too far ahead.
        """

        def bounded(value: Any) -> None:
            if isinstance(value, ToolCalled):
                write(value)
            elif self._add(size := _size_of(value)):
                write(CustomEvent(value, size))

        return bounded

    def recorded(self, event: CustomEvent) -> None:
        """Make room for further events."""
        with self._changed:
            self._events -= 1
            self._bytes -= event.size.bytes
            self._changed.notify()

    def close(self) -> None:
        """Discard what nodes write from now on: the stream has ended, and nodes of it may be left behind."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _add(self, size: Size) -> bool:
        """Count an event. Returns whether the stream still takes it."""
        with self._changed:
            if _is_on_event_loop():
                if self._is_full(ASYNC_FACTOR):
                    rule = f"would be one of more than {self._events} that wait to be stored: await between events"
                    raise ValueNotStorable(key="event", rule=rule)
            else:
                self._changed.wait_for(lambda: self._is_closed or not self._is_full())
            if self._is_closed:
                return False
            self._events += 1
            self._bytes += size.bytes
            return True

    def _is_full(self, factor: int = 1) -> bool:
        return self._events >= factor * PENDING_EVENTS or self._bytes >= factor * PENDING_BYTES


def _size_of(value: Any) -> Size:
    """Raises ValueNotStorable at once, before a larger value waits for anything."""
    size = size_of(value)
    if size.elements > MAX_ELEMENTS:
        raise ValueNotStorable(key="event", rule=f"has more than {MAX_ELEMENTS} members and elements")
    if size.bytes > MAX_BYTES:
        raise ValueNotStorable(key="event", rule=f"has {size.bytes} bytes, it may have {MAX_BYTES}")
    return size


def _is_on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class _BoundedRuntime(Runtime[Any]):  # type: ignore[misc]  # mypy does not see that LangGraph's is frozen
    """LangGraph merges the runtime of a graph into that of its parent, and gives the result to the nodes."""

    pending: PendingEvents

    def merge(self, other: Runtime[Any]) -> Runtime[Any]:
        return super().merge(other.override(stream_writer=self.pending.bounded(other.stream_writer)))
