"""One call of a `RemoteGraph`: its thread, the task that makes it, and the program around that task."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from graphmesh_contracts import WRITE_BEHIND_KEY
from graphmesh_contracts.keys import SERVER_KEYS
from langchain_core.runnables import RunnableConfig
from langgraph._internal._constants import (  # they have no public names
    CONFIG_KEY_CHECKPOINTER,
    CONFIG_KEY_STREAM,
    CONFIG_KEY_TASK_ID,
)
from langgraph.pregel.protocol import StreamChunk, StreamProtocol

from graphmesh_client.langgraph_convert import CHECKPOINT_NS, LEVELS, StreamPart


class WriteBehind(Protocol):
    """The write-behind buffer of a program that is itself a graph of a mesh."""

    async def flush(self) -> None:
        """Wait until all that is buffered is stored."""


def subgraph_of(config: RunnableConfig) -> tuple[str, ...]:
    """Return the namespace of the subgraph that a config addresses; empty for the graph itself.

    That is the namespace of a state's config, not that of a task of a program. The config of a task has keys of
    LangGraph, where the task reads the state and where the program reads that of its nodes.
    """
    configurable: dict[str, Any] = config.get("configurable", {})
    is_task = CONFIG_KEY_TASK_ID in configurable or CONFIG_KEY_CHECKPOINTER in configurable
    if is_task or not configurable.get(CHECKPOINT_NS):
        return ()
    return tuple(configurable[CHECKPOINT_NS].split(LEVELS))


@dataclass(frozen=True)
class Invocation:
    """A call of a remote graph, on its own or as a task of a LangGraph program."""

    thread_id: str
    """Empty for a new thread."""
    checkpoint_id: str = ""
    """Empty for the newest checkpoint."""
    request_id: str = ""
    """The same for each execution of the same task; empty for a call on its own."""
    namespace: tuple[str, ...] = ()
    """The checkpoint namespace of the task."""
    configurable: Mapping[str, Any] = field(default_factory=dict)
    """Keys for the `configurable` of the run's nodes."""
    program_stream: StreamProtocol | None = None
    """The stream of the program."""
    write_behind: WriteBehind | None = None
    """The write-behind buffer of the program, where it has one."""

    @classmethod
    def from_config(cls, config: RunnableConfig, name: str, thread_id: str) -> "Invocation":
        """Read an invocation from a config; a `thread_id` that is not empty replaces that of the config.

        The namespace of a task contains its id, which LangGraph keeps when it executes the task again.
        """
        configurable: dict[str, Any] = config.get("configurable", {})
        passed = {key: value for key, value in configurable.items() if _is_passed(key, value)}
        if not configurable.get(CHECKPOINT_NS):
            thread_id = thread_id or str(configurable.get("thread_id") or "")
            return cls(thread_id, str(configurable.get("checkpoint_id") or ""), configurable=passed)
        task = json.dumps([configurable.get("thread_id"), configurable[CHECKPOINT_NS], name])
        digest = hashlib.sha256(task.encode()).hexdigest()[:32]
        return cls(
            thread_id=thread_id or f"task_{digest}",
            request_id=f"task_{digest}",
            namespace=tuple(configurable[CHECKPOINT_NS].split(LEVELS)),
            configurable=passed,
            program_stream=configurable.get(CONFIG_KEY_STREAM),
            write_behind=configurable.get(WRITE_BEHIND_KEY),
        )

    @property
    def is_task(self) -> bool:
        return bool(self.request_id)

    @property
    def continues_thread(self) -> bool:
        """Whether the call is one on its own, on the newest state of a thread that it names."""
        return bool(self.thread_id) and not self.is_task and not self.checkpoint_id

    @property
    def program_modes(self) -> frozenset[str]:
        """The modes of the program's stream, to which the events of the run are forwarded."""
        return frozenset(self.program_stream.modes) if self.program_stream is not None else frozenset()

    async def flush_checkpoints(self) -> None:
        """Wait until the checkpoint that the task runs from is stored.

        If it were lost, the task would get another id when it is executed again, and begin a second run.
        """
        if self.write_behind:
            await self.write_behind.flush()

    def forward(self, part: StreamPart) -> StreamPart:
        """Write a part to the stream of the program where that has its mode, and return it."""
        namespace, mode, data = part
        if self.program_stream is not None and mode in self.program_stream.modes:
            write: Callable[[StreamChunk], None] = self.program_stream.__call__
            write((self.namespace + namespace, mode, data))
        return part


def _is_passed(key: str, value: object) -> bool:
    """Report whether a key of a config is passed on: LangGraph's own are not, nor are objects of the program."""
    return key not in SERVER_KEYS and not key.startswith("__") and _is_json(value)


def _is_json(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_json(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_json, value))
    return value is None or isinstance(value, str | int | float | bool)
