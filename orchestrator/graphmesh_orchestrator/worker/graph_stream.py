"""Receives the stream of a run's graph and of all graphs within it, where it is made: no queue and no task between.

LangGraph hands each part of a stream to the stream of the graph around it, which it finds in the config, and makes
nothing for modes that no stream has. Here that is a `GraphStream`. What is small is recorded at once; what is large is
encoded in a thread first, and everything after it waits for that, so that the order is kept.
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

from graphmesh_chassis.large_values import MAX_ELEMENTS, Size, size_of
from graphmesh_nodes.decisions import Decision, RouteTaken
from graphmesh_nodes.errors import ValueNotStorable
from graphmesh_nodes.json_values import MAX_BYTES
from graphmesh_nodes.tool_calls import ToolCalled
from langgraph._internal._constants import NS_SEP
from langgraph.config import get_config
from langgraph.pregel.protocol import StreamChunk
from langgraph.runtime import Runtime

from graphmesh_orchestrator.worker.event_bounds import EVENT_BYTES, MAX_PENDING_BYTES, NO_VALUE

ASYNC_FACTOR = 8
"""An asynchronous node cannot wait in its writer: it may be ahead by so many times as much, then its write fails."""
OPTIONAL = frozenset({"messages", "values", "task", "checkpoints", "debug"})
"""The modes whose values may be left out."""
Namespace = tuple[str, ...]
"""The subgraph that a part is of: the nodes around it, each with the id of its task; empty for the run's graph."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a stream, as LangGraph makes it."""

    namespace: Namespace
    mode: str
    value: Any
    size: Size = NO_VALUE
    """The size of what a node has written, or of what waits; that of what is recorded at once is not known."""
    is_left_out: bool = False
    """Whether too much waited to be recorded, so that it has no value."""

    @property
    def bytes(self) -> int:
        return EVENT_BYTES + self.size.bytes


