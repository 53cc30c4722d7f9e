"""Where in the mesh a call of LangGraph takes place."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from langchain_core.runnables import RunnableConfig
from langgraph._internal._constants import CONFIG_KEY_STREAM  # it has no public name; LangGraph's RemoteGraph reads it
from langgraph.pregel.protocol import StreamChunk, StreamProtocol

from graphmesh_client.parts import Part

CHECKPOINT_NS = "checkpoint_ns"
TRAIL = "__graphmesh_trail"
"""In `configurable` of a program that is itself a graph of a mesh: the orchestrator's `Trail`."""


class Trail(Protocol):
    """What a program has left to be stored and goes on without."""

    async def settled(self) -> None:
        """Wait until it is stored."""


@dataclass(frozen=True)
class Place:
    """The thread of a call, and what makes its repeat the same."""

    thread_id: str
    """Empty for a new one."""
    checkpoint_id: str = ""
    """Empty for the newest."""
    request_id: str = ""
    """Of a task of a program; empty for a call on its own."""
    namespace: tuple[str, ...] = ()
    """Of the task."""
    outer: StreamProtocol | None = None
    """Where the program wants to hear what happens."""
    trail: Trail | None = None
    """Of the program, where it runs ahead of its checkpoints."""

    @classmethod
    def of(cls, config: RunnableConfig, name: str, thread_id: str) -> "Place":
        """The place that a config names; on `thread_id` where that is given.

        The namespace of a task holds its id, which LangGraph keeps when it executes the task again.
        """
        named: dict[str, Any] = config.get("configurable", {})
        if not named.get(CHECKPOINT_NS):
            return cls(thread_id or str(named.get("thread_id") or ""), str(named.get("checkpoint_id") or ""))
        task = json.dumps([named.get("thread_id"), named[CHECKPOINT_NS], name])
        digest = hashlib.sha256(task.encode()).hexdigest()[:32]
        return cls(
            thread_id=thread_id or f"task_{digest}",
            request_id=f"task_{digest}",
            namespace=tuple(named[CHECKPOINT_NS].split("|")),
            outer=named.get(CONFIG_KEY_STREAM),
            trail=named.get(TRAIL),
        )

    @property
    def is_task(self) -> bool:
        return bool(self.request_id)

    async def stored(self) -> None:
        """Wait until the checkpoint that the task runs from is stored, where its program says so: were that lost, the
        task would have another id, and begin another run."""
        if self.trail:
            await self.trail.settled()

    def heard(self, part: Part) -> Part:
        """Tells the program around the task, where it listens."""
        mode, data = part
        if self.outer is not None and mode in self.outer.modes:
            tell: Callable[[StreamChunk], None] = self.outer.__call__
            tell((self.namespace, mode, data))
        return part
