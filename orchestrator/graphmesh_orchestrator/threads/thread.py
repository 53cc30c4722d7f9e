"""Threads and their states as values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from graphmesh_orchestrator.runs.run import Interrupt


class ThreadStatus(StrEnum):
    """The status of a thread."""

    IDLE = "idle"
    BUSY = "busy"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Thread:
    """A thread: a sequence of states, on which runs take turns."""

    thread_id: str
    tenant: str
    graph: str
    """Empty where neither the client nor a first run has named one."""
    labels: dict[str, str]
    created: datetime
    updated: datetime
    """The last time that a run began or ended on it, or its state was updated."""
    status: ThreadStatus
    time_to_live: timedelta | None
    """Counted from the last use; None: it does not expire."""

    @property
    def expires(self) -> datetime | None:
        return self.updated + self.time_to_live if self.time_to_live is not None else None


@dataclass(frozen=True)
class Task:
    """An execution of a node that follows a state."""

    task_id: str
    node: str
    interrupts: Sequence[Interrupt] = ()
    namespace: Sequence[str] = ()
    """The namespace of the subgraph that the node is; empty for another node."""
    state: "State | None" = None
    """The state of that subgraph, where it was to be read and there is one."""


@dataclass(frozen=True)
class State:
    """The state of a thread at a checkpoint; before the first checkpoint, everything is empty."""

    checkpoint_id: str = ""
    parent_id: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    """JSON."""
    next: Sequence[str] = ()
    interrupts: Sequence[Interrupt] = ()
    created: datetime | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """JSON."""
    not_shown: Sequence[str] = ()
    """The values that JSON cannot express, each with the reason; they are not in `values` and `metadata`."""
    tasks: Sequence[Task] = ()

    @property
    def has_interrupts(self) -> bool:
        """Whether it, or a state of a subgraph, has open interrupts."""
        return bool(self.interrupts) or any(task.state and task.state.has_interrupts for task in self.tasks)

    def with_interrupts(self, stored: Mapping[str, Interrupt]) -> "State":
        """Return it with the interrupts that are stored, by their ids, in place of those of the checkpoint."""
        return replace(
            self,
            interrupts=[stored.get(interrupt.interrupt_id, interrupt) for interrupt in self.interrupts],
            tasks=[
                replace(
                    task,
                    interrupts=[stored.get(interrupt.interrupt_id, interrupt) for interrupt in task.interrupts],
                    state=task.state and task.state.with_interrupts(stored),
                )
                for task in self.tasks
            ],
        )


@dataclass(frozen=True)
class Deleted:
    """The numbers of what was deleted."""

    threads: int = 0
    """Threads of which anything was deleted."""
    runs: int = 0
    checkpoints: int = 0

    def __add__(self, other: "Deleted") -> "Deleted":
        return Deleted(self.threads + other.threads, self.runs + other.runs, self.checkpoints + other.checkpoints)