class GraphStream:
    """The stream of one execution, for `async with` in the task that runs the graph.

    The first part that cannot be recorded cancels that task; its error is raised at the end of the block.
    """

    def __init__(
        self,
        record: Callable[[Part], Awaitable[None] | None],
        is_full: Callable[[int], bool],
    ) -> None:
        """
        Args:
            record: records a part; where that takes a thread, returns what to await. Raises GraphmeshError.
            is_full: whether so many times as many events wait to be stored as may.
        """
        self._record, self._is_recorder_full = record, is_full
        self._parts: deque[Part] = deque()
        """Parts that wait for one that is encoded in a thread."""
        self._recording: asyncio.Task[None] | None = None
        self._error: Exception | None = None
        self._cancellation: asyncio.Handle | None = None
        self._changed = threading.Condition()
        self._waiting = 0
        """Bytes of parts that wait to be recorded: for the event loop, or for others that are encoded in a thread."""
        self._is_closed = False

    async def __aenter__(self) -> Self:
        self._loop, self._loop_thread = asyncio.get_running_loop(), threading.get_ident()
        owner = asyncio.current_task()
        assert owner is not None
        self._owner = owner
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait until everything is recorded. Raises the error of a part that could not be."""
        try:
            if kind is None and self._recording:
                await self._recording
        finally:
            if self._cancellation:
                self._cancellation.cancel()
            if self._error and self._owner.cancelling():
                self._owner.uncancel()
            if self._error:
                raise self._error

    @property
    def runtime(self) -> Runtime[Any]:
        """The runtime to give to a graph as that of its parent, whose writer the nodes get."""
        return Runtime(stream_writer=self.write)

    def write(self, value: Any) -> None:
        """Write an event, or the call of a tool, from a node in any thread.

        A synchronous node waits in it while too many events wait to be stored.

        Raises:
            ValueNotStorable: the value is too large, or an asynchronous node is too far ahead of the database.
        """
        namespace = tuple(get_config()["configurable"]["checkpoint_ns"].split(NS_SEP)[:-1])
        if isinstance(value, ToolCalled):
            self.put((namespace, "custom", value))
            return
        size = _size_of(value)
        self._require_room()
        self._hand_over(Part(namespace, "custom", value, size))

    def decide(self, decision: Decision) -> None:
        """Write what a node has decided, as `write`. A route is no act of a node: its values are left out instead."""
        is_left_out = False
        if isinstance(decision, RouteTaken):
            is_left_out = self._has_no_room
        else:
            self._require_room()
        self._hand_over(Part(decision.namespace, "decision", decision, is_left_out=is_left_out))

    @property
    def _has_no_room(self) -> bool:
        """Whether an asynchronous node, which cannot wait, is too far ahead of the database."""
        return self._is_on_loop and self._is_full(ASYNC_FACTOR)

    def _require_room(self) -> None:
        if self._has_no_room:
            rule = "would be one of too many that wait to be stored: await between events"
            raise ValueNotStorable(key="event", rule=rule)

    def wake(self) -> None:
        """Events have been stored: threads that wait for that continue."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Discard all further parts: the graph has stopped, and nodes of it may be left behind."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    @property
    def _is_on_loop(self) -> bool:
        return threading.get_ident() == self._loop_thread

    def put(self, chunk: StreamChunk) -> None:
        """Take a part from LangGraph, in any thread: a synchronous node may execute a graph."""
        self._hand_over(Part(*chunk))

    def _hand_over(self, part: Part) -> None:
        if self._is_on_loop:
            self._accept(part)
            return
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or not self._is_full())
            if self._is_closed:
                return
            self._waiting += part.bytes
        with contextlib.suppress(RuntimeError):  # the loop has been closed
            self._loop.call_soon_threadsafe(self._accept_from_thread, part)

    def _is_full(self, factor: int = 1) -> bool:
        return self._is_recorder_full(factor) or self._waiting >= factor * MAX_PENDING_BYTES

    def _accept_from_thread(self, part: Part) -> None:
        self._stop_waiting(part)
        self._accept(part)

    def _stop_waiting(self, part: Part) -> None:
        with self._changed:
            self._waiting -= part.bytes
            self._changed.notify_all()

    def _accept(self, part: Part) -> None:
        if self._is_closed or self._error:
            return
        if self._recording:
            self._keep(part)
            return
        try:
            pending = self._record(part)
        except Exception as error:
            self._fail(error)
        else:
            if pending is not None:
                self._recording = self._loop.create_task(self._record_all(pending), name="record large values")

    def _keep(self, part: Part) -> None:
        """Let a part wait for those that are being recorded. What may be left out is, if too much waits."""
        if part.mode in OPTIONAL and self._is_full(ASYNC_FACTOR):
            part = replace(part, value=None, is_left_out=True)
        elif part.size is NO_VALUE:
            part = replace(part, size=size_of(part.value))
        with self._changed:
            self._waiting += part.bytes
        self._parts.append(part)

    async def _record_all(self, pending: Awaitable[None] | None) -> None:
        try:
            while pending is not None or self._parts:
                if pending is not None:
                    await pending
                pending = self._record_next() if self._parts else None
        except Exception as error:
            self._fail(error)
        finally:
            self._recording = None

    def _record_next(self) -> Awaitable[None] | None:
        part = self._parts.popleft()
        self._stop_waiting(part)
        return self._record(part)

    def _fail(self, error: Exception) -> None:
        if self._error is None:
            self._error = error
            self._cancellation = self._loop.call_soon(self._owner.cancel)


def _size_of(value: Any) -> Size:
    """Raises ValueNotStorable at once, before a larger value waits for anything."""
    size = size_of(value)
    if size.elements > MAX_ELEMENTS:
        raise ValueNotStorable(key="event", rule=f"has more than {MAX_ELEMENTS} members and elements")
    if size.bytes > MAX_BYTES:
        raise ValueNotStorable(key="event", rule=f"has {size.bytes} bytes, it may have {MAX_BYTES}")
    return size
